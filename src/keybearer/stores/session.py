"""One transaction as the shared SQL sees it: statements with ``?`` placeholders in, rows out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from time import time_ns
from typing import Any, Final, NamedTuple, Protocol

from ..core.audit_chain import AuditDraft
from ..core.instant import Instant

Row = Sequence[Any]


class Happening(NamedTuple):
    """An event that has no place in the log yet."""

    at: Instant
    type: str
    subject: str


class Ready(NamedTuple):
    """An audit entry that has no place in the chain yet: as it will be read back, and its details as JSON."""

    draft: AuditDraft
    details: str

    @property
    def columns(self) -> Row:
        """What stands in its row between ``seq`` and ``digest``."""
        draft = self.draft
        return (
            *(draft.at, draft.actor, draft.action, draft.target, draft.outcome, draft.project_id),
            *(draft.source, draft.request_id, self.details),
        )


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

    async def insert(self, statement: str, row: Row) -> bool:
        """Add a row by a statement that does nothing when the row clashes; false when it did nothing.

        The row may be written later, but not later than any other statement runs, or the transaction ends.
        """
        ...

    async def log(self, audit_key: bytes, events: Sequence[Happening], audits: Sequence[Ready]) -> None:
        """Append to the logs; may come last in the transaction, after all other works that share it."""
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


MOST_REPEATED: Final = 64
_VALUES: Final = re.compile(r"VALUES (\(\?(?:, \?)*\))")


@lru_cache(256)
def repeated(statement: str, count: int) -> str | None:
    """Return an INSERT of one row as one of ``count`` rows; ``None`` when its values are more than plain marks."""
    match = _VALUES.search(statement)
    if match is None:
        return None
    return f"{statement[: match.start(1)]}{', '.join([match[1]] * count)}{statement[match.end(1) :]}"
