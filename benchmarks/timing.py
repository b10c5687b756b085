"""What the time of a refusal tells: a secret wrong in its first character against one that is wrong in its last.

The two are measured one after the other in random order, and the differences averaged without the tenth at either end.
A control that takes 5 µs longer shows that such a difference would be seen.
Spec: SECURITY-BAR, "timing of verify"; CWE-208.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter_ns

from keybearer import foundation
from keybearer.clock import SystemClock
from keybearer.core.credential import CHECKSUM_LENGTH, SECRET_LENGTH, checksum
from keybearer.core.errors import Code, Rejected
from keybearer.core.requirement import ANYTHING
from keybearer.limiters.failures import FailureThrottle
from keybearer.limiters.memory import MemoryLimiter
from keybearer.services.usage_recorder import UsageRecorder
from keybearer.settings import Settings
from keybearer.stores.cached import CachedRecords
from keybearer.verify import Engines, Verifier

from .figures import Figure, Goal, Spread
from .stock import stock

CONTROL_NS = 5_000
INSIDE = Goal("95 % interval inside ±250 ns", at_most=250.0)
SEEN = Goal("95 % interval above 2,500 ns", at_least=2_500.0)
CUT = 0.1
SIGMAS = 1.96


def measure(*, quick: bool) -> Sequence[Figure]:
    """Time pairs of refusals in process."""
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder:
        return asyncio.run(_measure(Path(folder) / "data", 2_000 if quick else 40_000))


async def _measure(data: Path, pairs: int) -> list[Figure]:
    stocked = await asyncio.to_thread(stock, data, 1000)
    good = stocked.first(1)[0]
    async with foundation.foundation(Settings(data=data)) as base:
        records = CachedRecords(base.store, base.immediate, doorbell=base.doorbell, lifetime=0.9)
        await records.refresh()
        clock = SystemClock()
        limiter = MemoryLimiter()
        recorder, throttle = UsageRecorder(base.store, clock), FailureThrottle(0)
        verifier = Verifier(Engines(records, base.store, base.keyring, limiter, limiter, clock, recorder, throttle))
        body = good[:-CHECKSUM_LENGTH]
        first = _sealed(_changed(body, len(body) - SECRET_LENGTH))
        last = _sealed(_changed(body, len(body) - 1))

        def refused(text: str) -> Callable[[], None]:
            def ask() -> None:
                try:
                    verifier.verify_now(text, ANYTHING)
                except Rejected as rejection:
                    if rejection.code is not Code.NOT_FOUND:
                        raise
                else:
                    raise RuntimeError("a wrong secret was accepted")

            return ask

        def late() -> None:
            refused_last()
            until = perf_counter_ns() + CONTROL_NS
            while perf_counter_ns() < until:
                pass

        refused_last = refused(last)
        answer = await asyncio.to_thread(_differences, refused(first), refused_last, pairs)
        await records.refresh()
        control = await asyncio.to_thread(_differences, refused(first), late, pairs // 4)
    low, high = interval(answer)
    control_low, control_high = interval(control)
    return [
        Figure(
            "refusal, wrong in the last against the first character: farthest end of the 95 % interval",
            "ns",
            Spread(max(abs(low), abs(high)), low, high),
            goal=INSIDE,
            note=f"{pairs:,} pairs; in brackets the interval",
        ),
        Figure(
            "the same with 5 µs more: nearest end of the 95 % interval",
            "ns",
            Spread(min(abs(control_low), abs(control_high)), control_low, control_high),
            goal=SEEN,
            note="the control: such a difference would be seen",
        ),
    ]


def _changed(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def _sealed(body: str) -> str:
    return body + checksum(body)


def _differences(one: Callable[[], None], other: Callable[[], None], pairs: int) -> list[int]:
    """Return ``other - one`` in nanoseconds for each pair."""
    found = []
    chance = random.Random(1)
    for turn in range(pairs + 200):
        times = {}
        for work in (one, other) if chance.random() < 0.5 else (other, one):
            start = perf_counter_ns()
            work()
            times[work] = perf_counter_ns() - start
        if turn >= 200:  # the first ones warm up
            found.append(times[other] - times[one])
    return found


def interval(differences: Sequence[int]) -> tuple[float, float]:
    """Return the 95 % interval of the trimmed mean (Yuen): what interrupted a pair says nothing about it."""
    ordered = sorted(differences)
    cut = int(len(ordered) * CUT)
    kept = ordered[cut : len(ordered) - cut]
    winsorised = [kept[0]] * cut + kept + [kept[-1]] * cut
    error = stdev(winsorised) / ((1 - 2 * CUT) * len(ordered) ** 0.5)
    middle = fmean(kept)
    return middle - SIGMAS * error, middle + SIGMAS * error
