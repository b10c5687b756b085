"""Credits and quotas: taken all or nothing, never more than there is, once per request, refunded once."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from keybearer.core.errors import Code, InvalidInput, NotFound
from keybearer.core.instant import DAY, HOUR, Instant
from keybearer.core.quota import CalendarUnit, calendar_window
from keybearer.core.records import CreditPolicy, Quota
from keybearer.ports import Charge, CreditTake, QuotaTake, RememberedResponse
from tests.contract.making import NOW, Engine, days, grant, spend

pytestmark = pytest.mark.anyio

OWNER = "key:key_0001"
DAILY = CreditPolicy(refill_to=100, refill_per=CalendarUnit.DAY)


async def balance(store: Any, owner: str = OWNER) -> int:
    (account,) = await store.balances([owner])
    assert account.balance == account.granted - account.spent
    return int(account.balance)


async def test_credits_are_never_overspent_by_200_at_once(engine: Engine) -> None:
    store = await engine.open()
    await grant(store, OWNER, 100)
    outcomes = await asyncio.gather(*(store.charge(spend()) for _ in range(200)))
    valid = [charged for charged in outcomes if charged.code is Code.VALID]
    assert len(valid) == 100
    assert sorted(charged.credits_remaining for charged in valid) == list(range(100))
    assert {charged.code for charged in outcomes} == {Code.VALID, Code.CREDITS_EXHAUSTED}
    assert await balance(store) == 0


async def test_a_quota_is_exact_under_200_at_once(engine: Engine) -> None:
    store = await engine.open()
    quota = Quota("calls", 70, CalendarUnit.DAY)
    outcomes = await asyncio.gather(
        *(store.charge(spend(quotas=(quota,), with_credits=False)) for _ in range(200)),
    )
    valid = [charged for charged in outcomes if charged.code is Code.VALID]
    assert len(valid) == 70
    assert sorted(charged.quotas[0].remaining for charged in valid) == list(range(70))
    refused = next(charged for charged in outcomes if charged.code is Code.RATE_LIMITED)
    state = refused.quotas[0]
    left = calendar_window(CalendarUnit.DAY, NOW).ends_at - NOW
    assert (state.name, state.limit, state.remaining, state.exceeded) == ("calls", 70, 0, True)
    assert (state.reset_in, state.retry_in) == (left, left)
    assert refused.credits_remaining is None


async def test_a_charge_is_all_or_nothing(store: Any) -> None:
    await grant(store, "key:a", 10)
    await grant(store, "identity:b", 2)
    quotas = (Quota("day", 5, CalendarUnit.DAY), Quota("month", 3, CalendarUnit.MONTH))

    def charge(credit_cost: int, quota_cost: int) -> Charge:
        return Charge(
            key_id="key_0001",
            request_id=None,
            credits=(
                CreditTake("key:a", CreditPolicy(), credit_cost),
                CreditTake("identity:b", CreditPolicy(), credit_cost),
            ),
            quotas=tuple(QuotaTake("key:a", quota, quota_cost) for quota in quotas),
            now=NOW,
        )

    charged = await store.charge(charge(3, 1))
    assert (charged.code, charged.credits_remaining) == (Code.CREDITS_EXHAUSTED, 2)
    assert [state.remaining for state in charged.quotas] == [5, 3]
    charged = await store.charge(charge(1, 4))
    assert (charged.code, charged.credits_remaining) == (Code.RATE_LIMITED, 2)
    assert [(state.name, state.remaining, state.exceeded) for state in charged.quotas] == [
        ("day", 5, False),
        ("month", 3, True),
    ]
    assert charged.quotas[1].retry_in == -1, "it can never be admitted"
    charged = await store.charge(charge(1, 1))
    assert (charged.code, charged.credits_remaining) == (Code.VALID, 1)
    assert [state.remaining for state in charged.quotas] == [4, 2]
    assert await balance(store, "key:a") == 9
    assert await balance(store, "identity:b") == 1


async def test_a_request_is_charged_once(engine: Engine) -> None:
    store = await engine.open()
    await grant(store, OWNER, 10)
    quota = Quota("calls", 10, CalendarUnit.DAY)
    outcomes = await asyncio.gather(*(store.charge(spend("r1", cost=3, quotas=(quota,))) for _ in range(20)))
    assert sum(not charged.replayed for charged in outcomes) == 1
    assert {(c.code, c.credits_remaining, c.quotas[0].remaining) for c in outcomes} == {(Code.VALID, 7, 9)}
    assert await balance(store) == 7
    await store.charge(spend("r2", cost=3))
    again = await store.charge(spend("r1", cost=3, quotas=(quota,)))
    assert (again.replayed, again.credits_remaining) == (True, 7), "the original remaining"
    other_key = await store.charge(replace(spend("r1"), key_id="key_0002"))
    assert (other_key.replayed, other_key.credits_remaining) == (False, 3)


async def test_a_refused_request_is_not_remembered(store: Any) -> None:
    await grant(store, OWNER, 1)
    refused = await store.charge(spend("r1", cost=5))
    assert (refused.code, refused.credits_remaining, refused.replayed) == (Code.CREDITS_EXHAUSTED, 1, False)
    await grant(store, OWNER, 10)
    charged = await store.charge(spend("r1", cost=5))
    assert (charged.code, charged.credits_remaining, charged.replayed) == (Code.VALID, 5, False)


async def test_a_charge_is_refunded_once(engine: Engine) -> None:
    store = await engine.open()
    await grant(store, OWNER, 10)
    quota = Quota("calls", 10, CalendarUnit.DAY)
    await store.charge(spend("r1", cost=4, quotas=(quota,)))
    done = await asyncio.gather(*(store.refund("key_0001", "r1", NOW) for _ in range(20)))
    assert sum(done) == 1
    (account,) = await store.balances([OWNER])
    assert (account.balance, account.granted, account.spent) == (10, 10, 0)
    charged = await store.charge(spend(quotas=(quota,)))
    assert charged.quotas[0].remaining == 9
    assert (await store.charge(spend("r1", cost=4))).replayed, "a refund does not make the request new"
    assert await store.refund("key_0001", "never", NOW) is False
    assert await store.refund("key_0002", "r1", NOW) is False


async def test_a_refund_in_a_later_window_gives_back_credits_but_no_quota(store: Any) -> None:
    await grant(store, OWNER, 10)
    quota = Quota("calls", 10, CalendarUnit.HOUR)
    await store.charge(spend("r1", cost=4, quotas=(quota,)))
    later = Instant(NOW + HOUR)
    await store.charge(spend(quotas=(quota,), now=later))
    assert await store.refund("key_0001", "r1", later) is True
    assert await balance(store) == 9
    charged = await store.charge(spend(quotas=(quota,), now=later))
    assert charged.quotas[0].remaining == 8


async def test_a_refund_is_refused_after_a_day(store: Any) -> None:
    await grant(store, OWNER, 10)
    await store.charge(spend("r1", cost=4))
    assert await store.refund("key_0001", "r1", days(1)) is False
    assert await store.refund("key_0001", "r1", Instant(NOW + DAY - 1)) is True


async def test_credits_refill_with_the_calendar(store: Any) -> None:
    await grant(store, OWNER, 40, DAILY)
    (account,) = await store.balances([OWNER])
    assert account.refills_at == calendar_window(CalendarUnit.DAY, NOW).ends_at
    assert (await store.charge(spend(cost=30, policy=DAILY))).credits_remaining == 10
    assert (await store.charge(spend(cost=30, policy=DAILY))).code is Code.CREDITS_EXHAUSTED
    tomorrow = calendar_window(CalendarUnit.DAY, NOW).ends_at
    early = await store.charge(spend(cost=30, policy=DAILY, now=Instant(tomorrow - 1)))
    assert early.code is Code.CREDITS_EXHAUSTED
    assert (await store.charge(spend(cost=30, policy=DAILY, now=tomorrow))).credits_remaining == 70
    (account,) = await store.balances([OWNER])
    assert (account.balance, account.granted, account.spent) == (70, 130, 60)
    assert account.refills_at == tomorrow + DAY
    # Several windows later there is one refill, not several.
    assert (await store.charge(spend(cost=0, policy=DAILY, now=days(5)))).credits_remaining == 100


async def test_a_refill_never_raises_a_balance_above_it(store: Any) -> None:
    await grant(store, OWNER, 500, DAILY)
    assert (await store.charge(spend(cost=1, policy=DAILY, now=days(2)))).credits_remaining == 499
    (account,) = await store.balances([OWNER])
    assert (account.granted, account.refills_at) == (500, calendar_window(CalendarUnit.DAY, days(2)).ends_at)


async def test_a_clock_that_goes_back_and_forth_refills_once_per_window(store: Any) -> None:
    await grant(store, OWNER, 100, DAILY)
    for day in (1, 0, 1, 0.5, 1):
        await store.charge(spend(cost=60, policy=DAILY, now=days(day)))
    (account,) = await store.balances([OWNER])
    assert account.granted <= 200


async def test_two_hundred_at_the_refill(engine: Engine) -> None:
    store = await engine.open()
    await grant(store, OWNER, 0, DAILY)
    outcomes = await asyncio.gather(*(store.charge(spend(policy=DAILY, now=days(1))) for _ in range(200)))
    assert sum(charged.code is Code.VALID for charged in outcomes) == 100
    (account,) = await store.balances([OWNER])
    assert (account.balance, account.granted, account.spent) == (0, 100, 100)


async def test_a_changed_policy_only_schedules_anew(store: Any) -> None:
    await grant(store, OWNER, 5)
    hourly = CreditPolicy(refill_to=50, refill_per=CalendarUnit.HOUR)
    assert (await store.charge(spend(cost=1, policy=hourly))).credits_remaining == 4
    assert (await store.charge(spend(cost=1, policy=hourly, now=Instant(NOW + HOUR)))).credits_remaining == 49


async def test_an_account_nobody_set_up(store: Any) -> None:
    charged = await store.charge(spend())
    assert (charged.code, charged.credits_remaining) == (Code.CREDITS_EXHAUSTED, 0)
    assert await store.balances([OWNER]) == ()
    assert (await store.charge(spend(policy=DAILY))).credits_remaining == 99


async def test_setting_and_adding_credits(store: Any) -> None:
    with pytest.raises(NotFound):
        await store.transact(lambda unit: unit.add_credits(OWNER, 5, NOW))
    await grant(store, OWNER, 10)
    await store.charge(spend(cost=4))
    account = await store.transact(lambda unit: unit.set_credits(OWNER, 2, CreditPolicy(), NOW))
    assert (account.balance, account.granted, account.spent) == (2, 6, 4)
    account = await store.transact(lambda unit: unit.add_credits(OWNER, 5, NOW))
    assert (account.balance, account.granted, account.spent) == (7, 11, 4)
    await grant(store, "key:z", 1)
    found = await store.balances(["key:z", "nobody", OWNER, OWNER])
    assert [account.owner for account in found] == [OWNER, "key:z"]
    assert await store.balances([]) == ()
    for amount in (-1, 2**53, 2**70):
        with pytest.raises(InvalidInput):
            await store.transact(lambda unit, amount=amount: unit.add_credits(OWNER, amount, NOW))
        with pytest.raises(InvalidInput):
            await grant(store, OWNER, amount)
        with pytest.raises(InvalidInput):
            await store.charge(spend(cost=amount))


async def test_quota_windows_are_apart(store: Any) -> None:
    quota = Quota("calls", 2, CalendarUnit.MONTH)

    async def take(now: Instant) -> int:
        return int((await store.charge(spend(quotas=(quota,), with_credits=False, now=now))).quotas[0].remaining)

    assert [await take(NOW), await take(NOW)] == [1, 0]
    assert await take(days(30)) == 1
    lowered = replace(quota, limit=1)
    refused = await store.charge(spend(quotas=(lowered,), with_credits=False))
    assert (refused.code, refused.quotas[0].remaining) == (Code.RATE_LIMITED, 0)


async def test_remembered_responses(engine: Engine) -> None:
    store = await engine.open()
    response = RememberedResponse("key:1", "idem-1", b"q" * 32, b"sealed", NOW)
    won = await asyncio.gather(
        *(store.transact(lambda unit: unit.remember(response)) for _ in range(10)), return_exceptions=True
    )
    assert sum(result is None for result in won) == 1
    assert await store.recall("key:1", "idem-1") == response
    assert await store.recall("key:2", "idem-1") is None
    engine.clock.at = days(1)
    assert await store.recall("key:1", "idem-1") is None
    newer = replace(response, created_at=days(1), sealed=b"new")
    await store.transact(lambda unit: unit.remember(newer))
    assert await store.recall("key:1", "idem-1") == newer
