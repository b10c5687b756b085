"""``keybearer leaks``: look for credentials that got out."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from ..core.errors import ConfigurationError, InvalidInput
from ..scanner import compression
from ..scanner.files import STDIN, Walk
from ..scanner.git_history import heads, search_history
from ..scanner.jobs import search_files
from ..scanner.log_formats import reader_of
from ..scanner.matchers import Remembering
from ..scanner.reading import BEGINNING, Progress, Reading, search_file
from ..scanner.reports import JsonLines, Sarif
from ..scanner.resuming import Progressed
from ..scanner.rules import Rules, load
from ..scanner.scan import Report, Scan
from ..scanner.sightings import Trouble
from .leaks_asked import Act, Asked, Data, Database, Filter, LogFormat, Offline, RulesFile
from .leaks_export import digests, pattern
from .leaks_redact import redact
from .leaks_table import Table
from .leaks_watch import watch
from .output import Printer
from .session import DEFAULT_URL, WRONG_USAGE, AllowHttp, NoColor, Url

app = typer.Typer(name="leaks", no_args_is_help=True, help="Find credentials that got out.", rich_markup_mode=None)
_PROGRESS_EVERY: Final = 0.5


class Format(StrEnum):
    """How findings are written."""

    TABLE = "table"
    JSONL = "jsonl"
    SARIF = "sarif"


class FailOn(StrEnum):
    """Which findings make the exit code 1."""

    LIVE = "live"
    ANY = "any"


Paths = Annotated[list[str], typer.Argument(metavar="PATH...", help="Files and directories; - is standard input.")]
AsFormat = Annotated[Format, typer.Option("--format", "-f", help="How findings are written.")]
Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write findings there (jsonl, sarif).")
]


def reading_of(log_format: str | None, rules: str | None, max_expanded: int) -> Reading:
    """Return how files are read; raises ``ConfigurationError`` and ``InvalidInput``."""
    if log_format:
        reader_of(log_format)
    loaded: Rules | None = load(rules) if rules else None
    return Reading(max_expanded=max_expanded, log_format=log_format or "", rules=loaded)


@contextlib.contextmanager
def _written(output: str | None) -> Iterator[Any]:
    if output is None:
        yield sys.stdout
        return
    with open(output, "w", encoding="utf-8") as file:
        yield file


@app.command("scan")
def scan(
    paths: Paths,
    history: Annotated[
        bool, typer.Option("--git", help="Search the whole history of the repositories at PATH.")
    ] = False,
    as_format: AsFormat = Format.TABLE,
    output: Output = None,
    offline: Offline = False,
    filter_file: Filter = None,
    data: Data = None,
    database: Database = None,
    url: Url = DEFAULT_URL,
    allow_http: AllowHttp = False,
    act: Act = False,
    log_format: LogFormat = None,
    rules: RulesFile = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Leave out such names.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Follow links inside directories.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Processes that search files.")] = 1,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="FILE", help="Keep how far this came, and go on from there.")
    ] = None,
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Which findings make the exit code 1.")] = FailOn.LIVE,
    max_expanded: Annotated[
        int, typer.Option(metavar="BYTES", min=1, help="Of one compressed file, when expanded.")
    ] = compression.MAX_EXPANDED,
    no_color: NoColor = False,
) -> None:
    """Search files, logs, compressed logs, standard input and git history for credentials.

    The authority at --url tells where each stands, unless --data, --filter or --offline says who else.

    Exit codes: 0 nothing that opens doors; 1 something does, or may; 2 wrong usage, or not all could be searched.
    """
    if output is not None and as_format is Format.TABLE:
        raise typer.BadParameter("a table is for people; add --format jsonl or sarif", param_hint="--output")
    out = Printer(color=not no_color)
    try:
        reading = reading_of(log_format, rules, max_expanded)
        progressed = Progressed(resume) if resume else None
        asked = Asked(offline=offline, filter_file=filter_file, data=data, database=database)
        with asked.matcher(url, allow_http, act=act) as matcher, _written(output) as file:
            report: Report = Table(out)
            if as_format is Format.JSONL:
                report = JsonLines(file.write)
            elif as_format is Format.SARIF:
                report = Sarif(file.write)
            work = Scan(Remembering(matcher), report, act=act)
            for refused in reading.rules.refused if reading.rules else ():
                work.take(Trouble("rules", refused))
            _Run(work, reading, progressed, out).run(paths, history, Walk(exclude or (), follow), jobs)
            summary = work.end()
            file.flush()
    except (ConfigurationError, InvalidInput) as error:
        out.note(f"keybearer: {error}", "red")
        raise typer.Exit(WRONG_USAGE) from None
    except BrokenPipeError:
        raise  # nobody reads any more
    except OSError as error:
        out.note(f"keybearer: {error.strerror}: {error.filename or 'output'}", "red")
        raise typer.Exit(WRONG_USAGE) from None
    raise typer.Exit(summary.exit_code(any_finding=fail_on is FailOn.ANY))


class _Run:
    """Goes through the sources, shows progress on a terminal, and notes how far it came."""

    def __init__(self, work: Scan, reading: Reading, progressed: Progressed | None, out: Printer) -> None:
        self._work, self._reading, self._progressed, self._out = work, reading, progressed, out
        self._shown_at = time.monotonic()
        self._began_at = self._shown_at

    def run(self, paths: list[str], history: bool, walk: Walk, jobs: int) -> None:
        """Search everything."""
        if history:
            for repository in paths:
                self._history(repository)
        elif jobs > 1:
            self._parallel(walk, paths, jobs)
        else:
            for found in self._files(walk, paths):
                self._file(found)
        if self._progressed is not None:
            self._work.flush()
            self._progressed.save()
        self._notes(walk)

    def _files(self, walk: Walk, paths: list[str]) -> Iterator[str]:
        for found in walk.files(paths):
            if isinstance(found, Trouble):
                self._work.take(found)
            elif self._progressed is None or not self._progressed.is_done(found):
                yield found

    def _file(self, path: str) -> None:
        start = BEGINNING if self._progressed is None else self._progressed.start_of(path)
        troubles = self._work.summary.troubles
        for event in search_file(path, self._reading, start):
            self._work.take(event)
            if isinstance(event, Progress):
                self._show()
                if event.start is not None and self._progressed is not None:
                    self._work.flush()
                    self._progressed.reached(path, event.start)
        self._ended(path, whole=self._work.summary.troubles == troubles)

    def _ended(self, path: str, *, whole: bool) -> None:
        self._work.summary.sources += 1
        if self._progressed is not None and whole and path != STDIN:
            self._work.flush()
            self._progressed.finished(path)

    def _parallel(self, walk: Walk, paths: list[str], jobs: int) -> None:
        given = iter(self._files(walk, [path for path in paths if path != STDIN]))
        broken: set[str] = set()
        for path, event in search_files(given, self._reading, jobs):
            if event is None:
                self._ended(path, whole=path not in broken)
                broken.discard(path)
                continue
            if isinstance(event, Trouble):
                broken.add(path)
            self._work.take(event)
            self._show()
        if STDIN in paths:
            self._file(STDIN)

    def _history(self, repository: str) -> None:
        where = "" if self._progressed is None else heads(repository)
        skip = 0 if self._progressed is None else self._progressed.objects_of(repository, where)
        noted = skip
        for number, event in search_history(repository, self._reading, skip):
            self._work.take(event)
            self._show()
            if self._progressed is not None and number >= noted + 1000:
                self._work.flush()
                self._progressed.reached_object(repository, where, number - 1)
                noted = number
        self._work.summary.sources += 1

    def _notes(self, walk: Walk) -> None:
        notes = self._work.summary.notes
        for count, what in (
            (walk.links, "links were not followed"),
            (walk.special, "devices, sockets and pipes were not opened"),
            (walk.excluded, "names were left out, as asked"),
            (walk.histories, ".git directories were left out: --git searches the history"),
        ):
            if count:
                notes.append(f"{count} {what}.")

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown_at < _PROGRESS_EVERY or not self._out.err.is_terminal:
            return
        self._shown_at = now
        summary = self._work.summary
        rate = summary.size / (now - self._began_at) / 1e6
        text = (
            f"\r{summary.sources:,} sources, {summary.size / 1e6:,.0f} MB, {rate:,.0f} MB/s, {summary.findings} found "
        )
        print(text, end="", file=sys.stderr, flush=True)


app.command("watch")(watch)
app.command("redact")(redact)
app.command("pattern")(pattern)
app.add_typer(digests)
