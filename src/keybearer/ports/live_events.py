"""The event log as this process has followed it: for those who follow it in turn, without asking the store for each."""

from __future__ import annotations

import asyncio
from typing import Protocol

from .store import Event


class LiveEvents(Protocol):
    """The newest events that this process has applied, and since when it knows that there are no others."""

    @property
    def head(self) -> int:
        """The ``seq`` of the newest event that was applied."""
        ...

    @property
    def start(self) -> int:
        """How often the view was started over; whoever saw another number knows nothing any more."""
        ...

    @property
    def turn(self) -> asyncio.Event:
        """Set as soon as there is something new to look at; each turn has another one, so take it before looking."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether this process comes to its end."""
        ...

    def vouched_at(self) -> int | None:
        """Return when the database vouched for ``head`` (monotonic nanoseconds), ``None`` while the view is stale."""
        ...

    def since(self, seq: int) -> tuple[Event, ...] | None:
        """Return the events behind ``seq``, ``None`` when they are not all at hand any more."""
        ...
