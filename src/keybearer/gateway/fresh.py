"""What the catalogue says now: at once while its view is fresh, else after catching up, else not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..ports import NotReady, Records

T = TypeVar("T")


async def fresh(records: Records, read: Callable[[], T]) -> T:
    """Return what ``read`` finds in a fresh view; raises ``Unavailable`` when the database does not answer."""
    while True:
        try:
            return read()
        except NotReady:
            await records.refresh()
