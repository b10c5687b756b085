"""Logs watched live: what is found goes to the authority within a second or so, and nothing is lost on the way.

While the authority does not answer, findings wait in memory, up to a number; then reading waits too, since the logs
keep what is in them. Positions are written only when nothing waits, so that whoever is started again finds the rest
once more. The file of positions has digests and numbers, never a secret.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ..core.errors import ConfigurationError, KeybearerError
from .following import Follower, Position
from .reading import Reading
from .resuming import name_of
from .sightings import Matcher, Sighting, Trouble, Verdict
from .state_file import write_whole

MAX_WAITING: Final = 10_000
BATCH: Final = 500
LONGEST_WAIT: Final = 30.0
VERSION: Final = 1
OnFound = Callable[[Sighting, Verdict], None]
OnTrouble = Callable[[Trouble], None]


class Positions:
    """The file that says how far each log was read."""

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else Path(path)
        self._saved: Mapping[str, Any] = {}
        if self._path is not None and self._path.exists():
            try:
                document = json.loads(self._path.read_text("utf-8"))
                if document["version"] != VERSION:
                    raise ValueError("another version")
                self._saved = {name: asdict(Position(**entry)) for name, entry in document["logs"].items()}
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConfigurationError(f"{path} is no file of positions; delete it to begin anew.") from error

    def of(self, path: str) -> Position | None:
        """Return how far a log was read."""
        entry = self._saved.get(name_of(path))
        return None if entry is None else Position(**entry)

    def save(self, followers: Sequence[Follower]) -> None:
        """Write how far all were read, whole or not at all."""
        found = {name_of(one.path): asdict(at) for one in followers if (at := one.position()) is not None}
        if self._path is None or found == self._saved:
            return
        write_whole(self._path, json.dumps({"version": VERSION, "logs": found}))
        self._saved = found


class Watch:
    """Follows logs and has acted on what is found in them. ``turn`` again and again, then ``close``."""

    def __init__(
        self,
        paths: Sequence[str],
        reading: Reading,
        matcher: Matcher,
        positions: Positions,
        on_found: OnFound,
        on_trouble: OnTrouble,
        *,
        act: bool,
        from_start: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._followers = [Follower(path, reading, positions.of(path), from_start=from_start) for path in paths]
        self._matcher, self._positions, self._act, self._now = matcher, positions, act, now
        self._on_found, self._on_trouble = on_found, on_trouble
        self._waiting: list[Sighting] = []
        self._again_at = 0.0
        self._wait = 0.0

    @property
    def waiting(self) -> int:
        """How many findings the authority does not know yet."""
        return len(self._waiting)

    def turn(self) -> bool:
        """Read what is new, unless too much waits, and tell the authority; returns whether there is more to read."""
        for follower in self._followers:
            if len(self._waiting) >= MAX_WAITING:
                break
            for event in follower.poll():
                if isinstance(event, Trouble):
                    self._on_trouble(event)
                else:
                    self._waiting.append(event)
        if self._waiting and self._now() >= self._again_at:
            self._tell()
        if not self._waiting:
            self._positions.save(self._followers)
        return len(self._waiting) < MAX_WAITING and any(follower.is_behind for follower in self._followers)

    def close(self) -> None:
        """Try once more to tell what waits, and note how far everything was read."""
        if self._waiting:
            self._tell()
        if self._waiting:
            self._on_trouble(
                Trouble("authority", f"{len(self._waiting)} findings were not told; the next watch finds them again")
            )
        else:
            self._positions.save(self._followers)
        for follower in self._followers:
            follower.close()

    def _tell(self) -> None:
        while self._waiting:
            batch = self._waiting[:BATCH]
            try:
                verdicts = self._matcher.check(batch, act=self._act)
            except KeybearerError as error:
                self._wait = min(LONGEST_WAIT, max(1.0, self._wait * 2))
                self._again_at = self._now() + self._wait
                self._on_trouble(
                    Trouble(
                        "authority", f"{len(self._waiting)} findings wait, trying again in {self._wait:.0f} s: {error}"
                    )
                )
                return
            self._wait = self._again_at = 0.0
            del self._waiting[: len(batch)]
            for sighting, verdict in zip(batch, verdicts, strict=True):
                self._on_found(sighting, verdict)
