"""Connections to a SQLite file, sessions over them, and what SQLite's errors mean here."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from ..core.errors import Conflict, KeybearerError, Unavailable
from . import journal
from .session import MOST_REPEATED, Happening, Ready, Row, repeated
from .storable import require_storable

T = TypeVar("T")

CACHED_STATEMENTS: Final = 256
_PAGE_CACHE_KIB: Final = 4096
_OPEN_BUSY_TIMEOUT_S: Final = 5.0
_READ_BUSY_TIMEOUT_S: Final = 0.25
"""Readers never wait for writers; only another process that opens, closes or recovers the file can hold them up."""
_BUSY: Final = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL))


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another process holds the lock, so that trying again helps."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in _BUSY


def translated(error: sqlite3.Error) -> KeybearerError:
    """Return what an error of SQLite means to the caller: a clash, or that the store cannot answer."""
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    detail = f"{name}: {error}"
    if isinstance(error, sqlite3.IntegrityError):
        if name == "SQLITE_CONSTRAINT_FOREIGNKEY":
            return Conflict("A record that this one refers to is missing, or others refer to it.", detail=detail)
        return Conflict("The change clashes with a record that exists.", detail=detail)
    return Unavailable("The database cannot answer.", detail=detail)


def create_file(path: Path) -> None:
    """Create the database file for its owner alone, and make its name durable."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise Unavailable("The database file cannot be opened.", detail=str(error)) from error


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the connection that writes: each commit is on disk before it returns. When to checkpoint, the caller
    says."""
    connection = sqlite3.connect(
        path,
        timeout=_OPEN_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )
    for pragma in (
        "synchronous = FULL",
        "foreign_keys = ON",
        "wal_autocheckpoint = 0",
        f"cache_size = -{_PAGE_CACHE_KIB}",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that can only read."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=_READ_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )
    connection.execute(f"PRAGMA cache_size = -{_PAGE_CACHE_KIB}")
    connection.execute("PRAGMA query_only = ON")
    return connection


class SqliteSession:
    """Fulfils ``Session`` over one connection. Its coroutines never wait."""

    __slots__ = ("_connection", "head")

    for_update = ""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.head = 0

    def _prepare(self, statement: str) -> None:
        """Do what must come before a statement."""

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Row]:
        """Return all rows."""
        require_storable(arguments)
        self._prepare(statement)
        try:
            return self._connection.execute(statement, arguments).fetchall()
        except sqlite3.Error as error:
            raise translated(error) from error

    async def fetch_one(self, statement: str, *arguments: Any) -> Row | None:
        """Return the only row, or ``None``. All rows are read, so that no statement stays open."""
        rows = await self.fetch(statement, *arguments)
        return rows[0] if rows else None

    async def execute(self, statement: str, *arguments: Any) -> int:
        """Return how many rows were touched."""
        require_storable(arguments)
        self._prepare(statement)
        try:
            return self._connection.execute(statement, arguments).rowcount
        except sqlite3.Error as error:
            raise translated(error) from error

    async def execute_many(self, statement: str, rows: Iterable[Row]) -> None:
        """Execute a statement once per row."""
        rows = list(rows)
        require_storable(chain.from_iterable(rows))
        self._prepare(statement)
        try:
            self._add(statement, rows)
        except sqlite3.Error as error:
            raise translated(error) from error

    def _add(self, statement: str, rows: Sequence[Row]) -> int:
        """Execute a statement for every row, many at a time where it is a plain INSERT; return how many it touched.

        Each step of a statement gives Python's lock away and takes it back, which costs more than to add a row.
        """
        done = touched = 0
        while done < len(rows):
            size = min(MOST_REPEATED, 1 << (len(rows) - done).bit_length() - 1)
            many = repeated(statement, size)
            if many is None:
                return self._connection.executemany(statement, rows).rowcount
            arguments = rows[done] if size == 1 else list(chain.from_iterable(rows[done : done + size]))
            touched += self._connection.execute(many, arguments).rowcount
            done += size
        return touched

    async def insert(self, statement: str, row: Row) -> bool:
        """Add a row; false when it clashes."""
        return bool(await self.execute(statement, *row))

    async def log(self, audit_key: bytes, events: Sequence[Happening], audits: Sequence[Ready]) -> None:
        """Append to the logs."""
        await journal.write(self, audit_key, events, audits)

    def note_head(self, head: int) -> None:
        """Hear of the newest event."""
        self.head = max(self.head, head)


async def _awaited(ask: Callable[[SqliteSession], Awaitable[T]], session: SqliteSession) -> T:
    return await ask(session)


def drive(ask: Callable[[SqliteSession], Awaitable[T]], session: SqliteSession) -> T:
    """Run a coroutine to its end without an event loop; raises ``RuntimeError`` when it waits for anything else."""
    coroutine = _awaited(ask, session)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a unit of work may wait for nothing but the store")
