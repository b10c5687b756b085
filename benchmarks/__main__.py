"""The command line: runs the benchmarks that are named, or all, and prints one table or JSON."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from . import (
    gateway,
    hostile,
    http,
    inprocess,
    leaks,
    proxies,
    revocation,
    revocation_gateway,
    revocation_guards,
    revocation_sdk,
    scale,
    sdk,
    sign_in,
    slow,
    start,
    sweep,
    timing,
    tokens,
    writes,
)
from .figures import Figure
from .report import as_json, as_table


class Benchmark(Protocol):
    """What measures: it starts what it needs and leaves nothing behind."""

    def __call__(self, *, quick: bool) -> Sequence[Figure]:
        """Return the rows of the table."""
        ...


BENCHMARKS: tuple[tuple[str, Benchmark], ...] = (
    ("http", http.measure),
    ("scale", scale.measure),
    ("inprocess", inprocess.measure),
    ("sdk", sdk.measure),
    ("writes", writes.measure),
    ("sweep", sweep.measure),
    ("start", start.measure),
    ("revocation", revocation.measure),
    ("revocation_guards", revocation_guards.measure),
    ("revocation_gateway", revocation_gateway.measure),
    ("revocation_sdk", revocation_sdk.measure),
    ("proxies", proxies.measure),
    ("gateway", gateway.measure),
    ("tokens", tokens.measure),
    ("timing", timing.measure),
    ("sign_in", sign_in.measure),
    ("hostile", hostile.measure),
    ("slow", slow.measure),
    ("leaks", leaks.measure),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status, which says nothing about goals: a missed goal is news, not a failure."""
    names = [name for name, _ in BENCHMARKS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(names)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(names):
        parser.error(f"there is no benchmark {min(unknown)!r}; there are {', '.join(names)}")
    render: Callable[[dict[str, Sequence[Figure]]], str] = as_json if given.json else as_table
    found: dict[str, Sequence[Figure]] = {}
    for name, measure in BENCHMARKS:
        if not given.names or name in given.names:
            started = time.monotonic()
            found[name] = measure(quick=given.quick)
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(render(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
