"""Verify in process: a cached key with one rate limit, and what each of its steps costs."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import token_bytes

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from keybearer import formats, foundation
from keybearer.budget import budget_of
from keybearer.clock import SystemClock
from keybearer.core.decide import decide, match
from keybearer.core.requirement import ANYTHING
from keybearer.formats import UnverifiedKey
from keybearer.limiters import SharedMemoryLimiter
from keybearer.limiters.failures import FailureThrottle
from keybearer.limiters.memory import MemoryLimiter
from keybearer.services.usage_recorder import UsageRecorder
from keybearer.settings import Settings
from keybearer.stores.cached import CachedRecords
from keybearer.verify import Engines, Verifier

from .figures import Figure, Goal, Spread, microseconds_each, ratios
from .stock import stock

GOAL = Goal("median < 8 µs", at_most=8.0)
HMAC_LINE = "one HMAC-SHA-256 (keyed copy)"


def measure(*, quick: bool) -> Sequence[Figure]:
    """Time verify, its steps and two baselines in alternating short repeats."""
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder:
        return asyncio.run(_measure(Path(folder) / "data", 10 if quick else 60, 500 if quick else 1000))


async def _measure(data: Path, rounds: int, loops: int) -> list[Figure]:
    stocked = await asyncio.to_thread(stock, data, 1000)
    text = stocked.first(1)[0]
    async with foundation.foundation(Settings(data=data)) as base:
        records = CachedRecords(base.store, base.immediate, doorbell=base.doorbell, lifetime=0.9)
        await records.refresh()
        clock = SystemClock()
        recorder = UsageRecorder(base.store, clock)

        def verifier(limiter: MemoryLimiter | SharedMemoryLimiter) -> Verifier:
            throttle = FailureThrottle(120)
            return Verifier(Engines(records, base.store, base.keyring, limiter, limiter, clock, recorder, throttle))

        limiter, shared = MemoryLimiter(), SharedMemoryLimiter(directory=data)
        own, common = verifier(limiter), verifier(shared)
        unverified = formats.parse(text)
        if type(unverified) is not UnverifiedKey:
            raise RuntimeError("the key is not one of Keybearer's own")
        key_id = unverified.key_id
        record = records.find_now(key_id)
        if record is None:
            raise RuntimeError("the key is not in the store")
        digest = base.keyring.digest
        version = match(record.key.versions, text, digest)
        principal = decide(record, version, ANYTHING, clock.now())
        takes = budget_of(record, ANYTHING, records).takes
        now = clock.now()
        if len(own.verify_now(text, ANYTHING).limits) != 1:
            raise RuntimeError("verify did not take the one rate limit")
        keyed, data_bytes = HMAC(token_bytes(32), SHA256()), text.encode()
        table = {hashlib.sha256(token_bytes(8)).digest(): n for n in range(100_000)}

        def one_hmac() -> None:
            copy = keyed.copy()
            copy.update(data_bytes)
            copy.finalize()

        subjects: dict[str, Callable[[], object]] = {
            HMAC_LINE: one_hmac,
            "SHA-256 and a dict of 100,000": lambda: table.get(hashlib.sha256(text.encode()).digest()),
            "verify_now, cached, one limit": lambda: own.verify_now(text, ANYTHING),
            "verify_now, limit shared by workers": lambda: common.verify_now(text, ANYTHING),
            "step: clock": clock.now,
            "step: parse": lambda: formats.parse(text),
            "step: find": lambda: records.find_now(key_id),
            "step: match": lambda: match(record.key.versions, text, digest),
            "step: decide": lambda: decide(record, version, ANYTHING, now),
            "step: budget": lambda: budget_of(record, ANYTHING, records),
            "step: take": lambda: limiter.take_now(takes),
            "step: take, shared by workers": lambda: shared.take_now(takes),
            "step: observe": lambda: recorder.verified(principal, ANYTHING, now),
        }
        times: dict[str, list[float]] = {name: [] for name in subjects}
        for _ in range(rounds):
            for name, subject in subjects.items():
                times[name] += microseconds_each(subject, repeats=1, loops=loops)
            await records.refresh()  # what the follower of a server does
        shared.close()
    return [
        Figure(
            name,
            "µs",
            Spread.of(values),
            "" if name == HMAC_LINE else HMAC_LINE,
            None if name == HMAC_LINE else ratios(values, times[HMAC_LINE]),
            GOAL if name.startswith("verify_now, cached") else None,
        )
        for name, values in times.items()
    ]
