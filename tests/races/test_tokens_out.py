"""What happens to the consent, the user or the session behind a token reaches the token that is out, at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from keybearer.core.clients import Client
from keybearer.core.decide_token import decide_token
from keybearer.core.errors import Code, Rejected
from keybearer.core.grants import Grant
from keybearer.core.instant import Instant
from keybearer.core.lifecycle import Change, change, touch
from keybearer.core.permissions import all_of
from keybearer.core.records import Api, Project, Record
from keybearer.core.requirement import Requirement
from keybearer.core.sessions import Session
from keybearer.core.tokens import AccessToken, TokenRecord
from keybearer.core.users import User
from keybearer.ports import NotReady, Store, UnitOfWork
from keybearer.stores.cached import CachedRecords
from keybearer.stores.memory import MemoryStore
from keybearer.stores.sqlite import SqliteStore
from tests.contract.making import AUDIT_KEY, NOW, HandClock
from tests.contract.making_tokens import furnish, token

pytestmark = pytest.mark.anyio
READ = Requirement(demand=all_of(["orders:read"]))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "sqlite"])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Any, CachedRecords]]:
    """A store with all that `token()` needs, and the view of the process that writes to it."""
    clock = HandClock()
    store: Any = MemoryStore(AUDIT_KEY, clock=clock)
    if request.param == "sqlite":
        store = SqliteStore(tmp_path / "k.db", AUDIT_KEY, clock=clock)
    records = CachedRecords(store, store)
    store.on_commit = records._doorbell.ring
    await store.open()
    await furnish(store)
    await records.refresh()
    yield store, records
    await store.close()


async def alter(store: Any, kind: type[Any], record_id: str, make: Callable[[Any], Record]) -> None:
    async def work(unit: UnitOfWork) -> None:
        await unit.update(make(await unit.get(kind, record_id)))
        unit.emit("record.changed", record_id)

    await store.transact(work)


def outcome(records: CachedRecords, claimed: AccessToken | None) -> Code | None:
    record = records.find_token_now("at_0001", claimed)
    assert record is not None
    try:
        decide_token(record, READ, NOW)
    except Rejected as rejection:
        return rejection.code
    return None


CHANGES = [
    (Code.INSUFFICIENT_PERMISSIONS, Grant, "grant_0001", lambda one: touch(one, NOW, scopes=("openid",))),
    (Code.REVOKED, Grant, "grant_0001", lambda one: change(one, Change.REVOKE, NOW)),
    (Code.OWNER_DISABLED, User, "user_0001", lambda one: change(one, Change.DISABLE, NOW)),
    (Code.REVOKED, User, "user_0001", lambda one: change(one, Change.DELETE, NOW)),
    (Code.REVOKED, Session, "sess_0001", lambda one: change(one, Change.REVOKE, NOW)),
    (Code.EXPIRED, Session, "sess_0001", lambda one: touch(one, NOW, expires_at=NOW)),
    (Code.OWNER_DISABLED, Client, "client_0001", lambda one: change(one, Change.DISABLE, NOW)),
    (Code.INSUFFICIENT_PERMISSIONS, Client, "client_0001", lambda one: touch(one, NOW, scopes=())),
    (Code.OWNER_DISABLED, Project, "proj_0001", lambda one: change(one, Change.DISABLE, NOW)),
    (Code.INSUFFICIENT_PERMISSIONS, Api, "api_0001", lambda one: touch(one, NOW, permissions=())),
]


@pytest.mark.parametrize("claimed", [None, token(digest=b"")], ids=["opaque", "jwt"])
@pytest.mark.parametrize(("code", "kind", "record_id", "make"), CHANGES)
async def test_a_change_refuses_the_token_at_the_next_request(
    node: tuple[Any, CachedRecords],
    claimed: AccessToken | None,
    code: Code,
    kind: type[Any],
    record_id: str,
    make: Callable[[Any], Record],
) -> None:
    store, records = node
    assert outcome(records, claimed) is None
    assert records.find_token_now("at_0001", claimed) is records.find_token_now("at_0001", claimed), "it is cached"
    await alter(store, kind, record_id, make)
    assert outcome(records, claimed) is code


@pytest.mark.parametrize("claimed", [None, token(digest=b"")], ids=["opaque", "jwt"])
@pytest.mark.parametrize("how", ["token", "family"])
async def test_a_revocation_refuses_the_token_at_the_next_request(
    node: tuple[Any, CachedRecords], claimed: AccessToken | None, how: str
) -> None:
    store, records = node
    assert outcome(records, claimed) is None

    async def work(unit: UnitOfWork) -> None:
        if how == "token":
            assert await unit.revoke_token("at_0001", token().expires_at)
            unit.emit("token.revoke", "at_0001")
        else:
            for family_id in await unit.revoke_families("grant_id", "grant_0001", NOW):
                unit.emit("family.revoke", family_id)

    await store.transact(work)
    assert outcome(records, claimed) is Code.REVOKED


async def test_what_is_cached_of_one_token_does_not_answer_for_another_with_its_id(
    node: tuple[Any, CachedRecords],
) -> None:
    _, records = node
    claimed = token(7, digest=b"")
    assert records.find_token_now("at_0007", claimed) is not None
    # A verified JWT has no row: its id brought as an opaque token is nobody's.
    assert records.find_token_now("at_0007") is None
    narrower = replace(claimed, scopes=("openid",))
    assert records.find_token_now("at_0001", token(digest=b"")) is not None
    opaque = records.find_token_now("at_0001")
    assert opaque is not None
    assert opaque.token.digest == token().digest
    found = records.find_token_now("at_0008", narrower)
    assert found is not None
    assert found.token.scopes == ("openid",)


async def test_who_knows_the_id_of_a_jwt_cannot_have_it_refused(node: tuple[Any, CachedRecords]) -> None:
    _, records = node
    assert records.find_token_now("at_0007") is None
    assert records.find_token_now("at_0007", token(7, digest=b"")) is not None


async def test_a_missing_token_is_remembered_for_a_second_at_most(node: tuple[Any, CachedRecords]) -> None:
    store, records = node
    monotonic = [records._monotonic_ns()]
    records._monotonic_ns = lambda: monotonic[0]
    await records.refresh()
    assert records.find_token_now("at_0050") is None
    await store.transact(lambda unit: unit.add_token(token(50)))
    assert records.find_token_now("at_0050") is None
    monotonic[0] += 1_000_000_001
    await records.refresh()
    assert records.find_token_now("at_0050") is not None


class OvertakenStore:
    """A store whose reads of tokens stop between the snapshot and the answer."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.delay = False
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def find_token(self, token_id: str, claimed: AccessToken | None = None) -> TokenRecord | None:
        found = cast("TokenRecord | None", await self._store.find_token(token_id, claimed))
        if self.delay:
            self.has_read.set()
            await self.may_answer.wait()
        return found


