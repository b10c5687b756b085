"""GCRA and calendar windows: exact arithmetic, checked against a plain simulation."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.instant import Instant
from keybearer.core.quota import CalendarUnit, calendar_window, gcra


def test_a_full_bucket_admits_its_burst_and_no_more() -> None:
    tat, admitted = 0, 0
    for _ in range(20):
        ok, tat, *_ = gcra(tat, 1_000, 100, 7, 1)
        admitted += ok
    assert admitted == 7


@given(
    emission=st.integers(1, 1000),
    burst=st.integers(1, 50),
    steps=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 60)), max_size=60),
)
def test_gcra_never_admits_more_than_rate_and_burst_allow(
    emission: int, burst: int, steps: list[tuple[int, int]]
) -> None:
    now, tat, taken = 10_000, 0, []
    for wait, cost in steps:
        now += wait
        before = tat
        ok, tat, remaining, reset_in, retry_in = gcra(tat, now, emission, burst, cost)
        assert 0 <= remaining <= burst
        assert 0 <= reset_in <= emission * burst
        if ok:
            taken.append((now, cost))
        else:
            assert tat == before
            if cost <= burst:
                assert gcra(tat, now + retry_in, emission, burst, cost)[0]
                assert not gcra(tat, now + retry_in - 1, emission, burst, cost)[0]
            else:
                assert retry_in == -1
    for start in range(len(taken)):
        for end in range(start, len(taken)):
            units = sum(cost for _, cost in taken[start : end + 1])
            assert (units - burst) * emission <= taken[end][0] - taken[start][0]


def test_steady_slow_traffic_is_never_limited() -> None:
    """Better Auth measured its window from the last request, so that steady slow traffic ran into the limit."""
    now, tat = 0, 0
    for _ in range(1000):
        now += 100
        ok, tat, *_ = gcra(tat, now, 100, 1, 1)
        assert ok


def at(*parts: int) -> Instant:
    return Instant(int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000)


@pytest.mark.parametrize(
    ("unit", "start", "end"),
    [
        (CalendarUnit.MINUTE, at(2024, 2, 29, 23, 59), at(2024, 3, 1)),
        (CalendarUnit.HOUR, at(2024, 2, 29, 23), at(2024, 3, 1)),
        (CalendarUnit.DAY, at(2024, 2, 29), at(2024, 3, 1)),
        (CalendarUnit.WEEK, at(2024, 2, 26), at(2024, 3, 4)),
        (CalendarUnit.MONTH, at(2024, 2, 1), at(2024, 3, 1)),
        (CalendarUnit.YEAR, at(2024, 1, 1), at(2025, 1, 1)),
    ],
)
def test_calendar_windows_are_utc_and_half_open(unit: CalendarUnit, start: Instant, end: Instant) -> None:
    for moment in (start, Instant(at(2024, 2, 29, 23, 59, 59)), Instant(end - 1)):
        if start <= moment < end:
            window = calendar_window(unit, moment)
            assert (window.starts_at, window.ends_at) == (start, end)
    assert calendar_window(unit, end).starts_at == end


@given(st.sampled_from(list(CalendarUnit)), st.integers(0, 4_000_000_000_000_000))
def test_every_moment_lies_in_its_window(unit: CalendarUnit, moment: int) -> None:
    window = calendar_window(unit, Instant(moment))
    assert window.starts_at <= moment < window.ends_at
    assert calendar_window(unit, Instant(window.ends_at - 1)) == window
