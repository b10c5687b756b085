"""Which files a scan reads: those named, and those in directories; every other thing is counted or said, never dropped.

Links inside directories are not followed unless wanted, and then no directory is entered twice. Devices, sockets and
pipes inside directories are not opened, since they may never end.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Final

from ..formats.redaction import redact
from .matching import best
from .sightings import Trouble

STDIN: Final = "-"
_GIT: Final = ".git"
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(slots=True)
class Walk:
    """What to enter, and how many things were not read on purpose."""

    exclude: Sequence[str] = ()
    follow: bool = False
    links: int = 0
    special: int = 0
    excluded: int = 0
    histories: int = 0
    _entered: set[tuple[int, int]] = field(default_factory=set)

    def files(self, paths: Sequence[str]) -> Iterator[str | Trouble]:
        """Yield every file to be read, in a stable order, and what cannot be looked at."""
        for path in paths:
            if path == STDIN:
                yield path
                continue
            try:
                mode = os.stat(path).st_mode
            except OSError as error:
                yield trouble(path, error)
                continue
            if stat.S_ISDIR(mode):
                yield from self._directory(path)
            else:
                # What is named is read, a pipe too.
                yield path

    def _directory(self, top: str) -> Iterator[str | Trouble]:
        waiting = [top]
        while waiting:
            directory = waiting.pop()
            try:
                with os.scandir(directory) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
                if self.follow:
                    about = os.stat(directory)
                    if (about.st_dev, about.st_ino) in self._entered:
                        self.links += 1
                        continue
                    self._entered.add((about.st_dev, about.st_ino))
            except OSError as error:
                yield trouble(directory, error)
                continue
            inner: list[str] = []
            for entry in found:
                if any(fnmatch(entry.name, glob) or fnmatch(entry.path, glob) for glob in self.exclude):
                    self.excluded += 1
                    continue
                try:
                    kind = self._kind(entry)
                except OSError as error:
                    yield trouble(entry.path, error)
                    continue
                if kind == "file":
                    yield entry.path
                elif kind == "directory":
                    inner.append(entry.path)
            waiting += reversed(inner)

    def _kind(self, entry: os.DirEntry[str]) -> str:
        if entry.is_symlink() and not self.follow:
            self.links += 1
            return ""
        mode = entry.stat(follow_symlinks=self.follow).st_mode
        if stat.S_ISDIR(mode):
            if entry.name == _GIT:
                self.histories += 1
                return ""
            return "directory"
        if stat.S_ISREG(mode):
            return "file"
        self.special += 1
        return ""


def shown(path: str) -> str:
    """Return a path as it may be shown and sent: without credentials, and with control characters escaped."""
    text = redact(os.fsencode(path), best()).decode("utf-8", "replace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def trouble(path: str, error: OSError) -> Trouble:
    """Return what is said about something that cannot be read."""
    return Trouble(shown(path), error.strerror or type(error).__name__)
