"""How honest requests fare while 2,000 connections send a byte a second each.

Spec: SECURITY-BAR, "2,000 slow connections".
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import quantiles

from . import authority
from .figures import Figure, Goal, Spread, ratios
from .wire import Line

SLOW = 2_000
GOAL = Goal("p99 at most twice the baseline", at_most=2.0, of_ratio=True)
BEGINNINGS = (
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ",
    b"POST /v1/verify HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n{",
)


def measure(*, quick: bool) -> Sequence[Figure]:
    """Ask without and with the slow ones, in alternating rounds."""
    rounds, asked = (2, 500) if quick else (7, 4000)
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder:
        data = Path(folder) / "data"
        with authority.running(authority.serve(data), Path(folder) / "log") as server:
            root = (data / "root-key.txt").read_text().strip()
            alone, besieged = [], []
            for _ in range(rounds):
                alone.append(asyncio.run(_p99(server, root, asked)))
                besieged.append(_besieged(server, root, asked))
    return [
        Figure("verify over one connection, nobody else: p99", "ms", Spread.of(alone)),
        Figure(
            f"the same beside {SLOW:,} slow connections: p99",
            "ms",
            Spread.of(besieged),
            "nobody else",
            ratios(besieged, alone),
            GOAL,
        ),
    ]


async def _p99(server: authority.Running, root: str, asked: int) -> float:
    line = await Line.to(server.host, server.port, root)
    times = []
    for _ in range(asked):
        start = time.perf_counter()
        await line.ask("/v1/verify", {"credential": root})
        times.append((time.perf_counter() - start) * 1000)
    await line.close()
    return quantiles(times, n=100)[98]


def _besieged(server: authority.Running, root: str, asked: int) -> float:
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    siege = context.Process(target=_hold, args=(server.host, server.port, ready, stop))
    siege.start()
    try:
        if not ready.wait(60):
            raise RuntimeError("the slow connections were not accepted")
        return asyncio.run(_p99(server, root, asked))
    finally:
        stop.set()
        siege.join(30)


def _hold(host: str, port: int, ready: Event, stop: Event) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < SLOW + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, SLOW + 100), hard))
    asyncio.run(_drip(host, port, ready, stop))


async def _drip(host: str, port: int, ready: Event, stop: Event) -> None:
    writers = []
    for number in range(SLOW):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(BEGINNINGS[number % len(BEGINNINGS)])
        writers.append(writer)
    ready.set()
    while not stop.is_set():
        for some in range(0, SLOW, 20):
            for writer in writers[some : some + 20]:
                with contextlib.suppress(OSError):
                    writer.write(b"x")
            await asyncio.sleep(0.01)
    for writer in writers:
        writer.close()
