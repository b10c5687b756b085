"""How soon a server is ready, and what it holds in memory while idle."""

from __future__ import annotations

import compileall
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from . import authority
from .figures import Figure, Goal, Spread, ratios

BARE = "python -c pass"
READY_GOAL = Goal("< 1 s", at_most=1.0)
MEMORY_GOAL = Goal("< 80 MB", at_most=80.0)
IDLE_SECONDS = 3.0


def measure(*, quick: bool) -> Sequence[Figure]:
    """Start one worker on empty and on existing data directories, with a bare interpreter between them."""
    found = find_spec("keybearer")
    for folder in found.submodule_search_locations or () if found is not None else ():
        compileall.compile_dir(folder, quiet=2)
    bare: list[float] = []
    empty: list[float] = []
    existing: list[float] = []
    memory: list[float] = []
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as name:
        scratch = Path(name)
        log = scratch / "serve.log"
        for round_number in range(2 if quick else 7):
            data = scratch / f"data-{round_number}"
            bare.append(_bare())
            for seconds in (empty, existing):
                with authority.running(authority.serve(data), log, place=None) as server:
                    seconds.append(server.seconds)
                    if seconds is existing:
                        time.sleep(IDLE_SECONDS)
                        memory.append(server.resident_megabytes())
    return [
        Figure(BARE, "s", Spread.of(bare)),
        Figure("ready, empty data directory", "s", Spread.of(empty), BARE, ratios(empty, bare), READY_GOAL),
        Figure("ready, existing data directory", "s", Spread.of(existing), BARE, ratios(existing, bare), READY_GOAL),
        Figure(f"resident after {IDLE_SECONDS:g} s idle", "MB", Spread.of(memory), goal=MEMORY_GOAL),
    ]


def _bare() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - started
