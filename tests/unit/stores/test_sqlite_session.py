"""Driving a coroutine without a loop, what SQLite's errors mean, and placeholders for PostgreSQL."""

import asyncio
import sqlite3

import pytest

from keybearer.core.errors import Conflict, Unavailable
from keybearer.stores.postgresql_session import numbered
from keybearer.stores.session import padded
from keybearer.stores.sqlite_session import SqliteSession, drive, is_busy, translated


@pytest.fixture
def session() -> SqliteSession:
    return SqliteSession(sqlite3.connect(":memory:", isolation_level=None))


def test_a_coroutine_is_driven_to_its_end(session: SqliteSession) -> None:
    async def ask(session: SqliteSession) -> int:
        await session.execute("CREATE TABLE t (n INTEGER UNIQUE)")
        await session.execute_many("INSERT INTO t VALUES (?)", [(1,), (2,)])
        row = await session.fetch_one("SELECT SUM(n) FROM t WHERE n > ?", 0)
        assert row is not None
        return int(row[0])

    assert drive(ask, session) == 3


def test_waiting_is_a_mistake_that_is_told(session: SqliteSession) -> None:
    cleaned_up = []

    async def ask(session: SqliteSession) -> None:
        try:
            await asyncio.sleep(0)
        finally:
            cleaned_up.append(True)

    with pytest.raises(RuntimeError, match="nothing but the store"):
        drive(ask, session)
    assert cleaned_up == [True]


def test_errors_are_translated(session: SqliteSession) -> None:
    async def clash(session: SqliteSession) -> None:
        await session.execute("CREATE TABLE t (n INTEGER UNIQUE)")
        await session.execute_many("INSERT INTO t VALUES (?)", [(1,), (1,)])

    async def nonsense(session: SqliteSession) -> None:
        await session.fetch("SELECT nonsense")

    with pytest.raises(Conflict) as conflict:
        drive(clash, session)
    assert "UNIQUE" in (conflict.value.detail or "")
    assert "UNIQUE" not in conflict.value.public, "the public is told nothing of tables"
    with pytest.raises(Unavailable):
        drive(nonsense, session)


def test_busy_is_told_apart() -> None:
    error = sqlite3.OperationalError("database is locked")
    assert not is_busy(error), "only the code counts"
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY_SNAPSHOT
    assert is_busy(error)
    assert isinstance(translated(error), Unavailable)


def test_placeholders_are_numbered() -> None:
    assert numbered("SELECT ? WHERE a = ? AND b IN (?, ?)") == "SELECT $1 WHERE a = $2 AND b IN ($3, $4)"


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 4), (4, 4), (5, 16), (100, 256)])
def test_lists_are_padded_to_few_sizes(count: int, size: int) -> None:
    values = [str(number) for number in range(count)]
    asked = padded(values)
    assert len(asked) == size
    assert set(asked) == set(values)
