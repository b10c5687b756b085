"""Instants and durations: integer microseconds, UTC, so that arithmetic is exact."""

from __future__ import annotations

from typing import Final, NewType

Instant = NewType("Instant", int)
"""Microseconds since 1970-01-01T00:00:00Z. Named ``*_at`` in records."""

Duration = NewType("Duration", int)
"""Microseconds. Named ``*_in`` in records."""

SECOND: Final = Duration(1_000_000)
MINUTE: Final = Duration(60 * SECOND)
HOUR: Final = Duration(60 * MINUTE)
DAY: Final = Duration(24 * HOUR)


def after(instant: Instant, duration: int) -> Instant:
    """Return the instant that lies ``duration`` microseconds after ``instant``."""
    return Instant(instant + duration)
