"""One log followed as it grows: through rotation (renamed and made anew, or copied and cut) and from where it was left.

Only whole lines are looked at, and a position is always the end of one.
"""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from .files import shown
from .reading import Reading, sighting_of
from .search import BLOCK, Search
from .sightings import Place, Sighting, Trouble

LONGEST_LINE: Final = 1 << 20
LINGERS: Final = 5.0
"""Seconds without a byte after which a file that was renamed counts as left: of the workers of a server, some write on
to it for a moment while others have opened the new one.
"""
_HEAD: Final = 256


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log was read: which file that was, the end of a line in it, and how many lines come before.

    ``head`` is a digest of its first ``head_size`` bytes: what was cut and has grown again has others.
    """

    inode: int
    offset: int
    lines: int
    head: str
    head_size: int


@dataclass(slots=True)
class _Renamed:
    """A file that gave its place to another, and may still grow. It is in no position: whoever starts again begins with
    the other, so that none that was rotated between them is passed over.
    """

    stream: BinaryIO
    search: Search
    rest: bytes
    until: float


class Follower:
    """Follows one path."""

    def __init__(
        self,
        path: str,
        reading: Reading,
        known: Position | None,
        *,
        from_start: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._now = now
        self._renamed: _Renamed | None = None
        self._reading = reading
        self._place = Place("log", shown(path), 0, 0)
        self._known = known
        self._from_start = from_start or known is not None
        self._stream: BinaryIO | None = None
        self._search = Search()
        self._rest = b""
        self._offset = 0
        self._lines = 0
        self._head, self._head_size = "", 0
        self._missed = False
        self.is_behind = False

    def position(self) -> Position | None:
        """Return where to go on, if all that was found up to here is done with."""
        if self._stream is None:
            return self._known
        stream = self._stream
        offset = self._offset - len(self._rest)
        size = min(_HEAD, offset)
        return Position(os.fstat(stream.fileno()).st_ino, offset, self._lines, _digest(stream, size), size)

    def poll(self) -> Iterator[Sighting | Trouble]:
        """Yield what came since the last time."""
        if self._stream is None and not self._open_first():
            return
        if self._missed:
            self._missed = False
            yield Trouble(self._place.name, "it was rotated or cut while nobody watched: scan what was rotated away")
        yield from self._read_renamed()
        yield from self._read()
        if self._was_cut():
            yield from self._restart()
            yield from self._read()
        elif self._was_replaced():
            # Once more: what was written between the last read and the renaming.
            yield from self._read()
            if self._stream is not None and self._at_end():
                yield from self._read_renamed(is_last=True)
                self._renamed = _Renamed(self._stream, self._search, self._rest, self._now() + LINGERS)
                self._stream = None
                self._from_start, self._known = True, None
                if self._open():
                    yield from self._read()

    def close(self) -> None:
        """Close the files."""
        if self._stream is not None:
            self._stream.close()
        if self._renamed is not None:
            self._renamed.stream.close()

    # Opening.

    def _open_first(self) -> bool:
        known = self._known
        if known is not None:
            older = self._rotated_away(known)
            if older is not None:
                self._start(older, known.offset, known.lines)
                return True
            self._missed = not _continues(self.path, known)
        if not self._open():
            return False
        if known is not None and not self._missed and self._stream is not None:
            self._start(self._stream, known.offset, known.lines)
        return True

    def _open(self) -> bool:
        try:
            stream = open(self.path, "rb", buffering=0)  # noqa: SIM115 (kept open)
        except OSError:
            return False
        self._start(stream, 0 if self._from_start else os.fstat(stream.fileno()).st_size, 0)
        if not self._from_start:
            # Its lines are counted, so that what is said can be found again.
            self._start(stream, self._offset, _count_lines(stream, self._offset))
        self._from_start = True
        return True

    def _start(self, stream: BinaryIO, offset: int, lines: int) -> None:
        if self._stream is not None and self._stream is not stream:
            self._stream.close()
        self._stream = stream
        stream.seek(offset)
        self._search, self._rest = Search(), b""
        self._search.start_at(offset, lines, offset)
        self._offset, self._lines = offset, lines
        self._head_size = min(_HEAD, offset)
        self._head = _digest(stream, self._head_size)

    def _rotated_away(self, known: Position) -> BinaryIO | None:
        """Open the file that was read, or its copy, under another name; ``None`` when it is in its place, or gone."""
        if _continues(self.path, known) or not known.head_size:
            return None
        path = Path(self.path)
        for other in sorted(path.parent.glob(f"{glob.escape(path.name)}*")):
            if _continues(str(other), known, anywhere=True):
                return open(other, "rb", buffering=0)
        return None

    # Reading.

    def _read(self) -> Iterator[Sighting]:
        stream = self._stream
        if stream is None:
            return
        piece = stream.read(BLOCK)
        self.is_behind = len(piece) == BLOCK
        if piece:
            self._offset += len(piece)
            self._rest += piece
            yield from self._settle()

    def _read_renamed(self, *, is_last: bool = False) -> Iterator[Sighting]:
        one = self._renamed
        if one is None:
            return
        if piece := one.stream.read(BLOCK):
            one.rest += piece
            one.until = self._now() + LINGERS
        is_last = is_last or (not piece and self._now() >= one.until)
        end = len(one.rest) if is_last or len(one.rest) > LONGEST_LINE else one.rest.rfind(b"\n") + 1
        lines, one.rest = one.rest[:end], one.rest[end:]
        for found in (*one.search.feed(lines), *one.search.settle()) if lines else ():
            yield sighting_of(found, self._place, self._reading)
        if is_last:
            one.stream.close()
            self._renamed = None

    def _settle(self, *, everything: bool = False) -> Iterator[Sighting]:
        end = self._rest.rfind(b"\n") + 1
        if everything or (not end and len(self._rest) > LONGEST_LINE):
            end = len(self._rest)
        if not end:
            return
        lines, self._rest = self._rest[:end], self._rest[end:]
        for found in (*self._search.feed(lines), *self._search.settle()):
            yield sighting_of(found, self._place, self._reading)
        self._lines += lines.count(b"\n")

    def _at_end(self) -> bool:
        return self._stream is not None and os.fstat(self._stream.fileno()).st_size <= self._offset

    def _was_cut(self) -> bool:
        """Tell whether the file is another in the same place: shorter than it was, or beginning otherwise."""
        if self._stream is None:
            return False
        if os.fstat(self._stream.fileno()).st_size < self._offset:
            return True
        if _digest(self._stream, self._head_size) != self._head:
            return True
        size = min(_HEAD, self._offset)
        if size > self._head_size:
            self._head, self._head_size = _digest(self._stream, size), size
        return False

    def _restart(self) -> Iterator[Sighting]:
        yield from self._settle(everything=True)
        if self._stream is not None:
            self._start(self._stream, 0, 0)

    def _was_replaced(self) -> bool:
        if self._stream is None:
            return False
        try:
            about = os.stat(self.path)
        except OSError:
            return False
        mine = os.fstat(self._stream.fileno())
        return (about.st_dev, about.st_ino) != (mine.st_dev, mine.st_ino)


def _continues(path: str, known: Position, *, anywhere: bool = False) -> bool:
    """Tell whether a file is the one that was read up to a position; ``anywhere``: or a copy of it."""
    try:
        with open(path, "rb", buffering=0) as stream:
            about = os.fstat(stream.fileno())
            if about.st_size < known.offset or (about.st_ino != known.inode and not anywhere):
                return False
            return _digest(stream, known.head_size) == known.head
    except OSError:
        return False


def _digest(stream: BinaryIO, size: int) -> str:
    return hashlib.sha256(os.pread(stream.fileno(), size, 0)).hexdigest()


def _count_lines(stream: BinaryIO, size: int) -> int:
    stream.seek(0)
    lines = 0
    while size > 0 and (piece := stream.read(min(BLOCK, size))):
        lines += piece.count(b"\n")
        size -= len(piece)
    return lines
