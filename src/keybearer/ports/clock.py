"""The clock: the only source of time."""

from __future__ import annotations

from typing import Protocol

from ..core.instant import Instant


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> Instant:
        """Return the wall-clock time (UTC microseconds). It may jump."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go back, the same for all processes of this machine."""
        ...
