"""How long a revoked key is still accepted after the revoke was acknowledged: by other workers, and by other nodes.

For each connection, the time from the acknowledgement to the sending of the last request that was still accepted; zero
when even the first one was refused.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from time import perf_counter

import psutil

from . import authority
from .figures import Figure, Goal, Spread
from .wire import Line

WORKERS = 4
CONNECTIONS = 16
MAX_CONNECTIONS = 100
"""Connections are opened until each worker has one: which one accepts is up to the system."""
LANES = 8
PATIENCE = 5.0
SAME_NODE = Goal("refused at the next request", at_most=0.0)
OTHER_NODE = Goal("p99.9 ≤ 1 s", at_most=1.0)


def measure(*, quick: bool) -> Sequence[Figure]:
    """Revoke many keys that every worker has cached, one after another and several at once."""
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder:
        return [*_workers(Path(folder), quick), *_nodes(Path(folder), quick)]


# Workers of one machine


def _workers(scratch: Path, quick: bool) -> list[Figure]:
    data = scratch / "workers"
    arguments = authority.serve(data, "--workers", str(WORKERS))
    with authority.running(arguments, scratch / "workers.log", place=None) as server:
        late, covered = asyncio.run(_revoke_on_one_machine(server, _root_key(data), 20 if quick else 150))
    return [
        Figure(
            f"accepted after a revoke, {covered} of {WORKERS} workers on SQLite: worst",
            "ms",
            _worst(late),
            goal=SAME_NODE,
            note=f"{sum(delay > 0 for delay in late)} of {len(late)} connections heard one stale answer or more",
        )
    ]


async def _revoke_on_one_machine(server: authority.Running, root_key: str, rounds: int) -> tuple[list[float], int]:
    lines: list[Line] = []
    covered = 0
    while len(lines) < CONNECTIONS or (covered < WORKERS and len(lines) < MAX_CONNECTIONS):
        lines.append(await Line.to(server.host, server.port, root_key))
        await lines[-1].ask("/v1/verify", {"credential": root_key})
        covered = _workers_with_connections(server.pid)
    project = await _project(lines[0])
    late: list[float] = []
    for turn in range(rounds):
        key_id, credential = await _warm(lines[turn % len(lines)], project, lines)
        await lines[turn % len(lines)].ask(f"/v1/keys/{key_id}/revoke", {})
        acknowledged = perf_counter()
        late += await asyncio.gather(*(_last_acceptance(line, credential, acknowledged) for line in lines))
    for line in lines:
        await line.close()
    return late, covered


def _workers_with_connections(pid: int) -> int:
    children = psutil.Process(pid).children()
    return sum(any(one.status == "ESTABLISHED" for one in child.net_connections("tcp")) for child in children)


# Nodes that share a database


def _nodes(scratch: Path, quick: bool) -> list[Figure]:
    from tests.support.postgresql import PostgresqlServer, find_binaries

    binaries = find_binaries()
    if binaries is None:
        return []
    with ExitStack() as stack:
        database = PostgresqlServer.create(binaries)
        stack.callback(database.remove)
        one, other = scratch / "node-1", scratch / "node-2"
        shared = ("--database", database.url(), "--issuer", "http://127.0.0.1:1")
        first = stack.enter_context(authority.running(authority.serve(one, *shared), scratch / "1.log", place=None))
        # The keyring is all that nodes share besides the database: each has its own doorbell.
        other.mkdir(mode=0o700)
        shutil.copy2(one / "keyring.json", other / "keyring.json")
        second = stack.enter_context(authority.running(authority.serve(other, *shared), scratch / "2.log", place=None))
        same, elsewhere = asyncio.run(_revoke_on_two_nodes(first, second, _root_key(one), 5 if quick else 130))
    return [
        Figure(
            "accepted after a revoke, same node on PostgreSQL: worst",
            "ms",
            _worst(same),
            goal=SAME_NODE,
            note=f"{sum(delay > 0 for delay in same)} of {len(same)} heard a stale answer",
        ),
        Figure(
            "accepted after a revoke, other node: p99.9",
            "s",
            Spread(_percentile(elsewhere, 99.9), min(elsewhere), max(elsewhere)),
            goal=OTHER_NODE,
            note=f"{len(elsewhere)} revokes; p50 {_percentile(elsewhere, 50):.3f} s",
        ),
    ]


async def _revoke_on_two_nodes(
    first: authority.Running, second: authority.Running, root_key: str, rounds: int
) -> tuple[list[float], list[float]]:
    line = await Line.to(first.host, first.port, root_key)
    project = await _project(line)
    await line.close()
    same: list[float] = []
    elsewhere: list[float] = []

    async def lane() -> None:
        here = await Line.to(first.host, first.port, root_key)
        there = await Line.to(second.host, second.port, root_key)
        for _ in range(rounds):
            key_id, credential = await _warm(here, project, [here, there])
            await here.ask(f"/v1/keys/{key_id}/revoke", {})
            acknowledged = perf_counter()
            one, other = await asyncio.gather(
                _last_acceptance(here, credential, acknowledged), _last_acceptance(there, credential, acknowledged)
            )
            same.append(one)
            elsewhere.append(other)
        await here.close()
        await there.close()

    await asyncio.gather(*(lane() for _ in range(LANES)))
    return same, elsewhere


# What both do


def _root_key(data: Path) -> str:
    return (data / "root-key.txt").read_text().strip()


async def _project(line: Line) -> str:
    return str((await line.ask("/v1/projects", {"name": "Orders"}))["id"])


async def _warm(line: Line, project: str, lines: Sequence[Line]) -> tuple[str, str]:
    """Return id and credential of a new key that every line's worker has cached."""
    issued = await line.ask("/v1/keys", {"project_id": project, "name": "benchmark"})
    credential = str(issued["credential"])
    for _ in range(2):
        answers = await asyncio.gather(*(one.ask("/v1/verify", {"credential": credential}) for one in lines))
        if not all(answer["valid"] for answer in answers):
            raise RuntimeError("a new key is not accepted")
    return str(issued["key"]["id"]), credential


async def _last_acceptance(line: Line, credential: str, acknowledged: float) -> float:
    last = 0.0
    while (sent := perf_counter() - acknowledged) < PATIENCE:
        if not (await line.ask("/v1/verify", {"credential": credential}))["valid"]:
            return last
        last = sent
        await asyncio.sleep(0.002)
    raise RuntimeError(f"a revoked key is still accepted after {PATIENCE:g} s")


def _worst(delays: Sequence[float]) -> Spread:
    """Return the longest delay in milliseconds: a promise about the next request has no median."""
    return Spread(max(delays) * 1000, min(delays) * 1000, max(delays) * 1000)


def _percentile(values: Sequence[float], percent: float) -> float:
    return quantiles(values, n=1000, method="inclusive")[round(percent * 10) - 1]
