"""Driving a coroutine without a loop, what SQLite's errors mean, and placeholders for PostgreSQL."""

import asyncio
import sqlite3

import pytest

from keybearer.core.errors import Conflict, Unavailable
from keybearer.stores.postgresql_session import numbered
from keybearer.stores.session import padded, repeated
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


@pytest.mark.parametrize("count", [0, 1, 2, 3, 63, 64, 65, 200])
def test_many_rows_are_added_whole_and_in_order(session: SqliteSession, count: int) -> None:
    async def ask(session: SqliteSession) -> list[int]:
        await session.execute("CREATE TABLE t (n INTEGER, s TEXT, UNIQUE (n))")
        await session.execute_many(
            "INSERT INTO t (n, s) VALUES (?, ?) ON CONFLICT (n) DO NOTHING", [(n, f"{n}") for n in range(count)]
        )
        rows = await session.fetch("SELECT n, s FROM t ORDER BY rowid")
        assert all(str(n) == s for n, s in rows)
        return [n for n, _ in rows]

    assert drive(ask, session) == list(range(count))


def test_only_inserts_of_plain_values_are_repeated() -> None:
    assert repeated("INSERT INTO t VALUES (?, ?) ON CONFLICT DO NOTHING", 2) == (
        "INSERT INTO t VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING"
    )
    assert repeated("INSERT INTO t VALUES (?, ? + 1)", 2) is None
    assert repeated("UPDATE t SET a = ? WHERE b = ?", 2) is None
