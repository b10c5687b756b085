"""Rate limits of one process: a dictionary of theoretical arrival times on the monotonic clock.

Nothing here waits, so on one event loop every take is atomic by construction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from ..core.quota import GcraResult, LimitState, gcra
from ..core.records import Take
from ..ports import Taken

SWEEP_EVERY: Final = 65_536
_new: Final = tuple.__new__
"""Makes named tuples without the function that names their fields, which would be half the price."""


def state_of(take: Take, result: GcraResult) -> LimitState:
    """Return how a limit stands, in microseconds, rounded up so that a client that waits is admitted."""
    limit = take[0]
    admitted, _, remaining, reset_in, retry_in = result
    if admitted:
        return LimitState(limit.name, limit.limit, remaining, -(-reset_in // 1000), False)
    wait = -(-retry_in // 1000) if retry_in > 0 else retry_in
    return LimitState(limit.name, limit.limit, remaining, -(-reset_in // 1000), True, wait)


def refused(takes: Sequence[Take], results: Sequence[GcraResult]) -> Taken:
    """Return the refusal: the longest wait counts; a cost above the burst can never be admitted (-1)."""
    states = tuple(map(state_of, takes, results))
    waits = [state.retry_in for state in states if state.exceeded]
    return Taken(False, states, -1 if -1 in waits else max(waits))


class MemoryLimiter:
    """Implements ``ports.ImmediateLimiter`` for one process. Entries that have run out are swept now and then."""

    name = "memory"

    def __init__(self, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._arrivals: dict[str, int] = {}
        self._sweep_at = SWEEP_EVERY

    def __len__(self) -> int:
        return len(self._arrivals)

    def take_now(self, takes: Sequence[Take]) -> Taken:
        """Take all or nothing."""
        now = self._monotonic_ns()
        arrivals = self._arrivals
        if len(takes) == 1:
            # The usual case, without the lists.
            limit, cost = takes[0]
            bucket = limit.bucket
            admitted, tat, remaining, reset_in, _ = gcra(
                arrivals.get(bucket, 0), now, limit.emission_ns, limit.burst, cost
            )
            if not admitted:
                return self._refusal(takes, now)
            arrivals[bucket] = tat
            if len(arrivals) >= self._sweep_at:
                self._sweep(now)
            state = _new(LimitState, (limit.name, limit.limit, remaining, -(-reset_in // 1000), False, 0))
            return _new(Taken, (True, (state,), 0))
        after = []
        states = []
        for limit, cost in takes:
            admitted, tat, remaining, reset_in, _ = gcra(
                arrivals.get(limit.bucket, 0), now, limit.emission_ns, limit.burst, cost
            )
            if not admitted:
                return self._refusal(takes, now)
            after.append((limit.bucket, tat))
            states.append(LimitState(limit.name, limit.limit, remaining, -(-reset_in // 1000), False))
        arrivals.update(after)
        if len(arrivals) >= self._sweep_at:
            self._sweep(now)
        return Taken(True, tuple(states))

    def _refusal(self, takes: Sequence[Take], now: int) -> Taken:
        arrivals = self._arrivals
        return refused(
            takes,
            [gcra(arrivals.get(limit.bucket, 0), now, limit.emission_ns, limit.burst, cost) for limit, cost in takes],
        )

    def give_back_now(self, takes: Sequence[Take]) -> None:
        """Undo an admitted take."""
        for take in takes:
            arrival = self._arrivals.get(take.limit.bucket)
            if arrival is not None:
                self._arrivals[take.limit.bucket] = arrival - take.cost * take.limit.emission_ns

    async def take(self, takes: Sequence[Take]) -> Taken:
        """Take all or nothing."""
        return self.take_now(takes)

    async def give_back(self, takes: Sequence[Take]) -> None:
        """Undo an admitted take."""
        self.give_back_now(takes)

    def _sweep(self, now: int) -> None:
        # An arrival time that has passed says the same as no entry.
        self._arrivals = {bucket: tat for bucket, tat in self._arrivals.items() if tat > now}
        self._sweep_at = max(SWEEP_EVERY, 2 * len(self._arrivals))
