"""``keybearer keys import``: reads JSON lines or CSV, shows progress, and lists what was refused and why."""

from __future__ import annotations

import codecs
import contextlib
import csv
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import typer

from ..wire.keys import ImportProgress, ImportReport
from .output import Printer
from .session import FAILED, WRONG_USAGE, Session, client_command

_LISTS = ("permissions", "tags", "restrictions.ip_networks", "restrictions.origins", "restrictions.apis")
_NUMBERS = ("expires_in", "secret.iterations")
MAX_SHOWN = 100


def add_import(app: typer.Typer) -> None:
    """Add the command."""

    @client_command(app, "import")
    def import_keys(
        session: Session,
        file: Annotated[str, typer.Argument(metavar="FILE", help="JSON lines or .csv; - reads standard input.")],
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check every line.")] = False,
        as_csv: Annotated[bool, typer.Option("--csv", help="The file is CSV, whatever its name.")] = False,
    ) -> None:
        """Import keys that exist elsewhere: all of them, or none when any line is refused."""
        with _opened(session, file) as stream:
            is_csv = as_csv or file.lower().endswith(".csv")
            lines = from_csv(codecs.getreader("utf-8-sig")(stream)) if is_csv else iter(stream)
            try:
                report = _run(session, lines, dry_run)
            except (csv.Error, UnicodeDecodeError, TypeError, AttributeError) as error:
                session.fail(f"the CSV cannot be read: {error}", WRONG_USAGE)
        if session.as_json:
            session.out.json(msgspec.json.encode(report))
        else:
            show_report(session.out, report)
        if report.refused_count or report.error:
            raise typer.Exit(FAILED)


def _opened(session: Session, file: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if file == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        session.fail(f"cannot read {file}: {error.strerror}", WRONG_USAGE)


def _run(session: Session, lines: Iterable[bytes], dry_run: bool) -> ImportReport:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    report: ImportReport | None = None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=session.out.err, transient=True, disable=not session.out.err.is_terminal) as bar:
        task = bar.add_task("sending", total=None)

        def sent() -> Iterator[bytes]:
            for line in lines:
                bar.advance(task)
                yield line

        for item in session.client.keys.import_keys(sent(), dry_run=dry_run):
            if isinstance(item, ImportProgress):
                bar.update(task, description=item.phase, completed=item.done, total=item.total or None)
            else:
                report = item
    if report is None:
        raise RuntimeError("the client ends an import with its report")
    return report


def show_report(out: Printer, report: ImportReport) -> None:
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
    if report.refused_count:
        out.line(f"{report.refused_count} of {report.lines} lines refused; nothing was imported.")
    elif report.dry_run:
        out.line(f"{report.lines} lines are right; nothing was imported (dry run).")
    else:
        out.line(f"{report.imported} {'key' if report.imported == 1 else 'keys'} imported.")


def from_csv(text: Iterable[str]) -> Iterator[bytes]:
    """Yield a JSON line for each row. The header names fields; dots lead inside (``secret.value``).

    Empty cells are absent, lists (permissions, tags…) are separated by spaces, ``metadata.x`` is an entry of metadata.
    """
    for row in csv.DictReader(text, strict=True):
        line: dict[str, Any] = {}
        for name, value in row.items():
            if name is None or value is None or value == "":
                continue
            *parents, last = name.strip().split(".")
            place = line
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = _cell(name.strip(), value)
        yield msgspec.json.encode(line)


def _cell(name: str, value: str) -> object:
    if name in _LISTS:
        return value.split()
    if name in _NUMBERS and value.isascii() and value.isdigit():
        return int(value)
    return value
