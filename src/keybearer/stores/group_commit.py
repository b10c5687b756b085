"""Group commit: one thread writes, and all works that wait share one transaction and one fsync.

A work that raises takes back only itself (see ``sqlite_shared.py``), and a batch in which works clash is run again with
each insert done at once, so that each work hears exactly what it would have heard alone. Nobody hears of success before
COMMIT has returned, and when COMMIT fails everybody of the batch hears ``Unavailable``, also those who were refused:
what they were refused for may not exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

from ..core.errors import Unavailable
from .sqlite_session import SqliteSession, connect_writer, drive, is_busy, translated
from .sqlite_shared import SharedSession

T = TypeVar("T")
Ask = Callable[[SqliteSession], Awaitable[Any]]

log = logging.getLogger(__name__)

MAX_WAITING: Final = 10_000
MAX_BATCH: Final = 512
LOCK_TIMEOUT_S: Final = 5.0
CHECKPOINT_WHEN_IDLE: Final = 8_000
"""After so many changed rows, the log is copied into the database as soon as nobody waits…"""
CHECKPOINT_ALWAYS: Final = 30_000
"""…and after so many in any case, after the batch was answered. Bounds the write-ahead log to tens of megabytes."""


class Waiting(NamedTuple):
    """A work and the future of its caller."""

    ask: Ask
    future: asyncio.Future[Any]


class Outcome(NamedTuple):
    """What a caller is told: a value, or why not."""

    future: asyncio.Future[Any]
    value: Any
    error: BaseException | None


class GroupCommit:
    """The writer thread of one process. ``submit`` belongs to the event loop it was started on."""

    def __init__(self, path: Path, on_commit: Callable[[int], None] | None) -> None:
        self._path = path
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._arrived: list[Waiting] = []
        self._queue: SimpleQueue[list[Waiting] | None] = SimpleQueue()
        self._waiting = 0
        self._stopping = False
        self._connection: sqlite3.Connection | None = self._connect()
        self._identity = self._file_identity()
        self._copied = 0  # of the connection's changes, those that a checkpoint has seen
        self._thread = threading.Thread(target=self._run, name="keybearer-sqlite-writer", daemon=True)
        self._thread.start()

    async def submit(self, ask: Callable[[SqliteSession], Awaitable[T]]) -> T:
        """Run a work in the next batch and return after it is durable."""
        if self._stopping:
            raise Unavailable("The store is closed.")
        if self._waiting >= MAX_WAITING:
            raise Unavailable("Too many writes are waiting.")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting += 1
        if not self._arrived:
            # Works that arrive in the same round of the loop go together: one wake-up, and no batch of one before.
            self._loop.call_soon(self._hand_over)
        self._arrived.append(Waiting(ask, future))
        return await future

    async def stop(self) -> None:
        """Finish what was accepted and end the thread."""
        if not self._stopping:
            self._stopping = True
            self._hand_over()
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # The event loop's side

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        for first in range(0, len(arrived), MAX_BATCH):
            self._queue.put(arrived[first : first + MAX_BATCH])

    def _settle(self, outcomes: list[Outcome]) -> None:
        self._waiting -= len(outcomes)
        for future, value, error in outcomes:
            if future.done():  # its caller was cancelled
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    # The thread's side

    def _run(self) -> None:
        stopped = False
        while not stopped:
            batch: list[Waiting] = []
            arrived = self._queue.get()
            with contextlib.suppress(Empty):
                while arrived is not None:
                    batch += arrived
                    if len(batch) >= MAX_BATCH:
                        break
                    arrived = self._queue.get_nowait()
            stopped = arrived is None
            if batch:
                self._answer(self._commit(batch))
                self._checkpoint_when_due()
        if self._connection is not None:
            self._connection.close()

    def _answer(self, outcomes: list[Outcome]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._settle, outcomes)

    def _commit(self, batch: list[Waiting]) -> list[Outcome]:
        """Run a batch in one transaction and return what to tell its callers."""
        try:
            connection = self._begin()
            session = SharedSession(connection, keeping=True)
            outcomes = self._attempt(session, batch)
            if session.is_spoilt:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                connection = self._begin()
                session = SharedSession(connection, keeping=False)
                outcomes = self._attempt(session, batch)
            connection.execute("COMMIT")
        except Exception as error:
            self._abandon()
            reason = translated(error) if isinstance(error, sqlite3.Error) else error
            if not isinstance(reason, Unavailable):
                log.exception("the writer of the store failed")
                reason = Unavailable("The write failed.", detail=repr(error))
            return [Outcome(work.future, None, reason) for work in batch]
        if session.head and self._on_commit is not None:
            try:
                self._on_commit(session.head)
            except Exception:
                log.exception("the commit hook failed")
        return outcomes

    def _attempt(self, session: SharedSession, batch: list[Waiting]) -> list[Outcome]:
        """Run the works of a batch one by one; raises only when the whole transaction is lost."""
        outcomes = []
        for ask, future in batch:
            session.start()
            try:
                outcome = Outcome(future, drive(ask, session), None)
            except BaseException as error:
                outcome = Outcome(future, None, error)
                session.undo()
            else:
                session.keep()
            if session.is_spoilt:
                break
            outcomes.append(outcome)
        session.finish()
        return outcomes

    def _connect(self) -> sqlite3.Connection:
        connection = connect_writer(self._path)
        connection.execute("PRAGMA busy_timeout = 0")  # `_begin` waits by itself
        return connection

    def _begin(self) -> sqlite3.Connection:
        """Take the write lock, which other processes want too; raises ``Unavailable`` when it cannot be had in time."""
        if self._connection is None:
            self._connection, self._copied = self._connect(), 0
            self._identity = self._file_identity()
        elif self._file_identity() != self._identity:
            # SQLite would go on writing to a file that has no name any more, and call it durable.
            raise Unavailable("The database file was removed or replaced.")
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise
                # SQLite's own waiting grows to 100 ms; short random naps share the lock far more evenly.
                time.sleep(random.uniform(0.000_2, 0.002))  # noqa: S311
            else:
                return self._connection

    def _abandon(self) -> None:
        """Let go of a connection that failed; the next batch opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _file_identity(self) -> tuple[int, int]:
        try:
            status = os.stat(self._path)
        except OSError as error:
            raise Unavailable("The database file is gone.", detail=str(error)) from error
        return status.st_dev, status.st_ino

    def _checkpoint_when_due(self) -> None:
        """Copy the write-ahead log into the database, after the callers were answered and best when nobody waits."""
        if self._connection is None:
            return
        changes = self._connection.total_changes
        if changes - self._copied < (CHECKPOINT_WHEN_IDLE if self._queue.empty() else CHECKPOINT_ALWAYS):
            return
        self._copied = changes
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            log.warning("a checkpoint failed: %s", error)  # the log keeps everything; the next one tries again
