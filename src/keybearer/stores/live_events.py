"""The newest events of the log at hand, for streams to guards: one follower of the store, however many follow it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

from ..ports import Event

AT_HAND: Final = 4096


class RecentEvents:
    """Implements ``ports.LiveEvents``. Written by ``CachedRecords``, in the event loop only."""

    def __init__(self, vouched_at: Callable[[], int | None]) -> None:
        self._vouched_at = vouched_at
        self._events: deque[Event] = deque(maxlen=AT_HAND)
        self._turn = asyncio.Event()
        self.head = 0
        self.start = 0
        self.is_closed = False

    @property
    def turn(self) -> asyncio.Event:
        """What is set at the next turn."""
        return self._turn

    def vouched_at(self) -> int | None:
        """Return when the database vouched for ``head``, ``None`` while the view is stale."""
        return self._vouched_at()

    def since(self, seq: int) -> tuple[Event, ...] | None:
        """Return the events behind ``seq``, ``None`` when they are not all at hand."""
        missing = self.head - seq
        if missing > len(self._events):
            return None
        return tuple(islice(self._events, len(self._events) - missing, None)) if missing > 0 else ()

    def append(self, event: Event) -> None:
        """Add the event that comes next, ``head + 1``."""
        self._events.append(event)
        self.head = event.seq

    def start_over(self, head: int) -> None:
        """Forget everything: the log is another one, or has a gap."""
        self._events.clear()
        self.head = head
        self.start += 1

    def wake(self) -> None:
        """Begin the next turn."""
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    def close(self) -> None:
        """Let everybody who follows go."""
        self.is_closed = True
        self.wake()
