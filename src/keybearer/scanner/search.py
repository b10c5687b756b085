"""A stream of bytes searched piece by piece: however it is cut, the same is found, and memory stays small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..formats.traces import LEFT, RIGHT, Trace, traces
from .matching import Matching, best

BLOCK: Final = 1 << 20
"""Bytes that are best given at a time."""

LONGEST_LINE: Final = 32_768
"""How much of a line before and behind a credential is looked at for a time and an address."""

_LONGEST_HINT: Final = 64


@dataclass(frozen=True, slots=True)
class Found:
    """A credential in a stream: where it begins, and the line around it (in part, if that is longer than it may be)."""

    trace: Trace
    offset: int
    line: int
    column: int
    text: bytes


@dataclass(slots=True)
class _Place:
    """How far lines and characters were counted in the bytes at hand, so that each byte is counted once only."""

    at: int
    newlines: int
    line_start: int
    characters: int

    def advance(self, data: bytes, at: int) -> None:
        """Go on to an offset, where a character begins."""
        newlines = data.count(b"\n", self.at, at)
        if newlines:
            self.newlines += newlines
            self.line_start = self.at = data.rfind(b"\n", self.at, at) + 1
            self.characters = 0
        self.characters += len(data[self.at : at].decode("utf-8", "replace"))
        self.at = at


class Search:
    """Search one stream: give it all its pieces, then ``finish``. ``near_misses`` counts wrong checksums."""

    def __init__(self, matching: Matching | None = None) -> None:
        self._find = matching or best()
        self._data = b""
        self._base = 0
        self._checked = 0
        self._lines = 0
        self._line_start = 0
        self._recent: dict[tuple[int, int], None] = {}
        self.near_misses = 0

    @property
    def offset(self) -> int:
        """How many bytes were given."""
        return self._base + len(self._data)

    def start_at(self, offset: int, lines: int, checked: int) -> None:
        """Begin in the middle of a stream, where another search of it was (see ``mark``)."""
        self._base = self._line_start = offset
        self._lines = lines
        self._checked = max(offset, checked)

    @property
    def mark(self) -> tuple[int, int, int]:
        """Where another search must begin to find the rest: the beginning of a line, and what is known there.

        An offset, how many lines come before it, and the offset up to which everything was found.
        """
        return self._line_start, self._lines, self._checked

    def feed(self, block: bytes) -> Iterator[Found]:
        """Take the next piece; yields what is certain by now."""
        self._data = self._data + block if self._data else block
        yield from self._search(len(self._data) - LONGEST_LINE)

    def settle(self) -> Iterator[Found]:
        """Yield all that is in what was given, as if it ended here; it may go on all the same."""
        yield from self._search(len(self._data))

    def finish(self) -> Iterator[Found]:
        """Yield the rest of a stream that has ended; nothing may follow."""
        yield from self._search(len(self._data), goes_on=False)

    def _search(self, limit: int, *, goes_on: bool = True) -> Iterator[Found]:
        data, base = self._data, self._base
        checked = self._checked - base
        if limit <= checked:
            return
        skipped = max(0, checked - _LONGEST_HINT)
        hits = self._find(data[skipped:] if skipped else data)
        due = [hit._replace(end=hit.end + skipped) for hit in hits if checked < hit.end + skipped <= limit]
        # Of a line whose beginning is gone, the characters before it count as bytes.
        line_start = self._line_start - base
        place = _Place(at=0, newlines=0, line_start=line_start, characters=max(0, -line_start))
        for trace in traces(data, due) if due else ():
            where = (base + trace.start, base + trace.end)
            if where in self._recent:
                continue
            self._recent[where] = None
            if not trace.is_whole:
                self.near_misses += 1
                continue
            place.advance(data, trace.start)
            yield self._found(trace, place)
        if goes_on:
            self._forget(limit)

    def _found(self, trace: Trace, place: _Place) -> Found:
        data, at = self._data, trace.start
        text_start = max(0, place.line_start, at - LONGEST_LINE)
        end = data.find(b"\n", trace.end, trace.end + LONGEST_LINE)
        text = data[text_start : end if end >= 0 else trace.end + LONGEST_LINE]
        return Found(
            trace=trace,
            offset=self._base + at,
            line=self._lines + place.newlines + 1,
            column=place.characters + 1,
            text=text,
        )

    def _forget(self, limit: int) -> None:
        """Drop what no later credential can need: but keep the beginning of its line, if that is near."""
        data = self._data
        self._checked = self._base + limit
        kept = max(0, limit - LEFT - RIGHT)
        line_start = data.rfind(b"\n", max(0, kept - LONGEST_LINE), kept) + 1
        dropped = line_start or max(0, kept - LONGEST_LINE)
        if dropped:
            newlines = data.count(b"\n", 0, dropped)
            if newlines:
                self._lines += newlines
                self._line_start = self._base + data.rfind(b"\n", 0, dropped) + 1
            self._data = data[dropped:]
            self._base += dropped
        if len(self._recent) > 256:
            self._recent = {where: None for where in self._recent if where[1] >= self._base}
