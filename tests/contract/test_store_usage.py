"""Usage is summed, grouped by known names only, and never touches a key; the sweep bounds what is kept."""

import asyncio
from typing import Any

import pytest

from keybearer.core.errors import InvalidInput
from keybearer.core.instant import DAY, HOUR, MINUTE, Instant
from keybearer.core.lifecycle import Change, change
from keybearer.core.quota import CalendarUnit
from keybearer.core.records import ApiKey, Identity, Plan, Project, Quota, State
from keybearer.ports import FacetRow, KeyUse, Query, RememberedResponse, UsageBatch, UsageQuery, UsageRow
from tests.contract.making import NOW, Engine, api, days, grant, identity, insert, key, plan, project, spend

pytestmark = pytest.mark.anyio

MINUTE_NOW = NOW // MINUTE
HOUR_NOW = NOW // HOUR
START, END = Instant(NOW - NOW % DAY), Instant(NOW - NOW % DAY + DAY)


def row(minute: int = 0, key_id: str = "k1", code: str = "VALID", count: int = 1, **changes: Any) -> UsageRow:
    given = {"project_id": "p1", "api_id": "a1"}
    return UsageRow(
        **{**given, "minute": MINUTE_NOW + minute, "key_id": key_id, "code": code, "count": count, **changes}
    )


def facet(value: str, count: int = 1, facet: str = "source", hour: int = 0) -> FacetRow:
    return FacetRow(HOUR_NOW + hour, "p1", "k1", facet, value, "VALID", count)


async def test_counts_are_summed(engine: Engine) -> None:
    store = await engine.open()
    batch = UsageBatch(usage=(row(), row(), row(key_id="k2", count=5)))
    await asyncio.gather(*(store.add_usage(batch) for _ in range(10)))
    found = await store.usage(UsageQuery(START, END, ("key_id",)))
    assert found == ({"key_id": "k2", "count": 50}, {"key_id": "k1", "count": 20})
    assert await store.usage(UsageQuery(START, END, ())) == ({"count": 70},)
    assert await store.usage(UsageQuery(END, Instant(END + DAY), ())) == ()


async def test_grouping_and_filters(store: Any) -> None:
    await store.add_usage(
        UsageBatch(
            usage=(
                row(0, count=1),
                row(1, count=2),
                row(60, code="EXPIRED", count=4),
                row(60, "k2", count=8, api_id="a2", project_id="p2"),
            )
        )
    )
    end = Instant(END + DAY)

    async def ask(*group_by: str, start: Instant = START, end: Instant = end, **filters: str) -> list[tuple[Any, ...]]:
        found = await store.usage(UsageQuery(start, end, group_by, filters))
        assert all(tuple(group) == (*group_by, "count") for group in found)
        return [tuple(group.values()) for group in found]

    m, h = (MINUTE_NOW + 0) * MINUTE, HOUR_NOW * HOUR
    assert await ask("minute") == [(m, 1), (m + MINUTE, 2), (m + HOUR, 12)]
    assert await ask("hour", "code") == [(h, "VALID", 3), (h + HOUR, "VALID", 8), (h + HOUR, "EXPIRED", 4)]
    assert await ask("code", "hour", key_id="k1") == [("VALID", h, 3), ("EXPIRED", h + HOUR, 4)]
    assert await ask("day") == [(START, 15)]
    assert await ask("project_id", "api_id") == [("p2", "a2", 8), ("p1", "a1", 7)]
    assert await ask("code", api_id="a1") == [("EXPIRED", 4), ("VALID", 3)]
    assert await ask("minute", start=Instant(m + 1), end=Instant(m + HOUR)) == [(m + MINUTE, 2)]
    assert len(await store.usage(UsageQuery(START, end, ("minute",), limit=2))) == 2


async def test_facets(store: Any) -> None:
    rows = (facet("10.0.0.1", 3), facet("10.0.0.2"), facet("10.0.0.1", hour=1), facet("team=a", 9, "tag"))
    await store.add_usage(UsageBatch(facets=rows))
    await store.add_usage(UsageBatch(facets=rows[:1]))
    end = Instant(END + DAY)
    found = await store.usage(UsageQuery(START, end, ("source",)))
    assert found == ({"source": "10.0.0.1", "count": 7}, {"source": "10.0.0.2", "count": 1})
    found = await store.usage(UsageQuery(START, end, ("hour",), {"source": "10.0.0.1"}))
    assert [group["count"] for group in found] == [6, 1]
    assert await store.usage(UsageQuery(START, end, ("tag", "key_id"))) == (
        {"tag": "team=a", "key_id": "k1", "count": 9},
    )


