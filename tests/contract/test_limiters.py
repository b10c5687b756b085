"""The limiter contract, over every name in LIMITERS: all takes or none, exact under concurrency, bounded."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from keybearer.core.records import RateLimit, Take, bind_limits
from keybearer.limiters import LIMITERS, SharedMemoryLimiter
from keybearer.limiters.failures import FailureThrottle

SECOND = 1_000_000


class Time:
    def __init__(self) -> None:
        self.ns = 5_000_000_000

    def __call__(self) -> int:
        return self.ns


def takes(*limits: tuple[str, int, int, int], cost: int = 1, owner: str = "key:1") -> tuple[Take, ...]:
    bound = bind_limits(owner, tuple(RateLimit(name, limit, period, burst) for name, limit, period, burst in limits))
    return tuple(Take(limit, cost) for limit in bound)


@pytest.fixture(params=LIMITERS, ids=lambda limiter: limiter.name)
def make(request: pytest.FixtureRequest) -> Callable[[Time], Any]:
    made = []

    def build(clock: Time) -> Any:
        limiter = request.param(monotonic_ns=clock)
        made.append(limiter)
        return limiter

    yield build
    for limiter in made:
        if hasattr(limiter, "close"):
            limiter.close()


def test_the_burst_and_then_the_rate(make: Callable[[Time], Any]) -> None:
    clock = Time()
    limiter = make(clock)
    ten = takes(("r", 10, SECOND, 10))
    assert [limiter.take_now(ten).admitted for _ in range(12)] == [True] * 10 + [False] * 2
    refused = limiter.take_now(ten)
    assert refused.retry_in == 100_000
    assert refused.states[0].exceeded
    clock.ns += 100_000_000
    assert limiter.take_now(ten).admitted
    assert not limiter.take_now(ten).admitted
    clock.ns += 10_000_000_000
    taken = limiter.take_now(ten)
    assert taken.states[0].remaining == 9
    assert taken.states[0].reset_in == 100_000


def test_all_limits_or_none(make: Callable[[Time], Any]) -> None:
    limiter = make(Time())
    both = takes(("wide", 100, SECOND, 100), ("narrow", 2, SECOND, 2))
    assert limiter.take_now(both).admitted
    assert limiter.take_now(both).admitted
    for _ in range(5):
        refused = limiter.take_now(both)
        assert not refused.admitted
        assert [state.exceeded for state in refused.states] == [False, True]
    assert limiter.take_now(both[:1]).states[0].remaining == 97


def test_owners_do_not_share_buckets(make: Callable[[Time], Any]) -> None:
    limiter = make(Time())
    assert limiter.take_now(takes(("r", 1, SECOND, 1), owner="key:1")).admitted
    assert limiter.take_now(takes(("r", 1, SECOND, 1), owner="key:2")).admitted
    assert not limiter.take_now(takes(("r", 1, SECOND, 1), owner="key:1")).admitted


def test_what_is_given_back_can_be_taken_again(make: Callable[[Time], Any]) -> None:
    limiter = make(Time())
    one = takes(("r", 3, SECOND, 3), cost=3)
    assert limiter.take_now(one).admitted
    limiter.give_back_now(one)
    assert limiter.take_now(one).admitted
    assert not limiter.take_now(one).admitted


def test_a_cost_above_the_burst_can_never_pass(make: Callable[[Time], Any]) -> None:
    limiter = make(Time())
    refused = limiter.take_now(takes(("r", 3, SECOND, 3), cost=4))
    assert not refused.admitted
    assert refused.retry_in == -1


def test_a_limit_made_stricter_never_has_less_than_nothing_left(make: Callable[[Time], Any]) -> None:
    limiter = make(Time())
    assert limiter.take_now(takes(("r", 10, 10 * SECOND, 10), cost=10)).admitted
    refused = limiter.take_now(takes(("r", 10, 10 * SECOND, 2)))
    assert not refused.admitted
    assert refused.states[0].remaining == 0
    assert refused.retry_in == 9 * 1_000_000


def test_a_cost_of_nothing_looks_without_taking(make: Callable[[Time], Any]) -> None:
    limiter = make(Time())
    for _ in range(5):
        assert limiter.take_now(takes(("r", 3, SECOND, 3), cost=0)).states[0].remaining == 3


@pytest.mark.anyio
async def test_the_waiting_form_is_the_same(make: Callable[[Time], Any]) -> None:
    limiter = make(Time())
    one = takes(("r", 1, SECOND, 1))
    assert (await limiter.take(one)).admitted
    assert not (await limiter.take(one)).admitted
    await limiter.give_back(one)
    assert (await limiter.take(one)).admitted


def test_memory_stays_bounded_when_keys_come_and_go(make: Callable[[Time], Any]) -> None:
    clock = Time()
    limiter = make(clock)
    for number in range(70_000):
        clock.ns += 1_000_000
        limiter.take_now(takes(("r", 10, SECOND, 10), owner=f"key:{number}"))
    if hasattr(limiter, "__len__"):
        assert len(limiter) < 10_000
    else:
        assert limiter.crowded_out == 0


def test_processes_together_admit_exactly_the_limit() -> None:
    """Races really raced: four forked processes, one limit, no more and no less than its burst."""
    limiter = SharedMemoryLimiter(sets=64)
    hour = takes(("r", 1000, 3600 * SECOND, 1000), ("second", 5000, 3600 * SECOND, 5000))
    children, readers = [], []
    begin = time.monotonic() + 0.2
    for _ in range(4):
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                while time.monotonic() < begin:
                    pass
                admitted = sum(limiter.take_now(hour).admitted for _ in range(600))
                os.write(writer, str(admitted).encode())
            finally:
                os._exit(0)
        os.close(writer)
        children.append(pid)
        readers.append(reader)
    admitted = [int(os.read(reader, 32)) for reader in readers]
    for pid in children:
        os.waitpid(pid, 0)
    for reader in readers:
        os.close(reader)
    limiter.close()
    assert sum(admitted) == 1000


def test_a_process_that_dies_with_the_lock_blocks_nobody() -> None:
    limiter = SharedMemoryLimiter(sets=1)
    pid = os.fork()
    if not pid:
        import fcntl

        fcntl.lockf(limiter._locks(), fcntl.LOCK_EX, 1, 0)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert limiter.take_now(takes(("r", 1, SECOND, 1))).admitted
    limiter.close()


def test_a_full_row_makes_room_and_says_so() -> None:
    clock = Time()
    limiter = SharedMemoryLimiter(sets=1, monotonic_ns=clock)
    for number in range(20):
        assert limiter.take_now(takes(("r", 1, SECOND, 1), owner=f"key:{number}")).admitted
    assert limiter.crowded_out > 0
    limiter.close()


def test_failures_slow_down_their_source_alone() -> None:
    from ipaddress import ip_address

    clock = Time()
    throttle = FailureThrottle(10, monotonic_ns=clock)
    bad, good = ip_address("203.0.113.1"), ip_address("203.0.113.2")
    for _ in range(10):
        assert throttle.retry_in(bad) == 0
        throttle.failed(bad)
    assert 0 < throttle.retry_in(bad) <= 6_000_000
    assert throttle.retry_in(good) == 0
    clock.ns += 6_000_000_000
    assert throttle.retry_in(bad) == 0
    six = [ip_address(f"2001:db8:1:2::{number}") for number in range(1, 12)]
    for source in six[:10]:
        throttle.failed(source)
    assert throttle.retry_in(six[10]) > 0
    off = FailureThrottle(0)
    for _ in range(1000):
        off.failed(bad)
    assert off.retry_in(bad) == 0
