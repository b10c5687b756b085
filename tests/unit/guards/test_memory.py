"""What a guard remembers: bounded, dropped by events, and never filled with what is older than an event."""

from __future__ import annotations

from keybearer.core.errors import Code, Rejected
from keybearer.core.records import NO_RESTRICTIONS, CredentialKind
from keybearer.core.remembered import Remembered
from keybearer.guards import Caller
from keybearer.guards.heard import Heard
from keybearer.guards.memory import NEVER, REFUSAL_NS, Entry, Memory


def entry(*depends_on: str) -> Entry:
    kind = CredentialKind.SECRET_KEY
    caller = Caller(kind=kind, credential_id=depends_on[0], project_id="proj_1", permissions=frozenset())
    remembered = Remembered(
        kind=kind, depends_on=frozenset(depends_on), api_ids=frozenset(), permissions=frozenset(),
        restrictions=NO_RESTRICTIONS, networks=(), is_restricted=False,
    )  # fmt: skip
    return Entry(caller, remembered, frozenset(depends_on), (), False)


def heard(head: int = 10) -> Heard:
    found = Heard()
    found.start_over(head)
    return found


def test_an_event_drops_what_depends_on_it_and_nothing_else() -> None:
    memory = Memory(10)
    assert memory.keep(b"1", entry("key_1", "proj_1"), heard(), 10)
    assert memory.keep(b"2", entry("key_2", "proj_2"), heard(), 10)
    memory.drop("proj_1", 11, 0)
    assert memory.find(b"1") is None
    assert memory.find(b"2") is not None
    assert memory.find(b"2").until == NEVER  # type: ignore[union-attr]


def test_an_event_that_an_entry_knows_already_does_not_drop_it() -> None:
    memory = Memory(10)
    memory.keep(b"1", entry("key_1"), heard(), 12)
    memory.drop("key_1", 12, 0)
    assert memory.find(b"1") is not None
    memory.drop("key_1", 13, 0)
    assert memory.find(b"1") is None


def test_a_fill_older_than_an_event_is_refused() -> None:
    memory, log = Memory(10), heard()
    log.note(11, 0, "proj_1")
    assert not memory.keep(b"1", entry("key_1", "proj_1"), log, 10)
    assert memory.find(b"1") is None
    assert memory.keep(b"1", entry("key_1", "proj_1"), log, 11)


def test_it_is_bounded_and_leaves_nothing_behind() -> None:
    memory = Memory(3)
    for number in range(10):
        memory.keep(number, entry(f"key_{number}", "proj_1"), heard(), 10)
    assert len(memory) == 3
    assert memory.find(9) is not None
    assert set(memory._by_subject) == {"proj_1", "key_7", "key_8", "key_9"}
    memory.clear()
    assert len(memory) == 0
    assert not Memory(0).keep(b"1", entry("key_1"), heard(), 10)


def test_a_refusal_lasts_a_second_or_until_anything_happens() -> None:
    memory, no = Memory(3), Rejected(Code.REVOKED)
    memory.note_refusal("question", no, now=0)
    assert memory.refusal("question", REFUSAL_NS - 1) is no
    assert memory.refusal("question", REFUSAL_NS) is None
    assert memory.refusal("another", 0) is None
    memory.note_refusal("question", no, now=0)
    memory.drop("key_9", 99, 0)
    assert memory.refusal("question", 1) is None


def test_a_timed_memory_knows_when_something_last_happened() -> None:
    memory, log = Memory(10, is_timed=True), heard()
    log.note(11, 500, "proj_1")
    memory.keep(b"1", entry("key_1", "proj_1"), log, 12)
    assert memory.find(b"1").touched_at == 500  # type: ignore[union-attr]
    memory.drop("key_1", 12, 700)  # known to the answer already, and heard of only now
    assert memory.find(b"1").touched_at == 700  # type: ignore[union-attr]
