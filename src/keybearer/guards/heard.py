"""What was heard of the event log: which event was the last about each subject, as far back as that is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MAX_SUBJECTS: Final = 20_000


class Heard:
    """The last event about each subject. ``known_from`` is the event since which all are known.

    ``known_since`` is the same as a time of the authority's (nanoseconds since the epoch), ``None`` while unknown.
    Written by one thread, read by all.
    """

    def __init__(self) -> None:
        self.applied = 0
        self.known_from = 0
        self.known_since: int | None = None
        self._last: dict[str, tuple[int, int]] = {}

    def start_over(self, head: int) -> None:
        """Forget everything: nothing is known of what came before ``head``."""
        self._last = {}
        self.applied = self.known_from = head
        self.known_since = None

    def note(self, seq: int, at: int, subject: str) -> None:
        """Note the event that comes next; ``at`` is in nanoseconds since the epoch."""
        if len(self._last) >= MAX_SUBJECTS:
            self._forget_half()
        self._last[subject] = (seq, at)
        self.applied = seq

    def is_untouched(self, subjects: Iterable[str], seq: int) -> bool:
        """Tell whether nothing was heard about any of these behind event ``seq``."""
        if seq < self.known_from:
            return False
        known = self._last.get
        for subject in subjects:  # a loop: it is half as dear as a generator
            found = known(subject)
            if found is not None and found[0] > seq:
                return False
        return True

    def is_untouched_since(self, subjects: Iterable[str], at: int) -> bool:
        """Tell whether nothing happened to any of these from a time on, and all that happened since is known."""
        if self.known_since is None or at < self.known_since:
            return False
        known = self._last.get
        for subject in subjects:
            found = known(subject)
            if found is not None and found[1] >= at:
                return False
        return True

    def touched_at(self, subjects: Iterable[str]) -> int:
        """Return when something last happened to one of these, 0 where that is not known."""
        last = self._last
        return max((last.get(subject, (0, 0))[1] for subject in subjects), default=0)

    def _forget_half(self) -> None:
        by_age = sorted(self._last.items(), key=lambda item: item[1][0])
        half = len(by_age) // 2
        seq = max(one[0] for _, one in by_age[:half])
        at = max(one[1] for _, one in by_age[:half])
        self._last = dict(by_age[half:])
        self.known_from = max(self.known_from, seq)
        if self.known_since is not None:
            self.known_since = max(self.known_since, at + 1)
