"""The credentials that a guard remembers, by the SHA-256 of what was presented, and what ends each of them.

Reading takes no lock: one look into a dictionary. A fill that is older than an event which was heard is not kept.
"""

from __future__ import annotations

import threading
from typing import Final

from ..core.errors import Rejected
from ..core.records import Take
from ..core.remembered import Remembered
from .caller import Caller
from .heard import Heard
from .rule import Rule

MAX_REFUSALS: Final = 10_000
REFUSAL_NS: Final = 1_000_000_000


class Entry:
    """One remembered credential. ``until`` is in nanoseconds since the epoch on the authority's clock.

    ``passed`` are the rules that it passed and will pass for as long as it stands: it has none where it is restricted,
    or where each use takes from a limit. ``seq`` is the event that it holds as of, and
    ``ask`` says that each use must be asked about. In a memory that
    is timed, ``touched_at`` is when something last happened to what it depends on (nanoseconds since the epoch).
    """

    __slots__ = ("ask", "caller", "depends_on", "passed", "remembered", "seq", "takes", "touched_at", "until")

    def __init__(
        self, caller: Caller, remembered: Remembered, depends_on: frozenset[str], takes: tuple[Take, ...], ask: bool
    ) -> None:
        self.caller = caller
        self.remembered = remembered
        self.depends_on = depends_on
        self.takes = takes
        self.ask = ask
        self.until = NEVER if remembered.until is None else remembered.until * 1000
        self.seq = 0
        self.touched_at = 0
        self.passed: set[Rule] = set()


NEVER: Final = 1 << 63


class Memory:
    """A bounded number of entries, and of refusals for a second."""

    def __init__(self, entries: int, *, is_timed: bool = False) -> None:
        self._most = entries
        self._is_timed = is_timed
        self._by_digest: dict[object, Entry] = {}
        self._by_subject: dict[str, set[object]] = {}
        self._refusals: dict[object, tuple[int, Rejected]] = {}
        self._lock = threading.Lock()
        self.find = self._by_digest.get

    def __len__(self) -> int:
        return len(self._by_digest)

    def keep(self, digest: object, entry: Entry, heard: Heard, seq: int) -> bool:
        """Keep an entry that holds as of event ``seq``, unless something was heard since (the stale-fill race)."""
        with self._lock:
            if self._most <= 0 or not heard.is_untouched(entry.depends_on, seq):
                return False
            self._forget(digest)
            while len(self._by_digest) >= self._most:
                self._forget(next(iter(self._by_digest)))
            entry.seq = seq
            if self._is_timed:
                entry.touched_at = heard.touched_at(entry.depends_on)
            self._by_digest[digest] = entry
            for subject in entry.depends_on:
                self._by_subject.setdefault(subject, set()).add(digest)
            return True

    def drop(self, subject: str, seq: int, at: int) -> None:
        """Forget what depends on a subject and does not hold as of event ``seq``, and all refusals."""
        with self._lock:
            for digest in tuple(self._by_subject.get(subject, ())):
                entry = self._by_digest[digest]
                if entry.seq < seq:
                    self._forget(digest)
                else:
                    entry.touched_at = max(entry.touched_at, at)
            self._refusals.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._by_digest.clear()
            self._by_subject.clear()
            self._refusals.clear()

    def _forget(self, digest: object) -> None:
        entry = self._by_digest.pop(digest, None)
        if entry is None:
            return
        for subject in entry.depends_on:
            digests = self._by_subject.get(subject)
            if digests is not None:
                digests.discard(digest)
                if not digests:
                    del self._by_subject[subject]

    # Refusals.

    def refusal(self, asked: object, now: int) -> Rejected | None:
        """Return what the very same question was refused with less than a second ago."""
        known = self._refusals.get(asked)
        return known[1] if known is not None and now < known[0] else None

    def note_refusal(self, asked: object, rejection: Rejected, now: int) -> None:
        """Remember a refusal for a second, or until anything happens."""
        with self._lock:
            if len(self._refusals) >= MAX_REFUSALS:
                self._refusals.clear()
            self._refusals[asked] = (now + REFUSAL_NS, rejection)
