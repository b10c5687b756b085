"""The audit chain: any changed, missing, moved or added entry is found."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.audit_chain import GENESIS, AuditDraft, AuditEntry, canonical, first_break, link

from .making import NOW

KEY = b"k" * 32


def chain(length: int, key: bytes = KEY) -> list[AuditEntry]:
    entries, previous = [], GENESIS
    for seq in range(1, length + 1):
        draft = AuditDraft(NOW, "key_1", "key.create", f"key_{seq}", details={"n": seq})
        previous = link(key, previous, seq, draft)
        entries.append(AuditEntry(seq, draft, previous))
    return entries


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(
    st.integers(1, 2**60),
    st.builds(
        AuditDraft,
        at=st.integers(0, 2**60),
        actor=TEXT,
        action=TEXT,
        target=TEXT,
        outcome=TEXT,
        project_id=st.none() | TEXT,
        source=st.none() | TEXT,
        request_id=st.none() | TEXT,
        details=st.dictionaries(TEXT, JSON, max_size=3),
    ),
)
def test_what_is_hashed_is_compact_json_with_sorted_keys(seq: int, draft: AuditDraft) -> None:
    content = {"seq": seq, **asdict(draft)}
    assert canonical(seq, draft) == json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def test_a_digest_never_changes_meaning() -> None:
    """Chains that exist must hold for ever: this value was computed by the first version."""
    draft = AuditDraft(NOW, "key_1", "key.create", "key_2", project_id="proj_\u00e9", details={"b": [1], "a": "x"})
    assert link(KEY, GENESIS, 7, draft).hex() == "1863886950e37776266793f7e5cd26bfd1ccc47fa72ea1aa081534f80ef9e021"


def test_a_whole_chain_is_whole() -> None:
    assert first_break(KEY, GENESIS, 1, chain(50)) is None


@given(st.data())
def test_every_change_is_found(data: st.DataObject) -> None:
    entries = chain(8)
    index = data.draw(st.integers(0, 7))
    how = data.draw(st.sampled_from(["actor", "details", "remove", "swap", "digest"]))
    if how == "actor":
        entries[index] = replace(entries[index], draft=replace(entries[index].draft, actor="somebody"))
    elif how == "details":
        entries[index] = replace(entries[index], draft=replace(entries[index].draft, details={"n": 99}))
    elif how == "digest":
        entries[index] = replace(entries[index], digest=bytes(32))
    elif how == "remove" and index < 7:
        del entries[index]
    elif how == "swap" and index < 7:
        entries[index], entries[index + 1] = entries[index + 1], entries[index]
    else:
        return
    assert first_break(KEY, GENESIS, 1, entries) is not None


def test_who_lacks_the_key_cannot_write_history() -> None:
    assert first_break(KEY, GENESIS, 1, chain(3, key=b"x" * 32)) == 1
