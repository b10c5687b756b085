"""One SQLite transaction that many works share: what each of them only adds is kept, and written for all at once.

A work that did nothing but add is undone by forgetting it. Before a work does anything else, what was kept so far is
written, and a savepoint is set for that work alone. So most works need neither statements nor savepoints of their own.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence

from ..core.errors import Unavailable
from . import journal
from .session import Happening, Ready, Row
from .sqlite_session import SqliteSession, drive
from .storable import require_storable


class SharedSession(SqliteSession):
    """Fulfils ``Session`` for one work after another: ``start``, then ``keep`` or ``undo``, and ``finish`` at the end.

    An insert that was kept is taken to succeed. When it turns out that one did not, ``is_spoilt`` is true: then the
    whole transaction must be rolled back, and its works run again without ``keeping``, so that each gets its own
    answer.
    """

    __slots__ = (
        "_audit_key",
        "_audits",
        "_before_audits",
        "_before_events",
        "_before_rows",
        "_events",
        "_has_savepoint",
        "_keeping",
        "_rows",
        "_statement",
        "is_spoilt",
    )

    def __init__(self, connection: sqlite3.Connection, *, keeping: bool) -> None:
        super().__init__(connection)
        self._keeping = keeping
        self._statement = ""
        self._rows: list[Row] = []
        self._events: list[Happening] = []
        self._audits: list[Ready] = []
        self._audit_key = b""
        self._before_rows = self._before_events = self._before_audits = 0
        self._has_savepoint = False
        self.is_spoilt = False

    # One work

    def start(self) -> None:
        """Begin a work."""
        self._before_rows, self._before_events = len(self._rows), len(self._events)
        self._before_audits = len(self._audits)
        self._has_savepoint = False

    def keep(self) -> None:
        """End a work that succeeded."""
        if self._has_savepoint and not self.is_spoilt:
            self._connection.execute("RELEASE work")

    def undo(self) -> None:
        """Take back what a work did; raises ``Unavailable`` when SQLite has rolled back the whole transaction."""
        if len(self._rows) > self._before_rows:
            # It may have raised because an insert that should have clashed did not yet.
            with contextlib.suppress(Unavailable):
                self._prepare("")
        if self.is_spoilt:
            return
        if not self._connection.in_transaction:  # a full disk can do that
            raise Unavailable("The database gave up the transaction.")
        if self._has_savepoint:
            self._connection.execute("ROLLBACK TO work")
            self._connection.execute("RELEASE work")
        del self._events[self._before_events :]
        del self._audits[self._before_audits :]

    def finish(self) -> None:
        """Write all that was kept, the logs last, unless the transaction is spoilt, which it may also be after this."""
        if not self.is_spoilt and self._write(len(self._rows)) and (self._events or self._audits):
            plain = SqliteSession(self._connection)
            drive(lambda session: journal.write(session, self._audit_key, self._events, self._audits), plain)
            self.head = plain.head

    # What a work adds

    async def insert(self, statement: str, row: Row) -> bool:
        """Add a row, at the latest when the transaction ends."""
        if not self._keeping:
            return bool(await self.execute(statement, *row))
        require_storable(row)
        if statement != self._statement:
            if self._rows:
                self._prepare(statement)
            self._statement = statement
        self._rows.append(row)
        return True

    async def log(self, audit_key: bytes, events: Sequence[Happening], audits: Sequence[Ready]) -> None:
        """Append to the logs, when the transaction ends."""
        self._audit_key = audit_key
        self._events += events
        self._audits += audits

    # Everything else

    def _prepare(self, statement: str) -> None:
        """Write what was kept, so that the statement sees it, and set the savepoint that it needs."""
        if not self._has_savepoint and self._write(self._before_rows):
            if not self._rows and statement.startswith("SELECT"):
                return
            self._connection.execute("SAVEPOINT work")
            self._has_savepoint = True
        if self.is_spoilt or not self._write(len(self._rows)):
            raise Unavailable("The transaction is run again.")

    def _write(self, count: int) -> bool:
        """Write the first ``count`` of the rows that were kept; false when that spoils the transaction."""
        if not count:
            return True
        rows, self._rows = self._rows[:count], self._rows[count:]
        self._before_rows = max(0, self._before_rows - count)
        try:
            added = self._add(self._statement, rows)
        except sqlite3.Error:
            added = -1
        self.is_spoilt = added != count  # by whose row, running the works one by one will tell
        return not self.is_spoilt
