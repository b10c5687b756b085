"""Durable creation of keys on SQLite: 64 writers that share their commits, against one at a time."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

from keybearer import foundation
from keybearer.clock import SystemClock
from keybearer.core.records import KEY_ID, ApiKey
from keybearer.ports import UnitOfWork
from keybearer.services import keys
from keybearer.services.authority import SYSTEM, Authority, Deed
from keybearer.services.bootstrap import OWN_API_ID, OWN_PROJECT_ID
from keybearer.settings import Settings
from keybearer.stores.cached import CachedRecords
from keybearer.wire.keys import CreateKey

from . import authority as server
from .figures import Figure, Goal, Spread, ratios
from .load import Question, per_second
from .stock import Stock, stock

WRITERS = 64
GOAL = Goal("≥ 10x one at a time", at_least=10.0, of_ratio=True)


def measure(*, quick: bool) -> Sequence[Figure]:
    """Write in short alternating rounds: through the use case, through the bare store, and over HTTP."""
    rounds, seconds = (2, 0.5) if quick else (7, 2.0)
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder:
        scratch = Path(folder)
        stocked = stock(scratch / "data", 10)
        inside = asyncio.run(_inside(stocked, rounds, seconds))
        with server.running(server.serve(stocked.data), scratch / "serve.log") as running:
            over_http = _over_http(running, stocked, rounds, seconds, scratch)
    return [*inside, *over_http]


async def _inside(stocked: Stock, rounds: int, seconds: float) -> list[Figure]:
    settings = Settings(data=stocked.data)
    async with foundation.foundation(settings) as base:
        records = CachedRecords(base.store, base.immediate, doorbell=base.doorbell)
        await records.refresh()
        authority = Authority(settings, base.store, records, base.keyring, SystemClock(), OWN_PROJECT_ID, OWN_API_ID)
        body = CreateKey(project_id=stocked.project_id, name="benchmark")
        number = itertools.count()

        async def create() -> None:
            await keys.create(authority, SYSTEM, body)

        model = await base.store.get(ApiKey, KEY_ID + stocked.first(1)[0].split("_")[-2])

        async def insert() -> None:
            key = replace(model, id=f"{KEY_ID}{next(number):016d}")

            async def work(uow: UnitOfWork) -> None:
                await uow.insert(key)
                Deed(uow, SYSTEM, key.created_at).note("key.create", key.id, project_id=key.project_id)

            await base.store.transact(work)

        return [
            *await _compared("key creation", create, rounds, seconds, GOAL, stocked.data),
            *await _compared("a made key, event and audit entry", insert, rounds, seconds),
        ]


async def _compared(
    what: str,
    work: Callable[[], Awaitable[None]],
    rounds: int,
    seconds: float,
    goal: Goal | None = None,
    beside: Path | None = None,
) -> list[Figure]:
    """Measure a work in alternating rounds; with ``beside``, also what the disk that holds this folder can do."""
    disk: list[float] = []
    one: list[Rate] = []
    many: list[Rate] = []
    await _rate(work, WRITERS, 0.3)
    for _ in range(rounds):
        if beside is not None:
            disk.append(await asyncio.to_thread(_syncs_per_second, beside, seconds))
        one.append(await _rate(work, 1, seconds))
        many.append(await _rate(work, WRITERS, seconds))
    singly, together = [rate.per_second for rate in one], [rate.per_second for rate in many]
    baseline = f"{what}, one at a time"
    figures = [
        Figure(baseline, "/s", Spread.of(singly)),
        Figure(f"{what}, {WRITERS} writers", "/s", Spread.of(together), baseline, ratios(together, singly), goal),
        Figure(f"{what}, {WRITERS} writers, processor time of each", "µs", Spread.of([rate.cost for rate in many])),
    ]
    if disk:
        name = "a page written and synced, the disk alone"
        figures[0] = replace(figures[0], baseline=name, ratio=ratios(singly, disk))
        figures.insert(0, Figure(name, "/s", Spread.of(disk)))
    return figures


def _syncs_per_second(folder: Path, seconds: float) -> float:
    """Return how often a second a page can be written over and made durable: no commit alone is faster than that."""
    page, pages, done = os.urandom(4096), 512, 0
    with tempfile.TemporaryFile(dir=folder) as file:
        number = file.fileno()
        os.pwrite(number, page * pages, 0)
        os.fsync(number)
        started = perf_counter()
        while perf_counter() < started + seconds:
            os.pwrite(number, page, done % pages * len(page))
            os.fdatasync(number)
            done += 1
        return done / (perf_counter() - started)


class Rate(NamedTuple):
    """How many a second were done, and the processor time of each in microseconds, over all threads."""

    per_second: float
    cost: float


async def _rate(work: Callable[[], Awaitable[None]], writers: int, seconds: float) -> Rate:
    done = 0
    started, used = perf_counter(), process_time()
    end = started + seconds

    async def write() -> None:
        nonlocal done
        while perf_counter() < end:
            await work()
            done += 1

    await asyncio.gather(*(write() for _ in range(writers)))
    return Rate(done / (perf_counter() - started), (process_time() - used) / done * 1e6)


def _over_http(running: server.Running, stocked: Stock, rounds: int, seconds: float, scratch: Path) -> list[Figure]:
    question = Question(
        "POST",
        "/v1/keys",
        {"authorization": f"Bearer {stocked.root_key}", "content-type": "application/json"},
        json.dumps({"project_id": stocked.project_id, "name": "benchmark"}),
    )
    rates: dict[int, list[float]] = {1: [], WRITERS: []}
    costs: dict[int, list[float]] = {1: [], WRITERS: []}
    seconds = max(1, seconds)
    for _ in range(rounds):
        for connections, values in rates.items():
            used = running.processor_seconds()
            values.append(per_second(running.url, question, seconds, scratch, connections=connections))
            done = values[-1] * seconds
            costs[connections].append((running.processor_seconds() - used) / done * 1e6)
    baseline = "POST /v1/keys, 1 connection"
    return [
        Figure(baseline, "/s", Spread.of(rates[1])),
        Figure(
            f"POST /v1/keys, {WRITERS} connections",
            "/s",
            Spread.of(rates[WRITERS]),
            baseline,
            ratios(rates[WRITERS], rates[1]),
        ),
        Figure(f"POST /v1/keys, {WRITERS} connections, processor time of each", "µs", Spread.of(costs[WRITERS])),
    ]
