"""``keybearer leaks watch``: follow logs, and act on what is found in them."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Annotated

import msgspec
import typer

from ..core.errors import ConfigurationError, InvalidInput
from ..scanner.compression import MAX_EXPANDED
from ..scanner.log_formats import reader_of
from ..scanner.matchers import Remembering
from ..scanner.reading import Reading
from ..scanner.reports import document
from ..scanner.sightings import Sighting, Trouble, Verdict
from ..scanner.watch import Positions, Watch
from .leaks_asked import Asked, Data, Database, Filter, LogFormat, Offline
from .output import Printer, clean
from .session import DEFAULT_URL, WRONG_USAGE, AllowHttp, NoColor, Url

REMEMBERED_FOR = 60.0
"""Seconds after which the authority is asked again about a credential that comes all the time."""


def watch(
    paths: Annotated[list[str], typer.Argument(metavar="LOG...", help="Logs; one that is not there yet may come.")],
    act: Annotated[
        bool, typer.Option("--act/--no-act", help="Have the authority's policies act, or only tell.")
    ] = True,
    positions: Annotated[
        str | None, typer.Option("--positions", metavar="FILE", help="Keep how far each was read, over restarts.")
    ] = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Begin with what is in the logs, not with what comes.")
    ] = False,
    offline: Offline = False,
    filter_file: Filter = None,
    data: Data = None,
    database: Database = None,
    url: Url = DEFAULT_URL,
    allow_http: AllowHttp = False,
    log_format: LogFormat = None,
    interval: Annotated[float, typer.Option(min=0.05, max=60, help="Seconds between two looks.")] = 0.25,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each finding.")] = False,
    no_color: NoColor = False,
) -> None:
    """Follow logs through rotation, and act within seconds on each credential that comes.

    Ends on SIGTERM and Ctrl-C. What the authority could not be told waits, and is told later.
    """
    out = Printer(color=not no_color)
    asked = Asked(offline=offline, filter_file=filter_file, data=data, database=database)
    acts = act and asked == Asked()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())

    def found(sighting: Sighting, verdict: Verdict) -> None:
        print(_line(sighting, verdict, as_json), flush=True)

    def trouble(one: Trouble) -> None:
        out.note(f"keybearer: {clean(one.name)}: {clean(one.why)}", "yellow")

    try:
        if log_format:
            reader_of(log_format)
        reading = Reading(max_expanded=MAX_EXPANDED, log_format=log_format or "")
        with asked.matcher(url, allow_http, act=acts) as matcher:
            watching = Watch(
                paths,
                reading,
                Remembering(matcher, REMEMBERED_FOR),
                Positions(positions),
                found,
                trouble,
                act=acts,
                from_start=from_start,
            )
            watching.turn()
            out.note(f"watching {len(paths)} logs" + ("" if acts else ", without acting"))
            while not stopping.is_set():
                if not watching.turn():
                    stopping.wait(interval)
            watching.turn()
            watching.close()
    except (ConfigurationError, InvalidInput) as error:
        out.note(f"keybearer: {error}", "red")
        raise typer.Exit(WRONG_USAGE) from None
    sys.stdout.flush()


def _line(sighting: Sighting, verdict: Verdict, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(document(sighting, verdict)).decode()
    place = sighting.place
    parts = (
        verdict.state.value,
        f"{sighting.prefix}_{sighting.credential_id}",
        verdict.project_name and f"of {verdict.project_name}",
        f"at {place.name}:{place.line}",
        place.client_ip and f"from {place.client_ip}",
        verdict.action != "none" and verdict.action,
        verdict.incident_id,
    )
    return clean(" ".join(part for part in parts if part))
