"""The SQLite engine: one file, hot reads at once on the event loop, writes in groups that share an fsync."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from ..core.audit_chain import GENESIS
from ..core.errors import ConfigurationError, Unavailable
from ..core.records import KeyRecord, R
from ..core.tokens import AccessToken, TokenRecord
from ..ports import Clock, Event
from . import journal, migrations, recordkeeping, tokens
from .group_commit import GroupCommit
from .session import Session, padded
from .sql import PATIENCE_S, SqlStore
from .sqlite_session import SqliteSession, connect_reader, connect_writer, create_file, drive, is_busy, translated
from .storable import require_storable
from .tables import TABLES

T = TypeVar("T")

_MIGRATION_TIMEOUT_S: Final = 60.0
_OLDEST_SQLITE: Final = (3, 35, 0)
"""The first with RETURNING."""


class SqliteStore(SqlStore):
    """Fulfils ``ports.ImmediateStore``. The ``…_now`` methods belong to the thread that opened the store."""

    name: Final = "sqlite"

    def __init__(self, path: str | Path, audit_key: bytes, *, clock: Clock | None = None) -> None:
        super().__init__(audit_key, clock)
        self._path = Path(path)
        self._writer: GroupCommit | None = None
        self._hot: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._cold: sqlite3.Connection | None = None
        self._cold_thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Migrate, start the writer, and open one connection for hot reads and one for long ones."""
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or later is needed.")
        try:
            await asyncio.to_thread(self._migrate)
            self._writer = GroupCommit(self._path, self.on_commit)
            self._hot = connect_reader(self._path)
            self._cursor = self._hot.cursor()
            self._cold = connect_reader(self._path)
        except sqlite3.Error as error:
            raise translated(error) from error
        self._cold_thread = ThreadPoolExecutor(1, thread_name_prefix="keybearer-sqlite-reader")

    async def close(self) -> None:
        """Finish what was accepted, then close all connections, the writer's last."""
        if self._cold_thread is not None:
            await asyncio.to_thread(self._cold_thread.shutdown)
            self._cold_thread = None
        self._cursor = None
        for connection in (self._cold, self._hot):
            if connection is not None:
                connection.close()
        self._cold = self._hot = None
        if self._writer is not None:
            await self._writer.stop()
            self._writer = None

    # Hot reads, on the event loop's thread

    def find_now(self, key_id: str) -> KeyRecord | None:
        """Return a key with all it depends on, and the head."""
        require_storable((key_id,), "key_id")
        try:
            row = self._hot_cursor().execute(recordkeeping.FIND, (key_id,)).fetchone()
        except sqlite3.Error as error:
            raise translated(error) from error
        return None if row is None else recordkeeping.joined(row)

    def find_foreign_now(self, lookups: Sequence[str]) -> KeyRecord | None:
        """Return the imported key whose lookup is one of these."""
        if not lookups:
            return None
        require_storable(lookups, "lookups")
        asked = padded(lookups)
        try:
            rows = self._hot_cursor().execute(recordkeeping.find_foreign_statement(len(asked)), asked).fetchall()
        except sqlite3.Error as error:
            raise translated(error) from error
        return recordkeeping.first_joined(rows, lookups)

    def find_token_now(self, token_id: str, claimed: AccessToken | None = None) -> TokenRecord | None:
        """Return an access token with all it depends on, and the head."""
        statement, arguments = tokens.question(token_id, claimed)
        require_storable(arguments, "token")
        try:
            row = self._hot_cursor().execute(statement, arguments).fetchone()
        except sqlite3.Error as error:
            raise translated(error) from error
        if row is None:
            return None
        key_id = tokens.key_id_of(row, claimed)
        return tokens.joined(row, claimed, None if key_id is None else self.find_now(key_id))

    def get_now(self, kind: type[R], record_id: str) -> R:
        """Return a record; raises ``NotFound``."""
        require_storable((record_id,), "id")
        table = TABLES[kind]
        try:
            row = self._hot_cursor().execute(table.get, (record_id,)).fetchone()
        except sqlite3.Error as error:
            raise translated(error) from error
        return recordkeeping.found(kind, record_id, row)

    def head_now(self) -> int:
        """Return the sequence of the newest event."""
        try:
            row = self._hot_cursor().execute(journal.READ_HEAD).fetchone()
        except sqlite3.Error as error:
            raise translated(error) from error
        return int(row[0])

    def events_now(self, after: int, limit: int = 1000) -> tuple[Event, ...]:
        """Return events in order, without gaps."""
        require_storable((after, limit))
        try:
            rows = self._hot_cursor().execute(journal.READ_EVENTS, (after, limit)).fetchall()
        except sqlite3.Error as error:
            raise translated(error) from error
        return tuple(journal.event(row) for row in rows)

    async def find(self, key_id: str) -> KeyRecord | None:
        """Return a key with all it depends on, and the head."""
        return self.find_now(key_id)

    async def find_foreign(self, lookups: Sequence[str]) -> KeyRecord | None:
        """Return the imported key whose lookup is one of these."""
        return self.find_foreign_now(lookups)

    async def get(self, kind: type[R], record_id: str) -> R:
        """Return a record."""
        return self.get_now(kind, record_id)

    async def find_token(self, token_id: str, claimed: AccessToken | None = None) -> TokenRecord | None:
        """Return an access token with all it depends on, and the head."""
        return self.find_token_now(token_id, claimed)

    async def head(self) -> int:
        """Return the sequence of the newest event."""
        return self.head_now()

    async def events(self, after: int, limit: int = 1000) -> tuple[Event, ...]:
        """Return events in order, without gaps."""
        return self.events_now(after, limit)

    def _hot_cursor(self) -> sqlite3.Cursor:
        if self._cursor is None:
            raise Unavailable("The store is closed.")
        return self._cursor

    # How reads and transactions run

    async def _read(self, ask: Callable[[Session], Awaitable[T]], patience: float = PATIENCE_S) -> T:
        if self._cold is None or self._cold_thread is None:
            raise Unavailable("The store is closed.")
        session = SqliteSession(self._cold)
        return await asyncio.get_running_loop().run_in_executor(self._cold_thread, drive, ask, session)

    async def _write(self, work: Callable[[Session], Awaitable[T]]) -> T:
        if self._writer is None:
            raise Unavailable("The store is closed.")
        return await self._writer.submit(work)

    # The schema

    def _migrate(self) -> None:
        """Bring the file to the newest schema; several processes may do so at once, and one of them will."""
        create_file(self._path)
        with contextlib.closing(connect_writer(self._path)) as connection:
            deadline = time.monotonic() + _MIGRATION_TIMEOUT_S
            while True:
                try:
                    # Turning the log on needs the whole file, and does not wait for it: hence the loop.
                    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                        connection.execute("PRAGMA journal_mode = WAL")
                    connection.execute("BEGIN IMMEDIATE")
                    break
                except sqlite3.OperationalError as error:
                    if not is_busy(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
            try:
                self._apply(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.execute("COMMIT")

    def _apply(self, connection: sqlite3.Connection) -> None:
        connection.execute(migrations.CREATE_VERSION_TABLE)
        current = connection.execute(migrations.READ_VERSION).fetchone()[0]
        for version in migrations.pending(current):
            for statement in migrations.statements(version, for_sqlite=True):
                connection.execute(statement)
            if version == 1:
                connection.execute(migrations.FIRST_HEADS, (GENESIS,))
            connection.execute(migrations.WRITE_VERSION, (version, self._now()))
