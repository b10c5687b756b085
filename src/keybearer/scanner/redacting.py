"""A stream rewritten so that it can be kept or shared: secrets replaced, every other byte as it was.

It may be cut into pieces anywhere. Whole lines leave a pipe as soon as there is a pause, but base64 that the
next line may continue is kept back for a second.
"""

from __future__ import annotations

import os
import re
import select
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from ..formats.redaction import rewrite
from ..formats.traces import LEFT, RIGHT, traces
from . import compression
from .compression import Unreadable
from .matching import Matching, best

PAUSE: Final = 0.05
"""Seconds without input after which whole lines are let out."""

LONGEST_PAUSE: Final = 1.0
"""Seconds without input after which also those lines are let out that the next may continue."""

_PIECE: Final = 1 << 18
_LARGEST_PIPE: Final = 1 << 20
_MAY_GO_ON: Final = re.compile(rb"(?:[A-Za-z0-9+/_-]{16}[=\\rn\r]{0,4}|=\r?)\Z")
"""The end of a line that the next may continue: of base64, or before a soft line break."""


class Redactor:
    """Rewrites one stream, piece by piece."""

    def __init__(self, matching: Matching | None = None) -> None:
        self._find = matching or best()
        self._data = b""
        self._given = 0

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece; returns what is certain by now."""
        self._data += piece
        return self._out(len(self._data) - RIGHT - LEFT)

    def release(self, *, all_lines: bool = False) -> bytes:
        """Return the whole lines that wait; without ``all_lines``, only those that no other can continue."""
        end = self._data.rfind(b"\n") + 1
        while not all_lines and end > self._given:
            start = self._data.rfind(b"\n", 0, end - 1) + 1
            if _MAY_GO_ON.search(self._data, start, end - 1) is None:
                break
            end = start
        return self._out(end)

    def finish(self) -> bytes:
        """Return the rest."""
        return self._out(len(self._data))

    def _out(self, end: int) -> bytes:
        if end <= self._given:
            return b""
        data = self._data
        found = traces(data, self._find(data))
        for trace in found:
            if trace.start < end < trace.end:
                end = trace.start
        if end <= self._given:
            return b""
        out = rewrite(data[:end], [trace for trace in found if self._given <= trace.start and trace.end <= end])
        # What stands before is needed to read what comes; it went out already, and is not rewritten again.
        out = out[self._given :]
        kept = max(0, end - LEFT)
        self._data, self._given = data[kept:], end - kept
        return out


def redacted(stream: BinaryIO) -> Iterator[bytes]:
    """Yield a file without its secrets; raises ``Unreadable`` when it is compressed, for nothing would be seen."""
    redactor = Redactor()
    beginning = stream.read(compression.LONGEST_MAGIC)
    _refuse_compressed(beginning)
    yield redactor.feed(beginning)
    while piece := stream.read(_PIECE):
        yield redactor.feed(piece)
    yield redactor.finish()


def redacted_pipe(descriptor: int, stop: int | None = None) -> Iterator[bytes]:
    """Yield what comes out of a pipe without its secrets, line by line as they come.

    Once there is something to read from ``stop``, what the pipe holds by then is taken too, and that is the end.
    """
    redactor = Redactor()
    is_first = True
    inputs = [descriptor] if stop is None else [descriptor, stop]
    left = _LARGEST_PIPE
    while True:
        ready = select.select(inputs, [], [], PAUSE)[0]
        if not ready:
            if out := redactor.release():
                yield out
            ready = select.select(inputs, [], [], LONGEST_PAUSE)[0]
            if not ready:
                if out := redactor.release(all_lines=True):
                    yield out
                ready = select.select(inputs, [], [])[0]
        piece = os.read(descriptor, _PIECE) if descriptor in ready and left > 0 else b""
        if not piece:
            yield redactor.finish()
            return
        if stop in ready:
            left -= len(piece)
        if is_first:
            _refuse_compressed(piece)
            is_first = False
        yield redactor.feed(piece)


def redact_in_place(path: str) -> bool:
    """Rewrite a file, whole or not at all, with its owner, mode and times; returns whether anything changed.

    Raises ``OSError``, and ``Unreadable`` for compressed files, for what is no file, and for links: whoever may write
    in the directory could have any other file rewritten through one. What is written to the file meanwhile is lost, so
    this is for logs that were rotated. Spec: CWE-59.
    """
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}.redacting")
    changed = False
    with open(path, "rb", opener=_opened_itself) as source:
        about = os.fstat(source.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("this is no ordinary file")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in redacted(source):
                    file.write(piece)
                if os.geteuid() == 0 or (about.st_uid, about.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), about.st_uid, about.st_gid)
                os.fchmod(file.fileno(), about.st_mode & 0o7777)
                file.flush()
                os.fsync(file.fileno())
            os.utime(beside, ns=(about.st_atime_ns, about.st_mtime_ns))
            changed = not _same(target, beside)
            if changed:
                beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    return changed


def _opened_itself(path: str, flags: int) -> int:
    if os.path.islink(path):
        raise Unreadable("this is a link: name the file itself")
    # A pipe is not waited for.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _same(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            left, right = first.read(_PIECE), second.read(_PIECE)
            if left != right:
                return False
            if not left:
                return True


def _refuse_compressed(beginning: bytes) -> None:
    packed = compression.format_of(beginning)
    if packed is not None:
        raise Unreadable(f"this is compressed ({packed.name}): decompress it, redact it, compress it again")
