"""The event log has a dense sequence, and the audit log a chain that holds."""

import asyncio
import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from keybearer.core.audit_chain import GENESIS, first_break
from keybearer.core.errors import InvalidInput
from keybearer.ports import UnitOfWork, UsageBatch
from tests.contract.making import AUDIT_KEY, NOW, Engine, draft, grant, insert, project, spend

pytestmark = pytest.mark.anyio


async def test_sequences_are_dense_under_fifty_writers(shared_engine: Engine) -> None:
    """Also with several nodes on one database, and with works that fail in between."""
    nodes = [await shared_engine.open() for _ in range(3)]

    async def write(number: int) -> None:
        async def work(unit: UnitOfWork) -> None:
            for index in range(number % 3):
                unit.emit("key.updated", f"{number}.{index}")
            unit.audit(draft(number))
            if number % 7 == 0:
                raise ZeroDivisionError

        await nodes[number % 3].transact(work)

    await asyncio.gather(*(write(number) for number in range(150)), return_exceptions=True)
    wanted = [f"{n}.{i}" for n in range(150) if n % 7 for i in range(n % 3)]
    events = await nodes[0].events(0)
    assert [event.seq for event in events] == list(range(1, len(wanted) + 1))
    assert sorted(event.subject for event in events) == sorted(wanted)
    assert await nodes[1].head() == len(wanted)
    entries = await nodes[2].audit_page(0, 1000)
    assert len(entries) == sum(1 for n in range(150) if n % 7)
    assert first_break(AUDIT_KEY, GENESIS, 1, list(entries)) is None


async def test_events_of_one_work_stay_together(store: Any) -> None:
    async def write(number: int) -> None:
        async def work(unit: UnitOfWork) -> None:
            for _ in range(5):
                unit.emit("key.updated", str(number))

        await store.transact(work)

    await asyncio.gather(*(write(number) for number in range(20)))
    subjects = [event.subject for event in await store.events(0)]
    assert all(len(set(subjects[start : start + 5])) == 1 for start in range(0, 100, 5))


async def test_events_after(store: Any) -> None:
    await insert(store, *(project(number) for number in range(1, 6)))
    assert [event.seq for event in await store.events(2)] == [3, 4, 5]
    assert [event.seq for event in await store.events(2, 2)] == [3, 4]
    assert await store.events(5) == ()
    event = (await store.events(0, 1))[0]
    assert (event.seq, event.at, event.type, event.subject) == (1, NOW, "record.created", "proj_0001")
    if store.name != "postgresql":
        assert store.events_now(2, 2) == await store.events(2, 2)
        assert store.head_now() == 5


async def test_the_commit_hook_hears_the_head_before_the_caller(engine: Engine) -> None:
    heard: list[int] = []
    store = engine.make()
    store.on_commit = heard.append
    await store.open()
    engine.opened.append(store)
    await insert(store, project())
    assert heard == [1]
    await grant(store, "key:key_0001", 5)
    await store.charge(spend())
    await store.add_usage(UsageBatch(audit=(draft(),)))
    assert heard == [1], "works without events do not ring"
    with pytest.raises(ZeroDivisionError):
        await store.transact(_emit_and_raise)
    assert heard == [1]
    await insert(store, project(2), project(3))
    assert heard == [1, 3]


async def test_a_commit_hook_that_fails_harms_nobody(engine: Engine) -> None:
    store = engine.make()

    def hook(head: int) -> None:
        if engine.name != "memory":
            raise ZeroDivisionError

    store.on_commit = hook
    await store.open()
    engine.opened.append(store)
    await insert(store, project())
    assert await store.head() == 1


async def _emit_and_raise(unit: UnitOfWork) -> None:
    unit.emit("key.updated", "x")
    raise ZeroDivisionError


