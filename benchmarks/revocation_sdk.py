"""How long a guard inside an application still accepts a revoked key after the revoke was acknowledged.

Several processes, each with a guard of its own, ask for the key all the time; each says when it last let it in. The
clock is the machine's monotonic one, the same for all. Some revokes are made while the network between stands still.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles
from typing import Final

from keybearer import app
from keybearer.client import Keybearer
from keybearer.guards import Guard, Rejected, Unreachable
from keybearer.settings import Settings

from . import authority
from .figures import Figure, Goal, Spread

GUARDS: Final = 4
PATIENCE: Final = 3.0
API: Final = "https://api.example.com"
GOAL = Goal("p99.9 ≤ 1 s", at_most=1.0)
BINS: Final = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 0.7, 0.9, 1.0)


def measure(*, quick: bool) -> Sequence[Figure]:
    """Revoke many keys that every guard has in its memory; then some while nothing comes through."""
    from tests.support.tampering import tampering

    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        root_key = str(app.init(Settings(data=scratch / "data"), "benchmark@example.com", None)["root_key"])
        arguments = authority.serve(scratch / "data")
        server = stack.enter_context(authority.running(arguments, scratch / "serve.log", place=None))
        keybearer = stack.enter_context(Keybearer(server.url, root_key))
        api = keybearer.apis.create(identifier=API, name="Orders")
        project = keybearer.projects.create(name="Shop", enabled_apis=[api.id])
        proxy = stack.enter_context(tampering(server.port))
        guards = [stack.enter_context(_process(proxy.url, root_key)) for _ in range(GUARDS)]

        def round_of(*, stalled: bool) -> list[float]:
            issued = keybearer.keys.create(project_id=project.id, name="benchmark")
            for guard in guards:
                guard.send(issued.credential.reveal())
            for guard in guards:
                guard.recv()  # it was let in, from memory
            proxy.stalled = stalled
            keybearer.keys.revoke(issued.key.id)
            acknowledged = time.monotonic()
            found = [max(0.0, guard.recv() - acknowledged) for guard in guards]
            proxy.stalled = False
            for guard in guards:
                guard.send("fresh")
                guard.recv()
            return found

        usual = [late for _ in range(10 if quick else 500) for late in round_of(stalled=False)]
        stalled = [late for _ in range(3 if quick else 25) for late in round_of(stalled=True)]
    return [_figure("guards in other processes", usual), _figure("the same, while the network stands still", stalled)]


def _figure(what: str, late: Sequence[float]) -> Figure:
    worst = quantiles(late, n=1000, method="inclusive")[998]
    counts = [sum(low <= one < high for one in late) for low, high in zip(BINS, (*BINS[1:], 99.0), strict=True)]
    histogram = ", ".join(f"{low:g} s: {count}" for low, count in zip(BINS, counts, strict=True) if count)
    middle = quantiles(late, n=2)[0]
    return Figure(
        f"accepted after a revoke, {what}: p99.9",
        "s",
        Spread(worst, min(late), max(late)),
        goal=GOAL,
        note=f"{len(late)} times; p50 {middle:.3f} s; from {histogram}",
    )


@contextmanager
def _process(url: str, key: str) -> Iterator[Connection]:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_watch, args=(url, key, theirs), daemon=True)
    process.start()
    try:
        ours.recv()
        yield ours
    finally:
        ours.send(None)
        process.join(5)
        if process.is_alive():
            process.kill()


def _watch(url: str, key: str, line: Connection) -> None:
    """Ask for each credential that comes, until it is refused for good; say when it was let in last."""
    with Guard(url, key=key, api=API, timeout=0.5) as guard:
        guard.start()
        _until_fresh(guard)
        line.send("ready")
        while (credential := line.recv()) is not None:
            if credential == "fresh":
                _until_fresh(guard)
                line.send("fresh")
                continue
            while dict(guard.metrics)["local"] == 0 or not _lets_in(guard, credential):
                _lets_in(guard, credential)
            line.send("let in")
            line.send(_last_time(guard, credential))


def _until_fresh(guard: Guard) -> None:
    while not guard.is_fresh:
        time.sleep(0.005)


def _lets_in(guard: Guard, credential: str) -> bool:
    try:
        guard.verify(credential)
    except (Rejected, Unreachable):
        return False
    return True


def _last_time(guard: Guard, credential: str) -> float:
    last = began = time.monotonic()
    refusals = 0
    while time.monotonic() < began + PATIENCE and refusals < 3:
        asked = time.monotonic()
        if _lets_in(guard, credential):
            last, refusals = asked, 0
        else:
            refusals += 1
        time.sleep(0.001)
    return last
