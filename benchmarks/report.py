"""The table: every figure with its spread, its ratio and its goal, under the versions that it holds for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from .figures import Figure
from .machine import cores, versions

_HEAD = ("benchmark", "what", "median (min–max)", "against", "ratio (min–max)", "goal", "")


def as_table(found: Mapping[str, Sequence[Figure]]) -> str:
    """Return Markdown."""
    rows = [
        (
            name,
            figure.what + (f" – {figure.note}" if figure.note else ""),
            f"{figure.value} {figure.unit}",
            figure.baseline,
            str(figure.ratio or ""),
            figure.goal.text if figure.goal else "",
            figure.verdict,
        )
        for name, figures in found.items()
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in (_HEAD, *rows)) for column in range(len(_HEAD))]
    lines = [_line(_HEAD, widths), _line(["-" * width for width in widths], widths)]
    return "\n".join([*lines, *(_line(row, widths) for row in rows), "", circumstances()])


def circumstances() -> str:
    """Return when and with what."""
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{datetime.now(UTC):%Y-%m-%d}, {len(cores())} cores. {used}."


def as_json(found: Mapping[str, Sequence[Figure]]) -> str:
    """Return the same for programs."""
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(cores()),
        "versions": versions(),
        "benchmarks": {
            name: [{**asdict(figure), "verdict": figure.verdict} for figure in figures]
            for name, figures in found.items()
        },
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
