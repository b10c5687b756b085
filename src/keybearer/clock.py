"""The system's clocks."""

from __future__ import annotations

import time

from .core.instant import Instant


class SystemClock:
    """Implements ``ports.Clock``."""

    def now(self) -> Instant:
        """Return the wall-clock time in UTC microseconds."""
        return Instant(time.time_ns() // 1000)

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go back."""
        return time.monotonic_ns()
