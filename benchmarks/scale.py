"""Verify with a million keys stored, against a thousand: the same thousand keys in use, and all of them at random."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from . import authority
from .figures import Figure, Goal, Spread, ratios
from .http import any_of, check
from .load import Question, per_core_second
from .stock import Stock, stock

FEW = 1000
MANY = 1_000_000
MANY_WHEN_QUICK = 50_000
GOAL = Goal("at most 1.2x slower", at_least=1 / 1.2, of_ratio=True)


def measure(*, quick: bool) -> Sequence[Figure]:
    """Ask two servers in short alternating rounds."""
    many = MANY_WHEN_QUICK if quick else MANY
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        small, large = stock(scratch / "few", FEW), stock(scratch / "many", many)
        few = stack.enter_context(authority.running(authority.serve(small.data), scratch / "few.log"))
        full = stack.enter_context(authority.running(authority.serve(large.data), scratch / "many.log"))
        check(few, small)
        check(full, large)
        subjects = {
            f"verify, {FEW:,} keys stored": (few, _hot(small)),
            f"verify, {many:,} stored, {FEW:,} of them in use": (full, _hot(large)),
            f"verify, {many:,} stored, all in use at random": (full, any_of(large, large.credentials, many)),
        }
        rates: dict[str, list[float]] = {name: [] for name in subjects}
        for server, question in subjects.values():
            per_core_second(server, question, 2, scratch)
        for _ in range(2 if quick else 7):
            for name, (server, question) in subjects.items():
                rates[name].append(per_core_second(server, question, 1 if quick else 2, scratch))
        memory = full.resident_megabytes()
    baseline, hot, _ = rates
    figures = [
        Figure(
            name,
            "/s of processor time",
            Spread.of(values),
            "" if name == baseline else baseline,
            None if name == baseline else ratios(values, rates[baseline]),
            GOAL if name == hot else None,
        )
        for name, values in rates.items()
    ]
    return [*figures, Figure(f"resident memory after that, {many:,} stored", "MB", Spread.of([memory]))]


def _hot(stocked: Stock) -> Question:
    chosen = stocked.data / "chosen.txt"
    chosen.write_text("".join(text + "\n" for text in stocked.first(FEW)))
    return any_of(stocked, chosen, FEW)
