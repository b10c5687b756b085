"""One file or stream, read to its end and searched; what of it could not be read is said."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from ..core.secret import Secret
from ..formats import prefixes
from . import compression, log_lines
from .compression import Unreadable
from .files import STDIN, shown, trouble
from .log_formats import reader_of
from .rules import Rules, RuleSearch
from .search import BLOCK, Found, Search
from .sightings import Place, Sighting, Trouble

CHECKPOINT: Final = 1 << 28
"""Bytes of one file between two notes of how far the search has come."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read: lines may have a declared format, and ``rules`` find what others issued."""

    max_expanded: int = compression.MAX_EXPANDED
    log_format: str = ""
    rules: Rules | None = None

    @property
    def reader(self) -> log_lines.Reader | None:
        """What understands lines of the declared format."""
        return reader_of(self.log_format) if self.log_format else None


@dataclass(frozen=True, slots=True)
class Start:
    """Where to go on in a file that was searched in part (see ``Search.mark``)."""

    offset: int = 0
    lines: int = 0
    checked: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """So many bytes were read; where ``start`` is set, the search can go on from there."""

    size: int
    start: Start | None = None
    near_misses: int = 0


Event = Sighting | Trouble | Progress
BEGINNING: Final = Start()


def search_file(path: str, reading: Reading, start: Start = BEGINNING) -> Iterator[Event]:
    """Search a file, or standard input for ``-``; yields what is found, trouble, and progress."""
    if path == STDIN:
        yield from _search("stdin", STDIN, sys.stdin.buffer, reading, start)
        return
    name = shown(path)
    try:
        with open(path, "rb", buffering=0) as stream:
            is_regular = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
            yield from _search("file", name, stream, reading, start, can_seek=is_regular)
    except OSError as error:
        yield trouble(path, error)


def _search(
    kind: str, name: str, stream: BinaryIO, reading: Reading, start: Start, *, can_seek: bool = False
) -> Iterator[Event]:
    try:
        beginning = _beginning(stream)
        packed = compression.format_of(beginning)
        if packed is not None:
            pieces = compression.expanded(stream, beginning, packed, reading.max_expanded)
            yield from search_pieces(pieces, Place(kind, name, 0, 0), reading)
            return
        if start.offset and can_seek:
            stream.seek(start.offset)
            beginning = b""
        else:
            start = BEGINNING
        pieces = _pieces(stream, beginning)
        yield from search_pieces(pieces, Place(kind, name, 0, 0), reading, start, checkpoints=can_seek)
    except Unreadable as error:
        yield Trouble(name, str(error))
    except OSError as error:
        yield Trouble(name, error.strerror or type(error).__name__)


def _beginning(stream: BinaryIO) -> bytes:
    """Return the first bytes of a stream, too few to tell a format only at its end: a pipe gives what it has."""
    data = stream.read(BLOCK) or b""
    while 0 < len(data) < compression.LONGEST_MAGIC and (piece := stream.read(BLOCK)):
        data += piece
    return data


def _pieces(stream: BinaryIO, beginning: bytes) -> Iterator[bytes]:
    if beginning:
        yield beginning
    while piece := stream.read(BLOCK):
        yield piece


def search_pieces(
    pieces: Iterator[bytes],
    place: Place,
    reading: Reading,
    start: Start = BEGINNING,
    *,
    checkpoints: bool = False,
) -> Iterator[Event]:
    """Search a stream that comes in pieces, for credentials and for what loaded rules describe.

    What came before a stream broke off is searched all the same, then the error goes on its way.
    """
    search = Search()
    search.start_at(start.offset, start.lines, start.checked)
    others = RuleSearch(reading.rules, place.name) if reading.rules is not None else None
    size, noted = 0, start.offset
    broken: Exception | None = None
    while True:
        try:
            piece = next(pieces, b"")
        except (Unreadable, OSError) as error:
            piece, broken = b"", error
        for found in search.feed(piece) if piece else search.finish():
            yield sighting_of(found, place, reading)
        if others is not None:
            for match in others.feed(piece) if piece else others.settle():
                yield match.sighting(place, reading.reader)
        if not piece:
            break
        size += len(piece)
        if size >= BLOCK * 16:
            mark = None
            if checkpoints and search.offset - noted >= CHECKPOINT and others is None:
                mark = Start(*search.mark)
                noted = search.offset
            yield Progress(size, mark)
            size = 0
    yield Progress(size, near_misses=search.near_misses)
    if broken is not None:
        raise broken


def sighting_of(found: Found, place: Place, reading: Reading) -> Sighting:
    """Return what a scan says about a credential in a stream."""
    trace = found.trace
    context = log_lines.read(found.text, reading.reader) if place.kind != "git" else log_lines.NOTHING
    return Sighting(
        credential=Secret(trace.text),
        rule=prefixes.kind_of(trace.prefix),
        place=Place(
            place.kind, place.name, found.line, found.column, context.at or place.at, context.client_ip, place.commit
        ),
        spelling=trace.spelling.value,
        prefix=trace.prefix,
        credential_id=trace.credential_id,
    )
