"""What the command prints: tables, details and JSON, with control characters from the server neutralised."""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNSAFE_IN_JSON: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ZERO_WIDTH_JOINER: Final = "\u200d"
"""Joins emoji; harmless, and escaping it would tear them apart."""
WIDE: Final = 4096
"""The width for output that no terminal shows: nothing is cut for those who search it."""


def clean(text: object) -> str:
    """Return text in which nothing can steer a terminal or turn its writing direction around.

    Spec: CWE-150 (escape, meta, or control sequences), CVE-2021-42574 (bidirectional overrides).
    """
    return "".join(_visible(character) for character in str(text))


def _visible(character: str) -> str:
    if character.isprintable() or character == _ZERO_WIDTH_JOINER:
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def clean_json(raw: bytes) -> str:
    """Return JSON on several lines; characters that a terminal might obey are escaped, which means the same."""
    text = msgspec.json.format(raw, indent=2).decode()
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


GAP: Final = 2
NARROWEST: Final = 8


class Printer:
    """Standard output for results, standard error for notes."""

    def __init__(self, *, color: bool = True) -> None:
        # Without a colour system rich writes no escape sequence at all, no bold either.
        system: Literal["auto"] | None = "auto" if color and "NO_COLOR" not in os.environ else None
        self._columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
        # As wide as can be: how wide a table may get is decided here, table by table.
        self._out = Console(color_system=system, highlight=False, markup=False, emoji=False, width=WIDE, height=25)
        self.err = Console(stderr=True, color_system=system, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def line(self, text: str, style: str = "") -> None:
        """Print one line as it is: never wrapped, so that it survives being copied."""
        if style:
            self._out.print(Text(text, style=style), soft_wrap=True)
        else:
            print(text, flush=True)

    def json(self, raw: bytes) -> None:
        """Print what the API answered."""
        print(clean_json(raw), flush=True)

    def note(self, text: str, style: str = "dim") -> None:
        """Print something for the person, not the pipe, to standard error."""
        self.err.print(Text(text, style=style))

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        flexible: Sequence[str] = (),
        folded: Sequence[str] = (),
    ) -> None:
        """Print a table. Where the terminal is too narrow, ``flexible`` columns are cut and ``folded`` ones wrapped."""
        cells = [[value if isinstance(value, Text) else Text(clean(value)) for value in row] for row in rows]
        widths = [max([len(name), *(row[index].cell_len for row in cells)]) for index, name in enumerate(columns)]
        yielding = [index for index, name in enumerate(columns) if name in (*flexible, *folded)]
        _fit(widths, yielding, self._columns - GAP * (len(columns) - 1))
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        for name, width in zip(columns, widths, strict=True):
            folds = name in folded
            table.add_column(name.upper(), no_wrap=not folds, overflow="fold" if folds else "ellipsis", width=width)
        for row in cells:
            table.add_row(*row)
        # At its own width, so that on a very narrow terminal ids wrap, whole, rather than lose their ends.
        self._print(table, sum(widths) + GAP * len(columns))

    def details(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Print the fields of one record; a list takes a line for each item."""
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, GAP, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in pairs:
            if value is None or value == "" or value == [] or value == {}:
                continue
            lines = value if isinstance(value, list) else [value]
            for index, line in enumerate(lines):
                table.add_row(Text("" if index else name), line if isinstance(line, Text) else Text(clean(line)))
        self._print(table, self._columns)

    def _print(self, table: Table, width: int) -> None:
        with self._out.capture() as captured:
            self._out.print(table, width=width)
        for line in captured.get().splitlines():
            print(line.rstrip(), flush=False)
        sys.stdout.flush()


def _fit(widths: list[int], flexible: Sequence[int], room: int) -> None:
    """Take from the widest of the flexible columns until all fit, or none can give more."""
    while sum(widths) > room:
        widest = max(flexible, key=lambda index: widths[index], default=None)
        if widest is None or widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1


_STYLES: Final = {"enabled": "green", "active": "green", "VALID": "green", "disabled": "yellow", "retiring": "yellow"}


def state(text: str) -> Text:
    """Return a state or code in its colour; the word itself says the same."""
    return Text(clean(text), style=_STYLES.get(text, "red"))


def ago(at: datetime | None, now: datetime | None = None) -> str:
    """Return an instant relative to now: ``3h ago``, ``in 29d``, or ``-`` for never."""
    if at is None:
        return "-"
    distance = (at - (now or datetime.now(UTC))).total_seconds()
    if abs(distance) < 1:
        return "now"
    # What was just set to end in 30 days is to read so, not 29 days and some hours.
    return f"in {brief(distance + min(distance * 0.02, 43_200))}" if distance > 0 else f"{brief(-distance)} ago"


def brief(size: float) -> str:
    """Return about how long so many seconds are."""
    for unit, width in (("y", 31_536_000), ("d", 86_400), ("h", 3600), ("m", 60)):
        if size >= width * (1 if unit != "y" else 2):
            return f"{int(size // width)}{unit}"
    return f"{int(size)}s"


def when(at: datetime | None) -> str | None:
    """Return an instant exactly and relative to now."""
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({ago(at)})"


def span(seconds: int) -> str:
    """Return a duration as it is written on the command line."""
    for unit, width in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % width == 0:
            return f"{seconds // width}{unit}"
    return f"{seconds}s"


def metadata(values: dict[str, Any]) -> list[str]:
    """Return a line for each entry of a record's metadata."""
    return [
        f"{name}={value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
        for name, value in values.items()
    ]
