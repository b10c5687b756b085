"""The sweep of what ends by itself: nothing before its time, everything after it, in ranges and batches."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from keybearer.core.artefacts import ArtefactKind
from keybearer.core.credential import expiry_of, new_expiring_id
from keybearer.core.errors import NotFound
from keybearer.core.instant import DAY, HOUR, MINUTE, Instant
from keybearer.core.lifecycle import Change, change, revoke_family, touch
from keybearer.core.sessions import Session
from keybearer.ports import Query, UnitOfWork
from tests.contract.making import NOW, Engine, days, insert, project
from tests.contract.making_tokens import artefact, client, consent, family, machine_token, session, token, user

pytestmark = pytest.mark.anyio


def expiring(at: int) -> Any:
    """A token that expires at this instant, as its id says."""
    return machine_token(id="at_" + new_expiring_id(Instant(at)), issued_at=NOW, expires_at=Instant(at))


async def stored(store: Any, tokens: list[Any]) -> list[bool]:
    return [await store.find_token(one.id) is not None for one in tokens]


async def add(store: Any, *tokens: Any) -> None:
    async def work(unit: UnitOfWork) -> None:
        for one in tokens:
            await unit.add_token(one)

    await insert(store, project(), client())
    await store.transact(work)


async def test_the_first_to_expire_go_first(store: Any) -> None:
    tokens = [expiring(NOW + minute * MINUTE) for minute in (9, 2, 30, 4, 1)]
    await add(store, *tokens)
    swept = await store.sweep(Instant(NOW + 5 * MINUTE + HOUR))
    assert dict(swept.removed) == {"access_tokens": 3}
    assert await stored(store, tokens) == [True, False, True, False, False]


async def test_no_token_goes_before_its_time(store: Any) -> None:
    one = expiring(NOW + 999)  # its id says NOW, for it knows milliseconds only
    await add(store, one)
    assert expiry_of(one.id.removeprefix("at_")) == NOW
    assert (await store.sweep(Instant(NOW + HOUR))).removed == {}
    assert (await store.sweep(Instant(NOW + HOUR + 998))).removed == {}
    assert (await store.sweep(Instant(NOW + HOUR + 1000))).removed == {"access_tokens": 1}


async def test_tokens_go_in_batches_and_the_sweep_says_where_there_is_more(store: Any) -> None:
    tokens = [expiring(NOW + n * 1000) for n in range(47)]
    await add(store, *tokens, expiring(days(9)))
    counts, more = [], None
    while more is None or more:
        swept = await store.sweep(days(1), batch=20, tables=more)
        counts.append(swept.removed.get("access_tokens", 0))
        assert set(swept.removed) <= {"access_tokens"} | ({"events"} if more is None else set())
        more = swept.more
    assert counts == [20, 20, 7]


async def test_only_the_tables_asked_for_are_swept(store: Any) -> None:
    await store.transact(lambda unit: unit.revoke_token("at_1", NOW))
    await store.transact(lambda unit: unit.add_artefact(artefact()))
    assert (await store.sweep(days(3), tables={"artefacts"})).removed == {"artefacts": 1}
    assert (await store.sweep(days(3), tables=())).removed == {}
    assert (await store.sweep(days(3))).removed == {"revoked_tokens": 1}


async def test_a_revocation_outlives_its_token_by_a_day(store: Any) -> None:
    await store.transact(lambda unit: unit.revoke_token("at_1", days(2)))
    assert (await store.sweep(Instant(days(3) - 1))).removed == {}
    assert not await store.transact(lambda unit: unit.revoke_token("at_1", days(2)))
    assert (await store.sweep(days(3))).removed == {"revoked_tokens": 1}


async def test_an_artefact_is_kept_for_its_whole_life_used_or_not(store: Any) -> None:
    used = artefact("used", expires_at=days(2), used_at=NOW)
    await store.transact(lambda unit: unit.add_artefact(used))
    assert (await store.sweep(Instant(days(2) + HOUR - 1))).removed == {}
    assert await store.get_artefact(ArtefactKind.AUTHORIZATION_CODE, "used") == used
    assert (await store.sweep(Instant(days(2) + HOUR))).removed == {"artefacts": 1}
    with pytest.raises(NotFound):
        await store.get_artefact(ArtefactKind.AUTHORIZATION_CODE, "used")


async def test_a_family_is_kept_a_day_after_its_end(store: Any) -> None:
    async def work(unit: UnitOfWork) -> None:
        await unit.add_family(family(1, idle_in=2 * DAY))
        await unit.add_family(family(2, expires_at=days(3)))
        await unit.add_family(family(3))
        await unit.add_family(family(4))
        await unit.update_family(revoke_family(family(4, generation=2), days(4)), generation=1)
        await unit.add_family(family(5, idle_in=2 * DAY, rotated_at=days(4)))
        await unit.add_family(family(6, user_id="user_0002"))
        await unit.revoke_families("user_id", "user_0002", days(6))

    await store.transact(work)
    left = 6
    for day, gone in ((3, 1), (4, 1), (5, 1), (7, 2), (15, 1)):
        assert (await store.sweep(Instant(days(day) - 1))).removed == {}
        assert (await store.sweep(days(day))).removed == {"token_families": gone}
        left -= gone
    assert left == 0


async def test_what_the_previous_token_was_answered_with_is_kept_for_an_hour(store: Any) -> None:
    rotated = family(2, generation=2, previous_digest=b"\0p", sealed_successor=b"\0s", rotated_at=days(1))

    async def work(unit: UnitOfWork) -> None:
        await unit.add_family(family(1))
        await unit.add_family(family(2))
        await unit.update_family(rotated, generation=1)

    await store.transact(work)
    assert (await store.sweep(Instant(days(1) + HOUR - 1))).removed == {}
    assert await store.get_family("rt_0002") == rotated
    assert (await store.sweep(Instant(days(1) + HOUR))).removed == {"token_successors": 1}
    assert await store.get_family("rt_0002") == replace(rotated, previous_digest=b"", sealed_successor=b"")
    again = replace(rotated, generation=3, previous_digest=b"q", sealed_successor=b"t", rotated_at=days(2))
    await store.transact(lambda unit: unit.update_family(again, generation=2))
    assert await store.get_family("rt_0002") == again
    bare = replace(again, generation=4, previous_digest=b"", sealed_successor=b"")
    await store.transact(lambda unit: unit.update_family(bare, generation=3))
    assert await store.get_family("rt_0002") == bare


async def test_a_use_moves_the_end_of_a_family(store: Any) -> None:
    await store.transact(lambda unit: unit.add_family(family(idle_in=2 * DAY)))
    later = family(idle_in=2 * DAY, rotated_at=days(2), generation=2)
    await store.transact(lambda unit: unit.update_family(later, generation=1))
    assert (await store.sweep(Instant(days(5) - 1))).removed == {}
    assert (await store.sweep(days(5))).removed == {"token_families": 1}


async def test_sessions_and_grants_are_kept_thirty_days_after_their_end(store: Any) -> None:
    await insert(
        store,
        *(project(), user(), user(2), user(3), client()),
        *(session(1, idle_in=5 * DAY), session(2, expires_at=days(3), idle_in=9 * DAY), session(3, idle_in=5 * DAY)),
        *(consent(1), consent(2, user_id="user_0002", expires_at=days(6)), consent(3, user_id="user_0003")),
    )
    await store.sweep(days(20))  # the events

    async def work(unit: UnitOfWork) -> None:
        await unit.update(touch(await unit.get(Session, "sess_0003"), days(4), seen_at=days(4)))
        await unit.update(change(await unit.get(type(consent()), "grant_0003"), Change.REVOKE, days(8)))

    await store.transact(work)
    for day, table in ((33, "sessions"), (35, "sessions"), (36, "grants"), (37, "sessions"), (38, "grants")):
        assert (await store.sweep(Instant(days(day) - 1))).removed == {}, day
        assert (await store.sweep(days(day))).removed == {table: 1}, day
    assert [one.id for one in await store.page(type(consent()), Query())] == ["grant_0001"], "it has no end"


async def test_a_token_outlives_nothing_it_came_from(store: Any) -> None:
    """What is swept from behind a token leaves it revoked, not free."""
    from tests.contract.making_tokens import furnish

    await furnish(store)
    long_lived = token(9, id="at_zzzzzzz000000000", expires_at=days(400))
    await store.transact(lambda unit: unit.add_token(long_lived))
    assert not (await store.find_token(long_lived.id)).is_revoked
    swept = await store.sweep(days(100))
    assert {"sessions", "token_families"} <= set(swept.removed)
    assert (await store.find_token(long_lived.id)).is_revoked


async def test_two_nodes_sweep_the_same_tokens_once(shared_engine: Engine) -> None:
    nodes = [await shared_engine.open(), await shared_engine.open()]
    await add(nodes[0], *(expiring(NOW + n * 1000) for n in range(100)))
    swept = await asyncio.gather(*(node.sweep(days(1), batch=10) for node in nodes * 5))
    swept.append(await nodes[0].sweep(days(1)))  # where two met, one of them removed less than a batch
    assert sum(one.removed.get("access_tokens", 0) for one in swept) == 100
