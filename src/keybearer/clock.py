"""The system's clocks. Within a process wall time never goes back, so that nothing that has expired lives again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from .core.instant import Instant

log = logging.getLogger(__name__)

STEP_NS: Final = 1_000_000_000
"""A step back by more than this is worth a line in the log."""


class SystemClock:
    """Implements ``ports.Clock``: the wall clock, as far ahead of the monotonic one as it was ever seen.

    When somebody puts the machine's clock back, time goes on from where it was; a restart takes the clock as it is.
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._ahead = wall_ns() - monotonic_ns()
        self._told = 0

    def now(self) -> Instant:
        """Return the time in UTC microseconds."""
        # In this order: a pause between the two can only make the difference smaller.
        wall = self._wall_ns()
        monotonic = self._monotonic_ns()
        if wall - monotonic > self._ahead:
            self._ahead = wall - monotonic
        elif self._ahead - (wall - monotonic) > STEP_NS + self._told:
            self._tell(self._ahead - (wall - monotonic))
        return Instant((monotonic + self._ahead) // 1000)

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go back."""
        return self._monotonic_ns()

    def _tell(self, behind: int) -> None:
        self._told = behind
        log.warning(
            "the machine's clock went back; time goes on from where it was", extra={"seconds": behind // STEP_NS}
        )
