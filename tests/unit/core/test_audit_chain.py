"""The audit chain: any changed, missing, moved or added entry is found."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.audit_chain import GENESIS, AuditDraft, AuditEntry, first_break, link

from .making import NOW

KEY = b"k" * 32


def chain(length: int, key: bytes = KEY) -> list[AuditEntry]:
    entries, previous = [], GENESIS
    for seq in range(1, length + 1):
        draft = AuditDraft(NOW, "key_1", "key.create", f"key_{seq}", details={"n": seq})
        previous = link(key, previous, seq, draft)
        entries.append(AuditEntry(seq, draft, previous))
    return entries


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
