"""The table of legal changes: every cell of it, and that nothing else gets through."""

from __future__ import annotations

import pytest

from keybearer.core.errors import Conflict
from keybearer.core.instant import DAY, HOUR, Instant
from keybearer.core.lifecycle import (
    TRANSITIONS,
    UNDELETE_IN,
    Change,
    VersionState,
    change,
    is_forgotten,
    retire_version,
    revoke_version,
    version_state,
)
from keybearer.core.records import State

from .making import LATER, NOW, key, project, version


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("wanted", list(Change))
def test_every_cell_of_the_table(state: State, wanted: Change) -> None:
    before = key(state=state, deleted_at=NOW if state is State.DELETED else None, state_before_deletion=State.DISABLED)
    if wanted not in TRANSITIONS[state]:
        with pytest.raises(Conflict):
            change(before, wanted, LATER)
        return
    after = change(before, wanted, LATER)
    if after is before:
        assert TRANSITIONS[state][wanted] is state
        return
    assert after.revision == before.revision + 1
    assert after.updated_at == LATER
    assert after.state is (State.DISABLED if wanted is Change.UNDELETE else TRANSITIONS[state][wanted])


@pytest.mark.parametrize(
    ("state", "wanted", "text"),
    [
        (State.DELETED, Change.ENABLE, "undelete it"),
        (State.REVOKED, Change.ENABLE, "create another one"),
        (State.ENABLED, Change.UNDELETE, "not deleted"),
    ],
)
def test_a_refused_change_says_what_helps(state: State, wanted: Change, text: str) -> None:
    with pytest.raises(Conflict, match=text):
        change(key(state=state), wanted, LATER)


def test_a_revoked_key_stays_revoked_whatever_is_tried() -> None:
    revoked = change(key(), Change.REVOKE, NOW)
    for wanted in (Change.ENABLE, Change.DISABLE, Change.UNDELETE):
        with pytest.raises(Conflict):
            change(revoked, wanted, LATER)
    back = change(change(revoked, Change.DELETE, NOW), Change.UNDELETE, LATER)
    assert back.state is State.REVOKED
    assert back.revoked_at == NOW


def test_only_keys_are_revoked() -> None:
    with pytest.raises(Conflict):
        change(project(), Change.REVOKE, NOW)


def test_the_time_to_undelete_ends_exactly() -> None:
    deleted = change(key(), Change.DELETE, NOW)
    last, over = Instant(NOW + UNDELETE_IN - 1), Instant(NOW + UNDELETE_IN)
    assert change(deleted, Change.UNDELETE, last).state is State.ENABLED
    assert not is_forgotten(deleted, last)
    assert is_forgotten(deleted, over)
    with pytest.raises(Conflict):
        change(deleted, Change.UNDELETE, over)


@pytest.mark.parametrize(
    ("grace", "had", "key_expires", "expected"),
    [
        (DAY, None, None, DAY),
        (DAY, None, NOW + HOUR, HOUR),
        (DAY, NOW + 5, None, 5),
        (0, None, None, 0),
        (HOUR, NOW + DAY, NOW + 2 * DAY, HOUR),
    ],
)
def test_grace_never_outlives_what_the_secret_had(
    grace: int, had: int | None, key_expires: int | None, expected: int
) -> None:
    retired = retire_version(version(expires_at=had), NOW, grace_in=grace, quiet_in=None, key_expires_at=key_expires)
    assert retired.expires_at == NOW + expected


def test_states_of_a_version() -> None:
    assert version_state(version(), NOW) is VersionState.ACTIVE
    assert version_state(version(expires_at=LATER), NOW) is VersionState.RETIRING
    assert version_state(version(expires_at=NOW), NOW) is VersionState.RETIRED
    revoked = revoke_version(version(expires_at=LATER), NOW)
    assert version_state(revoked, NOW) is VersionState.REVOKED
    assert revoke_version(revoked, LATER) is revoked
