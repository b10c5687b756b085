"""The sweep of expired access tokens on SQLite, and how long it makes others wait: a hot read, and a small write."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from time import perf_counter

from keybearer.clock import SystemClock
from keybearer.core import base62
from keybearer.core.credential import ID_LENGTH, ID_TIME_WIDTH, first_id_at, new_id
from keybearer.core.instant import DAY, HOUR, Instant
from keybearer.core.tokens import TOKEN_ID, AccessToken
from keybearer.ports import UnitOfWork
from keybearer.services.sweeper import sweep_store
from keybearer.stores.sqlite import SqliteStore
from keybearer.stores.token_rows import token_values
from keybearer.stores.tokens import ADD_TOKEN

from .figures import Figure, Goal, Spread, ratios
from .stock import ROWS_AT_ONCE

EVERY_S = 0.002
"""How often a read and a write are tried meanwhile."""
FAST = Goal("< 5 s", at_most=5.0)
SOON = Goal("< 50 ms", at_most=50.0)


def measure(*, quick: bool) -> Sequence[Figure]:
    """Fill a database with expired tokens, sweep it, and time reads and writes during that and during nothing."""
    rounds, count = (2, 100_000) if quick else (3, 1_000_000)
    took: list[float] = []
    quiet: list[tuple[float, float]] = []
    swept: list[tuple[float, float]] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder:
            asyncio.run(_round(Path(folder) / "keybearer.db", count, took, quiet, swept))
    return [
        Figure(f"{count:,} expired tokens removed", "s", Spread.of(took), goal=FAST),
        *_compared("hot read", [one for one, _ in quiet], [one for one, _ in swept]),
        *_compared("small write", [one for _, one in quiet], [one for _, one in swept]),
    ]


def _compared(what: str, quiet: list[float], swept: list[float]) -> Iterator[Figure]:
    baseline = f"longest {what}, without"
    yield Figure(baseline, "ms", Spread.of(quiet))
    yield Figure(f"longest {what} meanwhile", "ms", Spread.of(swept), baseline, ratios(swept, quiet), SOON)


async def _round(
    path: Path, count: int, took: list[float], quiet: list[tuple[float, float]], swept: list[tuple[float, float]]
) -> None:
    clock = SystemClock()
    store = SqliteStore(path, bytes(32))
    await store.open()
    await store.close()
    await asyncio.to_thread(_fill, path, clock.now(), count)
    await store.open()
    try:
        started = perf_counter()
        swept.append(await _waits(store, clock, lambda: sweep_store(store, clock)))
        took.append(perf_counter() - started)
        # The same for as long again, after the log was copied: the baseline is the disk's and the machine's own.
        quiet.append(await _waits(store, clock, lambda: asyncio.sleep(took[-1])))
        with sqlite3.connect(path) as connection:
            left = connection.execute("SELECT COUNT(*) FROM access_tokens WHERE client_id = 'old'").fetchone()[0]
        connection.close()
        if left:
            raise RuntimeError(f"{left} expired tokens were left")
    finally:
        await store.close()


async def _waits(store: SqliteStore, clock: SystemClock, during: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Return the longest time in ms that a read and a write took, from when they were due, while something runs."""
    reads: list[float] = []
    writes: list[float] = []
    over = False

    async def read() -> None:
        due = perf_counter()
        while not over:
            due = max(due + EVERY_S, perf_counter())
            await asyncio.sleep(due - perf_counter())
            store.find_token_now("at_unknown")
            reads.append(perf_counter() - due)

    async def write() -> None:
        number = 0
        while not over:
            number += 1
            revoked = f"{TOKEN_ID}{number:016}"
            due = perf_counter()

            async def work(unit: UnitOfWork, revoked: str = revoked) -> None:
                await unit.revoke_token(revoked, Instant(clock.now() + DAY))
                unit.emit("token.revoke", revoked)

            await store.transact(work)
            writes.append(perf_counter() - due)
            await asyncio.sleep(EVERY_S)

    others = [asyncio.create_task(read()), asyncio.create_task(write())]
    await during()
    over = True
    await asyncio.gather(*others)
    return max(reads) * 1000, max(writes) * 1000


def _fill(path: Path, now: Instant, count: int) -> None:
    """Write tokens that expired at a steady rate until an hour and a minute ago, and some that have not."""
    first = now - HOUR - 60_000_000 - count * 1000
    tokens = (_token(Instant(first + n * 1000), "old") for n in range(count))
    living = (_token(Instant(now + HOUR + n * 1000), "living") for n in range(1000))
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for made in (living, tokens):
            while batch := list(islice(made, ROWS_AT_ONCE)):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(ADD_TOKEN, [token_values(token) for token in batch])
                connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    with open(path, "rb") as file:
        os.fsync(file.fileno())  # or the first checkpoint of the sweep would wait for all of this to reach the disk


def _token(expires_at: Instant, client_id: str) -> AccessToken:
    noise = "".join(random.choices(base62.ALPHABET, k=ID_LENGTH - ID_TIME_WIDTH))
    return replace(
        _MODEL,
        id=TOKEN_ID + first_id_at(expires_at) + noise,
        client_id=client_id,
        issued_at=Instant(expires_at - HOUR),
        expires_at=expires_at,
        digest=random.randbytes(32),
    )


_SOMETHING = new_id(Instant(1_700_000_000_000_000))
_MODEL = AccessToken(
    id="",
    client_id="",
    project_id=f"proj_{_SOMETHING}",
    issued_at=Instant(0),
    expires_at=Instant(0),
    subject=f"user_{_SOMETHING}",
    scopes=("openid", "orders:read"),
    api_id=f"api_{_SOMETHING}",
    user_id=f"user_{_SOMETHING}",
    grant_id=f"grant_{_SOMETHING}",
    session_id=f"sess_{_SOMETHING}",
    family_id=f"rt_{_SOMETHING}",
    pepper_id="p1",
)