@pytest.mark.parametrize("claimed", [None, token(digest=b"")], ids=["opaque", "jwt"])
@pytest.mark.parametrize(("code", "kind", "record_id", "make"), [*CHANGES, (None, Project, "proj_9999", None)])
async def test_a_read_that_was_overtaken_is_answered_but_not_kept(
    node: tuple[Any, CachedRecords],
    claimed: AccessToken | None,
    code: Code | None,
    kind: type[Any],
    record_id: str,
    make: Callable[[Any], Record] | None,
) -> None:
    store, _ = node
    slow = OvertakenStore(store)
    records = CachedRecords(cast(Store, slow), None)
    await records.refresh()
    slow.delay = True
    reading = asyncio.create_task(records.find_token("at_0001", claimed))
    await slow.has_read.wait()
    if make is not None:
        await alter(store, kind, record_id, make)
    else:

        async def work(unit: UnitOfWork) -> None:
            unit.emit("record.changed", record_id)

        await store.transact(work)
    records._fresh_until = 0  # what the doorbell does when another process commits
    await records.refresh()
    slow.may_answer.set()
    found = await reading
    slow.delay = False
    # The request began before the change was acknowledged, so this answer is allowed; keeping it is not.
    assert found is not None
    decide_token(found, READ, NOW)
    if code is None:
        assert records.find_token_now("at_0001", claimed) is found, "nothing overtook it"
        return
    with pytest.raises(NotReady):
        records.find_token_now("at_0001", claimed)
    again = await records.find_token("at_0001", claimed)
    assert again is not None
    with pytest.raises(Rejected) as caught:
        decide_token(again, READ, Instant(NOW))
    assert caught.value.code is code