async def test_charges_never_wait_for_the_log(shared_engine: Engine) -> None:
    """A work that holds the row of heads does not hold up works that append nothing."""
    if shared_engine.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    store = await shared_engine.open()
    await grant(store, "key:key_0001", 5)
    held, release = asyncio.Event(), asyncio.Event()

    async def work(unit: Any) -> None:
        await unit._session.execute("UPDATE heads SET head = head")
        held.set()
        await release.wait()

    holder = asyncio.create_task(store.transact(work))
    await held.wait()
    charged = await asyncio.wait_for(store.charge(spend()), 2)
    assert charged.credits_remaining == 4
    await asyncio.wait_for(store.add_usage(UsageBatch()), 2)
    release.set()
    await holder


async def test_the_audit_chain_holds_whatever_the_details_are(store: Any) -> None:
    """What is read back hashes to what was written: JSON's own changes come before the digest."""
    details = {"tuple": (1, 2), "float": 0.1, "nan": float("nan"), "big": 2**70, "ü": "\u2028", "n": {"10": 1, "9": 2}}
    await store.add_usage(UsageBatch(audit=(draft(details=details), draft(details={10: "ten", 9: "nine"}))))
    await store.transact(_two_drafts)
    entries = await store.audit_page(0, 100)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4]
    assert first_break(AUDIT_KEY, GENESIS, 1, list(entries)) is None
    assert entries[3].draft == draft(4, source="2001:db8::1", request_id="r", outcome="denied")
    assert first_break(b"another key", GENESIS, 1, list(entries)) == 1
    forged = list(entries)
    forged[1] = replace(forged[1], draft=replace(forged[1].draft, actor="user:2"))
    assert first_break(AUDIT_KEY, GENESIS, 1, forged) == 2


async def _two_drafts(unit: UnitOfWork) -> None:
    unit.audit(draft(3))
    unit.audit(draft(4, source="2001:db8::1", request_id="r", outcome="denied"))


async def test_an_edited_row_breaks_the_chain(shared_engine: Engine, request: pytest.FixtureRequest) -> None:
    store = await shared_engine.open()
    for number in range(5):
        await store.add_usage(UsageBatch(audit=(draft(number),)))
    edit = "UPDATE audit_log SET actor = 'nobody' WHERE seq = 3"
    if shared_engine.name == "sqlite":
        with sqlite3.connect(shared_engine.address) as connection:
            connection.execute(edit)
        connection.close()
    else:
        server = request.getfixturevalue("postgresql_server")
        server.execute(edit, shared_engine.address.rpartition("/")[2])
    entries = list(await store.audit_page(0, 100))
    assert first_break(AUDIT_KEY, GENESIS, 1, entries) == 3
    assert first_break(AUDIT_KEY, GENESIS, 1, entries[:2] + entries[3:]) == 3, "a removed row breaks it too"


async def test_audit_pages(store: Any) -> None:
    await store.add_usage(
        UsageBatch(audit=tuple(draft(n, actor=f"user:{n % 2}", project_id=f"proj_{n % 3}") for n in range(1, 11)))
    )

    async def seqs(*arguments: Any, **options: Any) -> list[int]:
        return [entry.seq for entry in await store.audit_page(*arguments, **options)]

    assert await seqs(0, 3) == [1, 2, 3]
    assert await seqs(3, 3) == [4, 5, 6]
    assert await seqs(0, 3, newest_first=True) == [10, 9, 8]
    assert await seqs(8, 3, newest_first=True) == [7, 6, 5]
    assert await seqs(0, 9, {"actor": "user:1"}) == [1, 3, 5, 7, 9]
    assert await seqs(3, 9, {"actor": "user:1", "project_id": "proj_1"}) == [7]
    assert await seqs(0, 9, {"target": "key_0004"}) == [4]
    assert await seqs(0, 9, {"action": "nothing"}) == []
    with pytest.raises(InvalidInput):
        await seqs(0, 9, {"details": "x"})
    with pytest.raises(InvalidInput):
        await store.add_usage(UsageBatch(audit=(draft(details={"agent": "a\0b"}),)))
