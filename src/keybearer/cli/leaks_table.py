"""The findings of a scan as a table for people: one row for each credential in each file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rich.text import Text

from ..scanner.scan import Summary
from ..scanner.sightings import MAY_BE_LIVE, Sighting, State, Trouble, Verdict
from .output import Printer, clean

MAX_ROWS: Final = 10_000
MAX_TROUBLES: Final = 100


@dataclass(slots=True)
class _Row:
    sighting: Sighting
    verdict: Verdict
    count: int = 1
    last_at: str | None = None


class Table:
    """Gathers findings, so that a credential that was logged a million times takes one row."""

    def __init__(self, out: Printer) -> None:
        self._out = out
        self._rows: dict[tuple[str, str, str, int], _Row] = {}
        self._troubles: list[Trouble] = []
        self._left_out = 0

    def found(self, sighting: Sighting, verdict: Verdict) -> None:
        """Take a finding."""
        place = sighting.place
        alone = place.line if sighting.is_foreign else 0
        key = (sighting.prefix + sighting.rule, sighting.credential_id, place.name, alone)
        row = self._rows.get(key)
        if row is not None:
            row.count += 1
            row.last_at = place.at or row.last_at
        elif len(self._rows) < MAX_ROWS:
            self._rows[key] = _Row(sighting, verdict)
        else:
            self._left_out += 1

    def trouble(self, trouble: Trouble) -> None:
        """Take what could not be searched."""
        if len(self._troubles) < MAX_TROUBLES:
            self._troubles.append(trouble)

    def end(self, summary: Summary) -> None:
        """Print all of it."""
        if self._rows:
            columns = ("state", "credential", "project", "key", "where", "times", "at", "client", "done")
            self._out.table(columns, [_cells(row) for row in self._rows.values()], flexible=("where", "project", "key"))
        if self._left_out:
            self._out.note(f"{self._left_out} more findings are not in the table; --format jsonl has all.")
        for trouble in self._troubles:
            self._out.note(f"not searched: {clean(trouble.name)}: {clean(trouble.why)}", "yellow")
        if summary.troubles > len(self._troubles):
            self._out.note(f"…and {summary.troubles - len(self._troubles)} more that could not be searched.", "yellow")
        for note in summary.notes:
            self._out.note(note)
        self._out.note(_says(summary), "red" if summary.exit_code() == 1 else "")


def _cells(row: _Row) -> tuple[object, ...]:
    sighting, verdict, place = row.sighting, row.verdict, row.sighting.place
    name = f"{sighting.prefix}_{sighting.credential_id}" if sighting.credential_id else sighting.rule
    where = f"{place.name}:{place.line}:{place.column}" + (f" @{place.commit[:12]}" if place.commit else "")
    at = place.at or ""
    return (
        _state(verdict.state),
        name,
        verdict.project_name or "-",
        verdict.key_name or "-",
        where,
        row.count,
        f"{at} … {row.last_at}" if row.last_at and row.last_at != at else at or "-",
        place.client_ip or "-",
        verdict.action,
    )


def _state(state: State) -> Text:
    return Text(state.value, style="red" if state in MAY_BE_LIVE else "dim")


def _says(summary: Summary) -> str:
    states = ", ".join(f"{count} {state}" for state, count in sorted(summary.states.items())) or "nothing found"
    parts = [f"{summary.sources:,} sources, {_size(summary.size)}: {states}."]
    if summary.near_misses:
        parts.append(f"{summary.near_misses} more have the shape of a credential, but a wrong checksum.")
    if summary.troubles:
        parts.append(f"NOT ALL WAS SEARCHED: {summary.troubles} could not be read, or not to the end.")
    return " ".join(parts)


def _size(size: int) -> str:
    for unit, width in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= width:
            return f"{size / width:.1f} {unit}"
    return f"{size} bytes"
