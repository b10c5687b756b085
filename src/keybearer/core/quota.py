"""The arithmetic of limits: GCRA for rates, calendar windows for quotas. No state is kept here.

GCRA keeps one number per limit, the theoretical arrival time (TAT). A request of cost *c* is admitted when the TAT,
moved on by *c* emission intervals, lies no further ahead of now than the burst tolerance.
Spec: ATM Forum TM 4.0 §4.4.2 (virtual scheduling).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from .instant import Instant

GcraResult = tuple[bool, int, int, int, int]
"""``(admitted, tat, remaining, reset_in, retry_in)``: a plain tuple, because the hot path makes one per limit."""


def gcra(tat: int, now: int, emission_interval: int, burst: int, cost: int) -> GcraResult:
    """Decide one request against one limit. Times are in the unit that went in (nanoseconds on the hot path).

    ``emission_interval`` is the time one unit takes to come back, ``burst`` the units that may be spent at once. The
    returned ``tat`` is what to store: unchanged on a refusal. ``reset_in`` is when the burst is whole again.
    ``retry_in`` is exact, and -1 when the cost exceeds the burst and so can never be admitted.
    """
    base = tat if tat > now else now
    tolerance = emission_interval * burst
    ahead = base + cost * emission_interval - now
    if ahead > tolerance:
        retry_in = ahead - tolerance if cost <= burst else -1
        # A limit that was made stricter meanwhile may owe more than it could ever have lent.
        return False, tat, max(0, tolerance - (base - now)) // emission_interval, base - now, retry_in
    return True, now + ahead, (tolerance - ahead) // emission_interval, ahead, 0


class LimitState(NamedTuple):
    """How one named limit stands after a request. ``reset_in`` and ``retry_in`` are in microseconds."""

    name: str
    limit: int
    remaining: int
    reset_in: int
    exceeded: bool
    retry_in: int = 0


class CalendarUnit(StrEnum):
    """The calendar windows of quotas and refills, all in UTC."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Window:
    """One calendar window: it starts at ``starts_at`` and ends just before ``ends_at``."""

    starts_at: Instant
    ends_at: Instant


_FIXED = {CalendarUnit.MINUTE: 60, CalendarUnit.HOUR: 3600, CalendarUnit.DAY: 86_400}


def calendar_window(unit: CalendarUnit, now: Instant) -> Window:
    """Return the UTC window of this unit that contains ``now``. Weeks start on Monday (ISO 8601)."""
    seconds = _FIXED.get(unit)
    if seconds is not None:
        width = seconds * 1_000_000
        start = now - now % width
        return Window(Instant(start), Instant(start + width))
    day = datetime.fromtimestamp(now // 1_000_000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if unit is CalendarUnit.WEEK:
        first = day - timedelta(days=day.weekday())
        last = first + timedelta(days=7)
    elif unit is CalendarUnit.MONTH:
        first = day.replace(day=1)
        last = (first + timedelta(days=32)).replace(day=1)
    else:
        first = day.replace(month=1, day=1)
        last = first.replace(year=first.year + 1)
    return Window(Instant(int(first.timestamp()) * 1_000_000), Instant(int(last.timestamp()) * 1_000_000))
