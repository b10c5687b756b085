"""The event log as consumers follow it: dense, so that a gap shows."""

from __future__ import annotations

from typing import Final

from ..core.errors import InvalidInput
from ..wire.base import moment
from ..wire.listing import EventFeed, EventView
from .authority import Authority, Caller

READ: Final = "keybearer:events.read"
MAX_EVENTS: Final = 1000


async def feed(authority: Authority, caller: Caller, after: int, limit: int = MAX_EVENTS) -> EventFeed:
    """Return the events behind ``after``; only keys of the authority's own project may follow what all projects do."""
    caller.need_everything(READ)
    if not 1 <= limit <= MAX_EVENTS:
        raise InvalidInput.of("limit", f"must lie between 1 and {MAX_EVENTS}")
    if not 0 <= after < 2**62:
        raise InvalidInput.of("after", "must be the seq of an event, or 0")
    items = await authority.store.events(after, limit)
    head = await authority.store.head()
    return EventFeed(head, [EventView(event.seq, moment(event.at), event.type, event.subject) for event in items])
