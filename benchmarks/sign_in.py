"""What a sign-in costs, and whether its time tells that an address has an account.

Whole sign-ins over SQLite, with the password hashed each time: one after the other, and many at once. Then pairs of
refusals in random order: a wrong password of somebody, and an address that nobody has.
Spec: SECURITY-BAR 18, 21; CWE-208.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, perf_counter_ns

from keybearer import foundation
from keybearer.clock import SystemClock
from keybearer.services import bootstrap, users
from keybearer.services.authority import SYSTEM, Authority
from keybearer.services.outbox import Outbox, delivery_for
from keybearer.services.passwords import Passwords
from keybearer.services.sign_in import Attempt, SignInRefused, Visit, with_password
from keybearer.settings import Settings
from keybearer.stores.cached import CachedRecords
from keybearer.wire.users import CreateUser

from .figures import Figure, Goal, Spread
from .timing import interval

EMAIL, PASSWORD = "ada@example.com", "quartz lantern overture 41"
AT_ONCE = 40
RATE = Goal("about 30 a second for each processor", at_least=30.0)
NOT_TOLD = Goal("95 % interval inside ±1 ms", at_most=1.0)
FORGIVE = 50
"""Refusals after which a sign-in starts the count of failures afresh."""


def measure(*, quick: bool) -> Sequence[Figure]:
    """Sign in, and be refused, in process."""
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder:
        return asyncio.run(_measure(Path(folder), 40 if quick else 300, 60 if quick else 600))


async def _measure(folder: Path, sign_ins: int, pairs: int) -> list[Figure]:
    settings = Settings(data=folder / "data")
    async with foundation.foundation(settings) as base:
        records = CachedRecords(base.store, base.immediate, doorbell=base.doorbell, lifetime=0.9)
        authority = replace(
            Authority(settings, base.store, records, base.keyring, SystemClock()),
            passwords=Passwords(settings.password_threads),
            outbox=Outbox(delivery_for(settings)),
            own_project_id=bootstrap.OWN_PROJECT_ID,
            own_api_id=bootstrap.OWN_API_ID,
        )
        await bootstrap.initialise(authority)
        await users.create(authority, SYSTEM, CreateUser(EMAIL, password=PASSWORD))
        alone = await _rate(authority, sign_ins, 1)
        crowded = await _rate(authority, sign_ins, AT_ONCE)
        differences = await _pairs(authority, pairs)
        authority.passwords.close()
    low, high = (bound / 1e6 for bound in interval(differences))
    return [
        Figure("sign-ins with a password, one after the other", "/s", Spread(alone, alone, alone)),
        Figure(
            f"the same, {AT_ONCE} at once",
            "/s",
            Spread(crowded, crowded, crowded),
            goal=RATE,
            note=f"{settings.password_threads} threads hash",
        ),
        Figure(
            "refusal of an unknown address against a wrong password: farthest end of the 95 % interval",
            "ms",
            Spread(max(abs(low), abs(high)), low, high),
            goal=NOT_TOLD,
            note=f"{pairs:,} pairs; in brackets the interval; the median differs by {median(differences) / 1e6:.2f} ms",
        ),
    ]


async def _rate(authority: Authority, count: int, at_once: int) -> float:
    waiting = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with waiting:
            await with_password(authority, Attempt(EMAIL, PASSWORD, Visit()))

    start = perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return count / (perf_counter() - start)


async def _pairs(authority: Authority, pairs: int) -> list[int]:
    """Return in nanoseconds how much longer an unknown address took, for each pair."""
    chance = random.Random(1)
    found = []
    for turn in range(pairs):
        if turn % FORGIVE == 0:
            await with_password(authority, Attempt(EMAIL, PASSWORD, Visit()))
        times: dict[bool, int] = {}
        for known in (True, False) if chance.random() < 0.5 else (False, True):
            email = EMAIL if known else f"nobody{turn % 20}@example.com"
            times[known] = await _timed(lambda email=email: with_password(authority, Attempt(email, "wrong", Visit())))
        if turn >= 20:  # by then every decoy that is tried has its row
            found.append(times[False] - times[True])
    return found


async def _timed(ask: Callable[[], Awaitable[object]]) -> int:
    start = perf_counter_ns()
    try:
        await ask()
    except SignInRefused:
        return perf_counter_ns() - start
    raise RuntimeError("a wrong password was accepted")
