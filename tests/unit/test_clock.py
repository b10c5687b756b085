"""Wall time as the authority sees it: it follows the machine's clock forward and never back."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.clock import SystemClock

HOUR = 3600 * 1_000_000_000
START = 1_800_000_000_000_000_000


@dataclass
class Machine:
    """A machine whose clock somebody sets."""

    wall: int = START
    monotonic: int = 77

    def clock(self) -> SystemClock:
        return SystemClock(lambda: self.wall, lambda: self.monotonic)

    def run(self, nanoseconds: int) -> None:
        self.wall += nanoseconds
        self.monotonic += nanoseconds


@given(st.lists(st.tuples(st.integers(0, 3 * HOUR), st.integers(-30 * HOUR, 30 * HOUR)), max_size=20))
def test_time_never_goes_back_and_never_stands_still(moves: list[tuple[int, int]]) -> None:
    machine = Machine()
    clock = machine.clock()
    latest = clock.now()
    for passed, step in moves:
        machine.run(passed)
        machine.wall += step
        now = clock.now()
        assert now >= latest + passed // 1000
        assert now >= machine.wall // 1000
        latest = now


def test_it_is_the_machines_time_while_nobody_touches_it() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(10):
        machine.run(HOUR)
        assert clock.now() == machine.wall // 1000
    machine.wall += 24 * HOUR
    assert clock.now() == machine.wall // 1000


def test_a_step_back_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall -= HOUR
    with caplog.at_level(logging.WARNING):
        before = clock.now()
        for _ in range(100):
            machine.run(1_000_000)
            clock.now()
    assert clock.now() == before + 100 * 1000
    assert len(caplog.records) == 1


def test_a_pause_between_the_two_clocks_does_not_hurry_time() -> None:
    machine = Machine()

    def paused() -> int:
        machine.run(50_000_000)
        return machine.monotonic

    clock = SystemClock(lambda: machine.wall, paused)
    for _ in range(100):
        assert clock.now() <= machine.wall // 1000