@pytest.mark.parametrize(
    ("group_by", "filters"),
    [
        (("minute", "hour"), {}),
        (("n",), {}),
        (("key_id; DROP TABLE api_keys",), {}),
        (("key_id", "key_id"), {}),
        ((), {"1=1 OR key_id": "x"}),
        ((), {"minute": "1"}),
        (("source", "minute"), {}),
        (("source",), {"api_id": "a"}),
        (("source",), {"tag": "a"}),
        ((), {"key_id": "a\0"}),
    ],
)
async def test_names_that_are_not_known_are_invalid(store: Any, group_by: Any, filters: Any) -> None:
    with pytest.raises(InvalidInput):
        await store.usage(UsageQuery(START, END, group_by, filters))


async def test_values_are_never_part_of_a_statement(store: Any) -> None:
    hostile = "x' OR '1'='1"
    await store.add_usage(UsageBatch(usage=(row(key_id=hostile), row())))
    assert await store.usage(UsageQuery(START, END, (), {"key_id": hostile})) == ({"count": 1},)


async def test_last_uses_only_move_forward(store: Any) -> None:
    await store.add_usage(UsageBatch(uses=(KeyUse("k1", 1, NOW), KeyUse("k1", 2, NOW), KeyUse("k2", 1, NOW))))
    await store.add_usage(UsageBatch(uses=(KeyUse("k1", 1, days(-1)), KeyUse("k1", 2, days(1)))))
    assert await store.uses(["k1"]) == (KeyUse("k1", 1, NOW), KeyUse("k1", 2, days(1)))
    assert await store.uses(["k3", "k2"]) == (KeyUse("k2", 1, NOW),)
    assert await store.uses([]) == ()


@pytest.mark.parametrize("wanted", [Change.DISABLE, Change.DELETE, Change.REVOKE])
async def test_a_late_flush_never_undoes_a_change(store: Any, wanted: Change) -> None:
    await insert(store, project(), key())
    changed = change(key(), wanted, NOW)
    await store.transact(lambda unit: unit.update(changed))
    await store.add_usage(UsageBatch(usage=(row(key_id="key_0001"),), uses=(KeyUse("key_0001", 1, days(1)),)))
    assert await store.get(ApiKey, "key_0001") == changed
    assert (await store.find("key_0001")).key == changed


async def test_a_flush_for_a_key_that_is_gone_does_not_revive_it(store: Any) -> None:
    await insert(store, project(), key())
    await store.transact(lambda unit: unit.update(change(key(), Change.DELETE, NOW)))
    await store.transact(lambda unit: unit.forget(ApiKey, "key_0001"))
    await store.add_usage(UsageBatch(uses=(KeyUse("key_0001", 1, days(1)),)))
    assert await store.find("key_0001") is None


async def test_a_flush_is_all_or_nothing(store: Any) -> None:
    with pytest.raises(InvalidInput):
        await store.add_usage(UsageBatch(usage=(row(),), uses=(KeyUse("k\0", 1, NOW),)))
    assert await store.usage(UsageQuery(START, END, ())) == ()


async def test_the_sweep_removes_what_has_expired_and_nothing_else(engine: Engine) -> None:
    store = await engine.open()
    await insert(store, project())
    await grant(store, "key:key_0001", 10)
    quota = Quota("calls", 5, CalendarUnit.DAY)
    await store.charge(spend("old", quotas=(quota,)))
    await store.charge(spend("new", quotas=(quota,), now=days(2)))
    for name, at in (("old", NOW), ("new", days(2))):
        response = RememberedResponse("a", name, b"", b"", at)
        await store.transact(lambda unit, response=response: unit.remember(response))
    engine.clock.at = days(7)
    await insert(store, project(2))

    swept = await store.sweep(days(2.1))
    assert (dict(swept.removed), swept.more) == ({"responses": 1, "charges": 1, "quota_counters": 1}, frozenset())
    assert await store.refund("key_0001", "new", days(2.1)) is True
    swept = await store.sweep(days(7))
    assert swept.removed["events"] == 1
    assert [event.seq for event in await store.events(0)] == [2]
    assert await store.head() == 2
    await insert(store, project(3))
    assert await store.head() == 3, "the sequence goes on"
    assert (await store.sweep(days(7))).removed == {}


