"""How far a scan has come, in a file: sizes and offsets, never a secret, and no path either, only digests of paths."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ..core.errors import ConfigurationError
from .reading import BEGINNING, Start
from .state_file import write_whole

VERSION: Final = 1
_SAVE_EVERY: Final = 2.0
"""Seconds between two writings of the file; what was searched since is searched again."""


class Progressed:
    """Remembers which sources were searched, and where in the others to go on; ``path`` is the file of that."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._done: dict[str, list[int]] = {}
        self._begun: dict[str, dict[str, Any]] = {}
        self._saved_at = 0.0
        if self._path.exists():
            self._load()

    def _load(self) -> None:
        try:
            document = json.loads(self._path.read_text("utf-8"))
            if document["version"] != VERSION:
                raise ValueError("another version")
            self._done = {str(name): [int(n) for n in stamp] for name, stamp in document["done"].items()}
            self._begun = {str(name): dict(entry) for name, entry in document["begun"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"{self._path} is not the state of a scan; delete it to begin anew.") from error

    def is_done(self, source: str) -> bool:
        """Tell whether a file was searched to its end and has not changed since."""
        stamp = _stamp(source)
        return stamp is not None and self._done.get(name_of(source)) == stamp

    def start_of(self, source: str) -> Start:
        """Return where to go on in a file: what was there must be there still, though more may have come."""
        entry, stamp = self._begun.get(name_of(source)), _stamp(source)
        if entry is None or stamp is None or entry.get("inode") != stamp[2] or entry.get("offset", 0) > stamp[0]:
            return BEGINNING
        return Start(int(entry["offset"]), int(entry["lines"]), int(entry["checked"]))

    def reached(self, source: str, start: Start) -> None:
        """Note that everything before ``start`` was reported."""
        stamp = _stamp(source)
        if stamp is not None:
            self._begun[name_of(source)] = {"inode": stamp[2], **asdict(start)}
            self._save_sometimes()

    def finished(self, source: str) -> None:
        """Note that a file was searched to its end."""
        stamp = _stamp(source)
        self._begun.pop(name_of(source), None)
        if stamp is not None:
            self._done[name_of(source)] = stamp
            self._save_sometimes()

    def objects_of(self, repository: str, heads: str) -> int:
        """Return how many objects of a history need not be searched again: none once a reference has moved."""
        entry = self._begun.get(name_of("git\0" + repository), {})
        return int(entry.get("objects", 0)) if entry.get("heads") == heads else 0

    def reached_object(self, repository: str, heads: str, number: int) -> None:
        """Note that the first objects of a history were searched."""
        self._begun[name_of("git\0" + repository)] = {"heads": heads, "objects": number}
        self._save_sometimes()

    def _save_sometimes(self) -> None:
        if time.monotonic() - self._saved_at >= _SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write the file, whole or not at all."""
        document = {"version": VERSION, "done": self._done, "begun": self._begun}
        write_whole(self._path, json.dumps(document))
        self._saved_at = time.monotonic()


def name_of(source: str) -> str:
    """Return what a file is called in a file of ours: a digest of its path, which may itself hold a secret."""
    return hashlib.sha256(os.fsencode(os.path.abspath(source))).hexdigest()[:32]


def _stamp(source: str) -> list[int] | None:
    try:
        about = os.stat(source)
    except (OSError, ValueError):
        return None
    return [about.st_size, about.st_mtime_ns, about.st_ino]
