"""How long what was heard may be trusted, though nobody knows how long it was under way (ADR 10).

All times are monotonic nanoseconds of this machine, but for ``clock`` and ``age``, which are the node's milliseconds.
"""

from __future__ import annotations

from typing import Final

LIFETIME_NS: Final = 900_000_000
"""L of the revocation promise (DESIGN §5)."""
DRIFT_PER_MILLION: Final = 200
"""How far two clocks may run apart."""
ROUNDING_NS: Final = 1_000_000
"""The node's clock comes in whole milliseconds."""


class Anchor:
    """One stream's clocks: the stream was asked for at ``asked_at``, and its first heartbeat was written after that."""

    __slots__ = ("asked_at", "first_clock")

    def __init__(self, asked_at: int) -> None:
        self.asked_at = asked_at
        self.first_clock: int | None = None

    def written_at(self, clock: int) -> int:
        """Return a time before which nothing with this clock was written, less what the clocks may have drifted."""
        if self.first_clock is None:
            self.first_clock = clock
        since_ns = (clock - self.first_clock) * 1_000_000
        return self.asked_at + since_ns - abs(since_ns) * DRIFT_PER_MILLION // 1_000_000 - ROUNDING_NS

    def fresh_until(self, clock: int, age: int) -> int:
        """Return until when a view may be trusted that a heartbeat vouched for."""
        return self.written_at(clock) - max(age, 0) * 1_000_000 + LIFETIME_NS
