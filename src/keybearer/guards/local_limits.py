"""Rate limits counted in this process alone, for guards that need not be exact over several (``limits="local"``)."""

from __future__ import annotations

import threading
import time
from typing import Final

from ..core.errors import Code, Rejected
from ..core.quota import LimitState, gcra
from ..core.records import Take

MAX_BUCKETS: Final = 100_000


class LocalLimits:
    """GCRA over a bounded number of buckets; all limits of a request are taken, or none."""

    def __init__(self) -> None:
        self._arrivals: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, takes: tuple[Take, ...], cost: int) -> tuple[LimitState, ...]:
        """Return how each limit stands now; raises ``Rejected`` with ``RATE_LIMITED`` and takes nothing then."""
        now = time.monotonic_ns()
        states, arrivals, waits = [], {}, []
        with self._lock:
            for limit, _ in takes:
                tat = self._arrivals.get(limit.bucket, 0)
                admitted, tat, remaining, reset, retry = gcra(tat, now, limit.emission_ns, limit.burst, cost)
                arrivals[limit.bucket] = tat
                state = (limit.name, limit.limit, remaining, -(-reset // 1000), not admitted, -(-retry // 1000))
                states.append(LimitState(*state))
                if not admitted:
                    waits.append(-1 if retry < 0 else -(-retry // 1000))
            if not waits:
                if len(self._arrivals) + len(arrivals) > MAX_BUCKETS:
                    self._arrivals = {name: at for name, at in self._arrivals.items() if at > now}
                    if len(self._arrivals) + len(arrivals) > MAX_BUCKETS:
                        self._arrivals.clear()
                self._arrivals.update(arrivals)
        if waits:
            text = "A limit of this credential is used up for now."
            wait = None if -1 in waits else max(waits)
            raise Rejected(Code.RATE_LIMITED, text, retry_after=wait, limits=states)
        return tuple(states)
