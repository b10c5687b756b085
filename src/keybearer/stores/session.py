"""One transaction as the shared SQL sees it: statements with ``?`` placeholders in, rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import time_ns
from typing import Any, Protocol

from ..core.instant import Instant

Row = Sequence[Any]


class Session(Protocol):
    """An open transaction, or one snapshot for reading.

    Every method raises ``InvalidInput`` for values that cannot be stored, ``Conflict`` for a broken constraint, and
    ``Unavailable`` for everything that the database could not do.
    """

    @property
    def for_update(self) -> str:
        """What a SELECT appends to lock its rows; empty where the transaction is the only writer."""
        ...

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Row]:
        """Return all rows."""
        ...

    async def fetch_one(self, statement: str, *arguments: Any) -> Row | None:
        """Return the only row, or ``None``."""
        ...

    async def execute(self, statement: str, *arguments: Any) -> int:
        """Return how many rows were touched."""
        ...

    async def execute_many(self, statement: str, rows: Iterable[Row]) -> None:
        """Execute a statement once per row of arguments."""
        ...

    def note_head(self, head: int) -> None:
        """Hear of the newest event that this transaction appended."""
        ...


Now = Callable[[], Instant]


def machine_now() -> Instant:
    """Return the time by the machine's clock, for stores that are not given another."""
    return Instant(time_ns() // 1000)


def padded(values: Sequence[str]) -> tuple[str, ...]:
    """Return the values repeated up to the next power of four, so that few distinct IN lists are ever prepared."""
    size = 1
    while size < len(values):
        size *= 4
    return (*values, *([values[-1]] * (size - len(values))))


def marks(count: int) -> str:
    """Return ``?, ?, …`` for an IN list."""
    return ", ".join("?" * count)
