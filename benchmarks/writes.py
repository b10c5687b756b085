"""Durable creation of keys on SQLite: 64 writers that share their commits, against one at a time."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from keybearer import app
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
    async with app.foundation(settings) as base:
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
            *await _compared("key creation", create, rounds, seconds, GOAL),
            *await _compared("a made key, event and audit entry", insert, rounds, seconds, None),
        ]


async def _compared(
    what: str, work: Callable[[], Awaitable[None]], rounds: int, seconds: float, goal: Goal | None
) -> list[Figure]:
    one: list[float] = []
    many: list[float] = []
    await _rate(work, WRITERS, 0.3)
    for _ in range(rounds):
        one.append(await _rate(work, 1, seconds))
        many.append(await _rate(work, WRITERS, seconds))
    baseline = f"{what}, one at a time"
    return [
        Figure(baseline, "/s", Spread.of(one)),
        Figure(f"{what}, {WRITERS} writers", "/s", Spread.of(many), baseline, ratios(many, one), goal),
    ]


async def _rate(work: Callable[[], Awaitable[None]], writers: int, seconds: float) -> float:
    done = 0
    started = perf_counter()
    end = started + seconds

    async def write() -> None:
        nonlocal done
        while perf_counter() < end:
            await work()
            done += 1

    await asyncio.gather(*(write() for _ in range(writers)))
    return done / (perf_counter() - started)


def _over_http(running: server.Running, stocked: Stock, rounds: int, seconds: float, scratch: Path) -> list[Figure]:
    question = Question(
        "POST",
        "/v1/keys",
        {"authorization": f"Bearer {stocked.root_key}", "content-type": "application/json"},
        json.dumps({"project_id": stocked.project_id, "name": "benchmark"}),
    )
    rates: dict[int, list[float]] = {1: [], WRITERS: []}
    for _ in range(rounds):
        for connections, values in rates.items():
            values.append(per_second(running.url, question, max(1, seconds), scratch, connections=connections))
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
    ]
