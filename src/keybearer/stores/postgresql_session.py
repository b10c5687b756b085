"""Sessions over a PostgreSQL connection, and what PostgreSQL's errors mean here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

import asyncpg

from ..core.errors import ConfigurationError, Conflict, InvalidInput, KeybearerError, Unavailable
from . import journal
from .session import Happening, Ready, Row
from .storable import require_storable

FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""Whatever can come out of the driver."""

_TRY_AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError)
_MISCONFIGURED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


class TryAgain(Exception):
    """The transaction lost against another one; nothing was written, and running it again may succeed."""


@lru_cache(1024)
def numbered(statement: str) -> str:
    """Return the statement with ``$1, $2, …`` for its ``?`` marks."""
    numbers = count(1)
    return "".join(f"${next(numbers)}" if character == "?" else character for character in statement)


def translated(error: BaseException) -> Exception:
    """Return what an error of the driver means to the caller."""
    if isinstance(error, KeybearerError | TryAgain):
        return error
    detail = f"{type(error).__name__}: {error}"
    if isinstance(error, _TRY_AGAIN):
        return TryAgain(detail)
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return Conflict("A record that this one refers to is missing, or others refer to it.", detail=detail)
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return Conflict("The change clashes with a record that exists.", detail=detail)
    if isinstance(error, asyncpg.DataError):
        return InvalidInput.of("text", "cannot be stored")
    return Unavailable("The database cannot answer.", detail=detail)


def translated_at_start(error: BaseException) -> Exception:
    """Like :func:`translated`, but wrong credentials and names are the operator's to mend."""
    if isinstance(error, _MISCONFIGURED):
        return ConfigurationError(f"PostgreSQL refuses the connection: {error}")
    return translated(error)


class PostgresqlSession:
    """Fulfils ``Session`` over one connection."""

    __slots__ = ("_connection", "head")

    for_update = " FOR UPDATE"

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.head = 0

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Row]:
        """Return all rows."""
        require_storable(arguments)
        try:
            rows: Sequence[Row] = await self._connection.fetch(numbered(statement), *arguments)
        except FAILURES as error:
            raise translated(error) from error
        return rows

    async def fetch_one(self, statement: str, *arguments: Any) -> Row | None:
        """Return the only row, or ``None``."""
        rows = await self.fetch(statement, *arguments)
        return rows[0] if rows else None

    async def execute(self, statement: str, *arguments: Any) -> int:
        """Return how many rows were touched."""
        require_storable(arguments)
        try:
            status: str = await self._connection.execute(numbered(statement), *arguments)
        except FAILURES as error:
            raise translated(error) from error
        return int(status.rpartition(" ")[2])

    async def insert(self, statement: str, row: Row) -> bool:
        """Add a row; false when it clashes."""
        return bool(await self.execute(statement, *row))

    async def log(self, audit_key: bytes, events: Sequence[Happening], audits: Sequence[Ready]) -> None:
        """Append to the logs."""
        await journal.write(self, audit_key, events, audits)

    async def execute_many(self, statement: str, rows: Iterable[Row]) -> None:
        """Execute a statement once per row."""
        rows = list(rows)
        for row in rows:
            require_storable(row)
        try:
            if len(rows) == 1:
                await self._connection.execute(numbered(statement), *rows[0])
            else:
                await self._connection.executemany(numbered(statement), rows)
        except FAILURES as error:
            raise translated(error) from error

    def note_head(self, head: int) -> None:
        """Hear of the newest event."""
        self.head = max(self.head, head)
