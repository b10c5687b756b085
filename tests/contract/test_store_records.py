"""Records: inserted once, replaced by revision, listed in order, joined for verify."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from keybearer.core.errors import Conflict, InvalidInput, NotFound, StoreError, Unavailable
from keybearer.core.instant import Instant
from keybearer.core.lifecycle import Change, change, touch
from keybearer.core.records import (
    Api,
    ApiKey,
    CreditPolicy,
    Environment,
    Identity,
    Plan,
    Project,
    RateLimit,
    SecretVersion,
    State,
)
from keybearer.ports import KeyUse, Query, UnitOfWork, UsageBatch
from tests.contract.making import NOW, Engine, api, days, grant, identity, insert, key, plan, project, spend

pytestmark = pytest.mark.anyio


async def test_what_is_inserted_comes_back_equal(store: Any) -> None:
    full = key(
        tags=("a", "b"),
        metadata={"deep": [1, {"x": None}], "ü": "✓", "escaped": r"\u0000"},
        permissions=("orders:read",),
        limits=(RateLimit("r", 10, 1000, 5),),
        versions=(SecretVersion(1, bytes(range(32)), NOW), SecretVersion(2, b"z", NOW, expires_at=days(1))),
    )
    records = (project(), identity(), plan(), api(), full)
    await insert(store, *records)
    for record in records:
        assert await store.get(type(record), record.id) == record


@pytest.mark.parametrize("kind", [Api, Project, Plan, Identity, ApiKey])
async def test_a_missing_record_is_not_found(store: Any, kind: Any) -> None:
    with pytest.raises(NotFound):
        await store.get(kind, "nothing")

    async def work(unit: UnitOfWork) -> None:
        await unit.get(kind, "nothing")

    with pytest.raises(NotFound):
        await store.transact(work)


async def test_an_update_needs_the_revision_before(store: Any) -> None:
    await insert(store, project())
    second = touch(project(), days(1), name="Second")

    async def write(unit: UnitOfWork) -> None:
        await unit.update(second)

    await store.transact(write)
    with pytest.raises(Conflict):
        await store.transact(write)
    assert (await store.get(Project, "proj_0001")).name == "Second"
    with pytest.raises(Conflict):
        await store.transact(lambda unit: unit.update(replace(project(9), revision=2)))


async def test_two_writers_cannot_overwrite_each_other_unseen(engine: Engine) -> None:
    store = await engine.open()
    await insert(store, project())

    async def rename(number: int) -> bool:
        read = await store.get(Project, "proj_0001")
        try:
            await store.transact(lambda unit: unit.update(touch(read, NOW, name=f"name {number}")))
        except Conflict:
            return False
        return True

    won = await asyncio.gather(*(rename(number) for number in range(20)))
    assert (await store.get(Project, "proj_0001")).revision == 1 + sum(won)


async def test_get_in_a_work_locks_until_its_end(store: Any) -> None:
    await insert(store, project())

    async def count(unit: UnitOfWork) -> None:
        read = await unit.get(Project, "proj_0001")
        await unit.update(touch(read, NOW, metadata={"n": int(str(read.metadata.get("n", 0))) + 1}))

    await asyncio.gather(*(store.transact(count) for _ in range(50)))
    assert (await store.get(Project, "proj_0001")).metadata == {"n": 50}


@pytest.mark.parametrize(
    "pair",
    [
        (api(1), api(2, identifier="https://api.example/1")),
        (identity(1), identity(2, external_id="user-1")),
        (key(1, foreign_lookup="sha256:x"), key(2, foreign_lookup="sha256:x")),
        (key(1), key(1)),
    ],
    ids=lambda pair: pair[0].id,
)
async def test_unique_fields(store: Any, pair: tuple[Any, Any]) -> None:
    first, second = pair
    await insert(store, project())
    await insert(store, first)
    with pytest.raises(Conflict):
        await insert(store, second)
    # Also against a deleted one.
    await store.transact(lambda unit: unit.update(change(first, Change.DELETE, NOW)))
    with pytest.raises(Conflict):
        await insert(store, second)


async def test_unique_fields_hold_in_updates(store: Any) -> None:
    await insert(store, api(1), api(2))
    with pytest.raises(Conflict):
        await store.transact(lambda unit: unit.update(touch(api(2), NOW, identifier="https://api.example/1")))


async def test_a_conflict_that_is_caught_leaves_the_work_usable(store: Any) -> None:
    await insert(store, project())

    async def work(unit: UnitOfWork) -> None:
        with pytest.raises(Conflict):
            await unit.insert(project())
        await unit.insert(project(2))

    await store.transact(work)
    assert (await store.get(Project, "proj_0002")).id == "proj_0002"


async def test_what_is_referred_to_must_exist(store: Any) -> None:
    for record in (key(), identity(), project(plan_id="plan_9"), api(default_plan_id="plan_9")):
        with pytest.raises(StoreError):
            await insert(store, record)
    assert await store.head() == 0


async def test_one_work_that_raises_takes_back_only_itself(store: Any) -> None:
    """Works that share a group commit stand or fall alone."""

    async def write(number: int) -> None:
        async def work(unit: UnitOfWork) -> None:
            await unit.insert(project(number))
            unit.emit("project.created", f"{number}")
            if number % 3 == 0:
                raise ZeroDivisionError

        await store.transact(work)

    results = await asyncio.gather(*(write(number) for number in range(60)), return_exceptions=True)
    assert [type(r) for r in results] == [ZeroDivisionError if n % 3 == 0 else type(None) for n in range(60)]
    kept = await store.page(Project, Query(limit=100))
    assert [p.id for p in kept] == [f"proj_{n:04}" for n in range(60) if n % 3]
    assert sorted(int(event.subject) for event in await store.events(0)) == [n for n in range(60) if n % 3]
    assert [event.seq for event in await store.events(0)] == list(range(1, 41))


async def test_a_work_that_waits_for_something_else_is_refused_or_done(store: Any) -> None:
    """On the engines that drive a work themselves, waiting is a mistake that is told, not a deadlock."""

    async def work(unit: UnitOfWork) -> None:
        await unit.insert(project())
        await asyncio.sleep(0)

    if store.name == "postgresql":
        await store.transact(work)
    else:
        with pytest.raises(RuntimeError, match="may wait for nothing"):
            await store.transact(work)
        assert await store.page(Project, Query()) == ()
        await insert(store, project())


async def test_pages_are_in_order_and_filtered(store: Any) -> None:
    await insert(store, project(), project(2), plan(), identity())
    keys = [
        key(1, tags=("red", "blue"), owner="ann"),
        key(2, tags=("red",), environment=Environment.TEST, plan_id="plan_0001"),
        key(3, project_id="proj_0002", name="other", identity_id="idn_0001"),
        key(4, tags=("blue",)),
    ]
    await insert(store, *reversed(keys))
    await store.transact(lambda unit: unit.update(change(keys[3], Change.DELETE, NOW)))

    async def ids(**where: str) -> list[str]:
        page = await store.page(ApiKey, Query(where))
        assert page == await store.transact(lambda unit: unit.page(ApiKey, Query(where)))
        return [record.id[-1] for record in page]

    assert await ids() == ["1", "2", "3"]
    assert await ids(project_id="proj_0001") == ["1", "2"]
    assert await ids(tag="red") == ["1", "2"]
    assert await ids(tag="blue") == ["1"]
    assert await ids(tag="blue", state="deleted") == ["4"]
    assert await ids(tag="red", environment="test") == ["2"]
    assert await ids(owner="ann", kind="secret_key") == ["1"]
    assert await ids(name="other") == ["3"]
    assert await ids(identity_id="idn_0001") == ["3"]
    assert await ids(plan_id="plan_0001") == ["2"]
    assert await ids(state="enabled") == ["1", "2", "3"]
    assert await ids(state="no such state") == []
    assert [k.id for k in await store.page(ApiKey, Query(limit=2))] == ["key_0001", "key_0002"]
    assert [k.id for k in await store.page(ApiKey, Query(after="key_0002"))] == ["key_0003"]
    assert [i.id for i in await store.page(Identity, Query({"external_id": "user-1"}))] == ["idn_0001"]


async def test_tags_follow_an_update(store: Any) -> None:
    await insert(store, project(), key(tags=("old", "kept", "kept")))
    await store.transact(lambda unit: unit.update(touch(key(), NOW, tags=("kept", "new"))))
    for tag, count in (("old", 0), ("kept", 1), ("new", 1)):
        assert len(await store.page(ApiKey, Query({"tag": tag}))) == count


@pytest.mark.parametrize(
    ("kind", "field"),
    [(Api, "tag"), (ApiKey, "body"), (ApiKey, "1=1; --"), (Identity, "name"), (Plan, "plan_id"), (Project, "")],
)
async def test_unknown_fields_are_invalid(store: Any, kind: Any, field: str) -> None:
    with pytest.raises(InvalidInput):
        await store.page(kind, Query({field: "x"}))


async def test_find_joins_what_a_key_depends_on(engine: Engine) -> None:
    store = await engine.open()
    await insert(store, plan(), plan(2), project(plan_id="plan_0001"), identity())
    await insert(store, key(), key(2, identity_id="idn_0001", plan_id="plan_0002"))
    record = await store.find("key_0001")
    assert record is not None
    assert record.seq == await store.head() == 6
    assert (record.key, record.project, record.identity, record.plan) == (
        key(),
        project(plan_id="plan_0001"),
        None,
        plan(),
    )
    record = await store.find("key_0002")
    assert (record.identity, record.plan) == (identity(), plan(2))
    assert await store.find("key_9") is None
    await store.transact(lambda unit: unit.update(change(key(), Change.DELETE, NOW)))
    assert (await store.find("key_0001")).key.state is State.DELETED
    if engine.name != "postgresql":
        assert store.find_now("key_0002") == record
        assert store.find_now("key_9") is None


async def test_find_foreign_prefers_the_first_lookup(store: Any) -> None:
    await insert(store, project(), key(1, foreign_lookup="b"), key(2, foreign_lookup="a"), key(3))
    assert (await store.find_foreign(["x", "a", "b"])).key.id == "key_0002"
    assert (await store.find_foreign(["b", "a"])).key.id == "key_0001"
    assert await store.find_foreign(["x", "y", "z", "u", "v"]) is None
    assert await store.find_foreign([]) is None


async def test_text_that_cannot_be_stored_is_invalid_everywhere(store: Any) -> None:
    await insert(store, project())
    for bad in ("a\0b", "a\ud800b"):
        for record in (
            project(2, name=bad),
            project(2, metadata={"k": {"deep": [bad]}}),
            project(2, metadata={bad: 1}),
            project(2, id=bad),
            key(2, tags=(bad,)),
        ):
            with pytest.raises(InvalidInput):
                await insert(store, record)
        for ask in (
            store.get(Project, bad),
            store.find(bad),
            store.find_foreign([bad]),
            store.page(ApiKey, Query({"owner": bad})),
            store.recall(bad, "k"),
            store.charge(spend(bad)),
            store.transact(lambda unit, bad=bad: _emit(unit, bad)),
        ):
            with pytest.raises(InvalidInput):
                await ask
    with pytest.raises(InvalidInput):
        await store.transact(lambda unit: unit.set_credits("key:x", 2**70, CreditPolicy(), NOW))
    assert (await store.page(Project, Query())) == (project(),)


async def _emit(unit: UnitOfWork, subject: str) -> None:
    unit.emit("key.updated", subject)


async def test_forget_removes_a_deleted_record_with_what_is_kept_for_it(store: Any) -> None:
    await insert(store, project(), key())
    await grant(store, "key:key_0001", 10)
    await store.add_usage(UsageBatch(uses=(KeyUse("key_0001", 1, NOW),)))
    with pytest.raises(Conflict):
        await store.transact(lambda unit: unit.forget(ApiKey, "key_0001"))
    await store.transact(lambda unit: unit.update(change(key(), Change.DELETE, NOW)))
    await store.transact(lambda unit: unit.update(change(project(), Change.DELETE, NOW)))
    with pytest.raises(Conflict):  # its key is still there
        await store.transact(lambda unit: unit.forget(Project, "proj_0001"))
    await store.transact(lambda unit: unit.forget(ApiKey, "key_0001"))
    await store.transact(lambda unit: unit.forget(ApiKey, "key_0001"))
    await store.transact(lambda unit: unit.forget(Project, "proj_0001"))
    assert await store.find("key_0001") is None
    assert await store.balances(["key:key_0001"]) == ()
    assert await store.uses(["key_0001"]) == ()


async def test_retiring_keys(engine: Engine) -> None:
    store = await engine.open()

    def versions(first_ends: Instant | None, revoked: Instant | None = None) -> tuple[SecretVersion, ...]:
        old = SecretVersion(1, b"o", NOW, expires_at=first_ends, revoked_at=revoked, quiet_in=5)
        return (old, SecretVersion(2, b"n", NOW))

    await insert(
        store,
        project(),
        key(1),
        key(2, versions=versions(days(2))),
        key(3, versions=versions(days(1))),
        key(4, versions=versions(days(1), revoked=NOW)),
    )
    assert [k.id for k in await store.retiring_keys(10)] == ["key_0003", "key_0002"]
    assert [k.id for k in await store.retiring_keys(1)] == ["key_0003"]
    engine.clock.at = days(1.5)
    assert [k.id for k in await store.retiring_keys(10)] == ["key_0002"]


async def test_foreign_schemes_and_peppers(store: Any) -> None:
    assert await store.foreign_schemes() == frozenset()
    assert await store.transact(lambda unit: unit.add_foreign_scheme("sha256-hex")) is True
    assert await store.transact(lambda unit: unit.add_foreign_scheme("sha256-hex")) is False
    assert await store.foreign_schemes() == {"sha256-hex"}
    assert await store.known_peppers() == {}
    await asyncio.gather(*(store.note_pepper("p1", b"f" * 32) for _ in range(5)))
    with pytest.raises(Conflict):
        await store.note_pepper("p1", b"g" * 32)
    assert await store.known_peppers() == {"p1": b"f" * 32}


async def test_a_closed_store_is_unavailable(shared_engine: Engine) -> None:
    store = await shared_engine.open()
    await store.close()
    for ask in (store.find("key_1"), store.head(), insert(store, project()), store.page(Project, Query())):
        with pytest.raises(Unavailable):
            await ask