async def test_a_clock_that_jumps_a_day_ahead_does_not_renew_a_quota(store: Any) -> None:
    quota = Quota("calls", 1, CalendarUnit.DAY)
    await store.charge(spend(quotas=(quota,), with_credits=False))
    await store.sweep(days(1))
    assert (await store.charge(spend(quotas=(quota,), with_credits=False))).quotas[0].exceeded


async def test_minutes_are_rolled_into_hours(store: Any) -> None:
    rows = [row(minute, count=minute + 1, code=code) for minute in range(50) for code in ("VALID", "EXPIRED")]
    await store.add_usage(UsageBatch(usage=tuple(rows)))
    queries = [UsageQuery(START, Instant(END + DAY), group_by) for group_by in ((), ("hour", "code"), ("day",))]
    before = [await store.usage(query) for query in queries]
    assert before[0] == ({"count": 2 * 50 * 51 // 2},)
    assert (await store.sweep(days(29))).removed == {}
    for _ in range(3):
        swept = await store.sweep(days(31), batch=40)
        assert swept.removed["usage_minutes"] in (40, 20)
        assert swept.more == ({"usage_minutes"} if swept.removed["usage_minutes"] == 40 else set())
        assert [await store.usage(query) for query in queries] == before
    await store.add_usage(UsageBatch(usage=(row(count=7),)))  # a flush that comes very late
    await store.sweep(days(31))
    assert (await store.usage(queries[0]))[0]["count"] == before[0][0]["count"] + 7
    await store.sweep(days(402))
    assert await store.usage(queries[0]) == ()


async def test_deleted_records_are_forgotten_after_a_month(store: Any) -> None:
    await insert(store, plan(), plan(2), project(), project(2, plan_id="plan_0002"), project(3), api())
    await insert(store, identity(), identity(2, project_id="proj_0003"))
    await insert(
        store,
        key(1, tags=("t",)),
        key(2),
        key(3, identity_id="idn_0001"),
        key(4, project_id="proj_0003", identity_id="idn_0002"),
        key(5, project_id="proj_0002"),
    )
    await grant(store, "key:key_0001", 5)
    gone = (key(1, tags=("t",)), identity(), project(3), plan(), plan(2))
    for record in gone:
        await store.transact(lambda unit, record=record: unit.update(change(record, Change.DELETE, NOW)))
    assert set((await store.sweep(days(29.9))).removed) == {"events"}
    swept = await store.sweep(days(30))
    assert swept.removed == {
        "api_keys": 3,
        "identities": 2,
        "projects": 1,
        "plans": 1,
    }, "what belongs to a forgotten owner goes with it; a plan that is in use stays"
    assert [k.id for k in await store.page(ApiKey, Query())] == ["key_0002", "key_0005"]
    assert [p.id for p in await store.page(Plan, Query({"state": "deleted"}))] == ["plan_0002"]
    assert await store.page(Identity, Query({"state": State.DELETED})) == ()
    assert [p.id for p in await store.page(Project, Query())] == ["proj_0001", "proj_0002"]
    assert await store.balances(["key:key_0001"]) == ()


async def test_two_nodes_sweeping_at_once_count_nothing_twice(shared_engine: Engine) -> None:
    nodes = [await shared_engine.open() for _ in range(3)]
    rows = tuple(row(minute, key_id=f"k{minute % 7}") for minute in range(500))
    await nodes[0].add_usage(UsageBatch(usage=rows))
    for _ in range(4):
        await asyncio.gather(*(node.sweep(days(31), batch=100) for node in nodes))
    assert await nodes[0].usage(UsageQuery(START, Instant(END + DAY), ())) == ({"count": 500},)
    await insert(nodes[0], api())
