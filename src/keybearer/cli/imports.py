"""``keys import`` and ``users import``: read JSON lines or CSV, show progress, and list what was refused and why."""

from __future__ import annotations

import codecs
import contextlib
import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Protocol

import msgspec
import typer

from ..client import Keybearer
from ..wire.keys import ImportProgress, ImportReport
from . import values
from .output import Printer
from .session import FAILED, WRONG_USAGE, Session, client_command

_LISTS = (
    "permissions",
    "tags",
    "restrictions.ip_networks",
    "restrictions.origins",
    "restrictions.referrers",
    "restrictions.ios_bundle_ids",
    "restrictions.apis",
    "restrictions.methods",
    "restrictions.paths",
)
_NUMBERS = ("secret.iterations", "credits.balance", "credits.refill.amount")
MAX_SHOWN = 100


class Importer(Protocol):
    """An operation of the client that streams lines to the server, and yields what it says."""

    def __call__(self, lines: Iterable[bytes], *, dry_run: bool) -> Iterator[ImportProgress | ImportReport]:
        """Send the lines."""
        ...


def add_import(app: typer.Typer, word: str, importer: Callable[[Keybearer], Importer]) -> None:
    """Add the command that imports what people call ``word``, through an operation of the client."""

    @client_command(app, "import", f"Import {word}s that exist elsewhere: all, or none when any line is refused.")
    def import_all(
        session: Session,
        file: Annotated[str, typer.Argument(metavar="FILE", help="JSON lines or .csv; - reads standard input.")],
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check every line.")] = False,
        as_csv: Annotated[bool, typer.Option("--csv", help="The file is CSV, whatever its name.")] = False,
    ) -> None:
        with _opened(session, file) as stream:
            is_csv = as_csv or file.lower().endswith(".csv")
            lines = from_csv(codecs.getreader("utf-8-sig")(stream)) if is_csv else iter(stream)
            try:
                report = _run(session, importer(session.client), lines, dry_run)
            except UnicodeDecodeError as error:
                session.fail(f"the CSV is not in UTF-8 (byte {error.start + 1} of a part of it).", WRONG_USAGE)
            except (csv.Error, ValueError) as error:
                session.fail(f"the CSV cannot be read: {error}. Nothing was imported.", WRONG_USAGE)
        if session.as_json:
            session.out.json(msgspec.json.encode(report))
        else:
            show_report(session.out, report, word)
        if report.refused_count or report.error:
            raise typer.Exit(FAILED)


def _opened(session: Session, file: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if file == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        session.fail(f"cannot read {file}: {error.strerror}", WRONG_USAGE)


def _run(session: Session, send: Importer, lines: Iterable[bytes], dry_run: bool) -> ImportReport:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    report: ImportReport | None = None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=session.out.err, transient=True, disable=not session.out.err.is_terminal) as bar:
        task = bar.add_task("sending", total=None)

        def sent() -> Iterator[bytes]:
            for line in lines:
                bar.advance(task)
                yield line

        for item in send(sent(), dry_run=dry_run):
            if isinstance(item, ImportProgress):
                bar.update(task, description=item.phase, completed=item.done, total=item.total or None)
            else:
                report = item
    if report is None:
        raise RuntimeError("the client ends an import with its report")
    return report


def show_report(out: Printer, report: ImportReport, word: str) -> None:
    """Print the end of an import: what was refused and why, then what was done."""
    found = [
        (refused.line, problem.get("field", ""), problem.get("message", ""))
        for refused in report.refused
        for problem in refused.problems
    ]
    if found:
        out.table(("line", "field", "why"), found[:MAX_SHOWN], folded=("why",))
        if report.refused_count > len({line for line, _, _ in found[:MAX_SHOWN]}):
            out.note("There are more refused lines: --json prints up to a thousand.")
    if report.error:
        out.note(f"keybearer: {report.error}", "red")
    if not report.lines and not report.error:
        out.line(f"There is no {word} in this file.")
    elif report.refused_count:
        lines = "1 line" if report.lines == 1 else f"{report.lines} lines"
        out.line(f"{report.refused_count} of {lines} refused; nothing was imported.")
    elif report.dry_run:
        right = "1 line is" if report.lines == 1 else f"{report.lines} lines are"
        out.line(f"{right} right; nothing was imported (dry run).")
    else:
        out.line(f"{report.imported} {word}{'' if report.imported == 1 else 's'} imported.")


def from_csv(text: Iterable[str]) -> Iterator[bytes]:
    """Yield a JSON line for each row. The header names fields; dots lead inside (``secret.value``).

    Empty cells are absent, ``metadata.x`` is an entry of metadata, and what the command line takes several times
    (permissions, tags, limits, restrictions) stands in one cell, separated by spaces. Lines that hold no row of their
    own are yielded empty, so that the numbers in the report are those of the file. Raises ``ValueError`` for a row
    that cannot be meant.
    """
    reader = csv.reader(text, strict=True)
    header: list[str] | None = None
    at = 0
    for row in reader:
        yield from [b"\n"] * (reader.line_num - at - 1)
        at = reader.line_num
        if header is None:
            header = _header(row)
            yield b"\n"
        elif not row:
            yield b"\n"
        elif len(row) > len(header):
            raise ValueError(f"line {at} has {len(row)} cells, and the header {len(header)}")
        else:
            yield msgspec.json.encode(_line(header, row, at)) + b"\n"


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for index, name in enumerate(names):
        if not name or name in names[:index]:
            raise ValueError(f"column {index + 1} of the header {'has no name' if not name else f'is {name!r} again'}")
        if any(other.startswith(f"{name}.") for other in names):
            raise ValueError(f"{name!r} cannot be a column of its own beside {name}.…")
    return names


def _line(header: list[str], row: list[str], at: int) -> dict[str, Any]:
    line: dict[str, Any] = {}
    for name, value in zip(header, row, strict=False):
        if value == "":
            continue
        *parents, last = name.split(".")
        place = line
        for parent in parents:
            place = place.setdefault(parent, {})
        try:
            place[last] = _cell(name, value)
        except ValueError as error:
            raise ValueError(f"line {at}: {name}: {error}") from None
    return line


def _cell(name: str, value: str) -> object:
    if name in _AS_ON_THE_COMMAND_LINE:
        return _AS_ON_THE_COMMAND_LINE[name](value)
    if name in _LISTS:
        return value.split()
    if name in _NUMBERS and value.isascii() and value.isdigit():
        return int(value)
    return values.pair(f"{name}={value}")[1] if name.startswith("metadata.") else value


_AS_ON_THE_COMMAND_LINE: Final[dict[str, Callable[[str], object]]] = {
    "limits": lambda cell: [msgspec.to_builtins(values.rate_limit(text)) for text in cell.split()],
    "quotas": lambda cell: [msgspec.to_builtins(values.quota(text)) for text in cell.split()],
    "links": lambda cell: [msgspec.to_builtins(values.link(text)) for text in cell.split()],
    "email_verified": values.truth,
    "credits": lambda cell: msgspec.to_builtins(values.prepaid(cell)),
    "expires_in": values.duration,
    "restrictions.android_apps": lambda cell: [msgspec.to_builtins(values.android_app(text)) for text in cell.split()],
}
