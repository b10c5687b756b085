"""The stale-fill race: a read that is overtaken by a revoke must not put the old record back into the cache."""

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from keybearer.core.clients import Client
from keybearer.core.instant import Instant
from keybearer.core.records import (
    ApiKey,
    CredentialKind,
    Environment,
    KeyRecord,
    Plan,
    Project,
    SecretVersion,
    State,
    key_record,
)
from keybearer.ports import Event, Store
from keybearer.stores.cached import CachedRecords

NOW = Instant(1_700_000_000_000_000)


class SlowStore:
    """The store's reading half: a log, one key, and reads that stop between the snapshot and the answer."""

    def __init__(self) -> None:
        self.log: list[Event] = []
        self.project = Project(id="proj_1", created_at=NOW, updated_at=NOW, name="Shop")
        version = SecretVersion(number=1, digest=b"d" * 32, pepper_id="p1", created_at=NOW)
        self.key = ApiKey(
            id="key_1",
            created_at=NOW,
            updated_at=NOW,
            project_id="proj_1",
            name="web",
            prefix="kb_sk_live",
            kind=CredentialKind.SECRET_KEY,
            environment=Environment.LIVE,
            versions=(version,),
        )
        self.client = Client(id="client_1", created_at=NOW, updated_at=NOW, project_id="proj_1", name="Shop")
        self.delay = False
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()

    def happen(self, type_: str, subject: str) -> None:
        self.log.append(Event(len(self.log) + 1, NOW, type_, subject))

    def revoke(self) -> None:
        self.key = replace(self.key, state=State.REVOKED, revoked_at=NOW)
        self.happen("key.revoke", "key_1")

    async def find(self, key_id: str) -> KeyRecord | None:
        found = key_record(len(self.log), self.key, self.project, None, None)
        if self.delay:
            self.has_read.set()
            await self.may_answer.wait()
        return found if key_id == "key_1" else None

    async def get(self, kind: type[Any], record_id: str) -> Any:
        """The client, and then its project, as they were before the delay."""
        found = {"client_1": self.client, "proj_1": self.project}[record_id]
        if self.delay and kind is Project:
            self.has_read.set()
            await self.may_answer.wait()
        return found

    async def events(self, after: int, limit: int = 1000) -> tuple[Event, ...]:
        return tuple(self.log[after : after + limit])

    async def head(self) -> int:
        return len(self.log)

    async def page(self, kind: type[Any], query: Any) -> tuple[Any, ...]:
        return ()

    async def foreign_schemes(self) -> frozenset[str]:
        return frozenset()


async def overtaken(what: str) -> tuple[CachedRecords, SlowStore, KeyRecord | None]:
    """A read of the key during which `what` happens and is applied; returns when the read has been answered."""
    store = SlowStore()
    store.happen("key.create", "key_1")
    records = CachedRecords(cast(Store, store), None, lifetime=0.9)
    await records.refresh()
    store.delay = True
    reading = asyncio.create_task(records.find("key_1"))
    await store.has_read.wait()
    if what == "key":
        store.revoke()
    elif what == "project":
        store.project = replace(store.project, state=State.DISABLED)
        store.happen("project.disable", "proj_1")
    elif what == "another key":
        store.happen("key.revoke", "key_2")
    records._fresh_until = 0  # what the doorbell does when another process commits
    await records.refresh()
    assert records.applied == len(store.log)
    store.may_answer.set()
    found = await reading
    store.delay = False
    return records, store, found


@pytest.mark.parametrize("what", ["key", "project"])
def test_a_read_that_was_overtaken_is_answered_but_not_kept(what: str) -> None:
    async def scenario() -> None:
        records, _, found = await overtaken(what)
        # The request began before the change was acknowledged, so this answer is allowed; keeping it is not.
        assert found is not None
        assert found.key.state is State.ENABLED
        assert found.project.state is State.ENABLED
        assert len(records) == 0
        again = await records.find("key_1")
        assert again is not None
        assert State.ENABLED not in (again.key.state if what == "key" else again.project.state,)
        assert len(records) == 1
        assert records.find_now("key_1") is again

    asyncio.run(scenario())


@pytest.mark.parametrize("what", ["nothing", "another key"])
def test_a_read_that_nothing_overtook_is_kept(what: str) -> None:
    async def scenario() -> None:
        records, _, found = await overtaken(what)
        assert found is not None
        assert len(records) == 1
        assert records.find_now("key_1") is found

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("what", "kept"), [("client_1", False), ("proj_1", False), ("client_2", True), ("nothing", True)]
)
def test_a_client_that_was_overtaken_is_not_kept(what: str, kept: bool) -> None:
    async def scenario() -> None:
        store = SlowStore()
        store.happen("client.create", "client_1")
        records = CachedRecords(cast(Store, store), None)
        await records.refresh()
        store.delay = True
        reading = asyncio.create_task(records.find_client("client_1"))
        await store.has_read.wait()
        if what != "nothing":
            store.happen("client.update" if what.startswith("client") else "project.disable", what)
        records._fresh_until = 0
        await records.refresh()
        store.may_answer.set()
        found = await reading
        assert found is not None
        assert len(records) == int(kept)
        store.delay = False
        again = await records.find_client("client_1")
        assert (again is found) == kept
        store.happen("client.disable", "client_1")
        records._fresh_until = 0
        assert await records.find_client("client_1") is not again

    asyncio.run(scenario())


def test_the_guard_holds_after_old_events_were_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keybearer.stores.cached.MAX_REMEMBERED_EVENTS", 10)

    async def scenario() -> None:
        store = SlowStore()
        store.happen("key.create", "key_1")
        records = CachedRecords(cast(Store, store), None)
        await records.refresh()
        store.delay = True
        reading = asyncio.create_task(records.find("key_1"))
        await store.has_read.wait()
        store.revoke()
        for number in range(60):
            store.happen("key.update", f"key_other_{number}")
            records._fresh_until = 0
            await records.refresh()
        assert "key_1" not in records._last_event
        store.may_answer.set()
        await reading
        assert len(records) == 0

    asyncio.run(scenario())


def test_a_gap_in_the_log_empties_the_cache_and_refuses_what_was_read_before_it() -> None:
    async def scenario() -> None:
        store = SlowStore()
        store.happen("key.create", "key_1")
        records = CachedRecords(cast(Store, store), None)
        await records.find("key_1")
        assert len(records) == 1
        store.delay = True
        reading = asyncio.create_task(records._store.find("key_1"))
        await store.has_read.wait()
        store.revoke()
        store.log.append(Event(4, NOW, "key.update", "key_9"))  # 3 is missing
        records._fresh_until = 0
        records._apply(store.log[1:2] + store.log[2:], None)
        assert len(records) == 0
        store.may_answer.set()
        assert records._keep("key_1", await reading) is not None
        assert len(records) == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("plan", [None, "plan_1"])
def test_a_record_depends_on_all_that_can_change_its_decision(plan: str | None) -> None:
    store = SlowStore()
    of_key = None if plan is None else Plan(id=plan, created_at=NOW, updated_at=NOW, name="Small")
    record = key_record(1, store.key, store.project, None, of_key)
    assert set(record.depends_on) == {"key_1", "proj_1", *([plan] if plan else [])}
