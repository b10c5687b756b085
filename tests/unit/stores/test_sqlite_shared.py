"""A transaction that works share: what a work logged goes with it when it is undone."""

import sqlite3
from collections.abc import Iterator

import pytest

from keybearer.core.audit_chain import GENESIS, AuditDraft
from keybearer.core.errors import InvalidInput
from keybearer.core.instant import Instant
from keybearer.stores import journal, migrations
from keybearer.stores.session import Session
from keybearer.stores.sqlite_session import drive
from keybearer.stores.sqlite_shared import SharedSession

NOW = Instant(1_700_000_000_000_000)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for version in migrations.pending(0):
        for statement in migrations.statements(version, for_sqlite=True):
            connection.execute(statement)
    connection.execute(migrations.FIRST_HEADS, (GENESIS,))
    connection.execute("BEGIN")
    yield connection
    connection.close()


async def log(session: Session, target: str) -> None:
    drafts = [AuditDraft(NOW, "test", "key.create", target)]
    await journal.append(session, b"k" * 32, [("key.create", target)], drafts, NOW)


def test_what_an_undone_work_logged_is_undone(connection: sqlite3.Connection) -> None:
    session = SharedSession(connection, keeping=True)
    for target, is_kept in (("a", True), ("b", False), ("c", True)):
        session.start()
        drive(lambda session, target=target: log(session, target), session)  # type: ignore[misc]
        session.keep() if is_kept else session.undo()
    session.finish()
    assert connection.execute("SELECT seq, subject FROM events").fetchall() == [(1, "a"), (2, "c")]
    assert connection.execute("SELECT seq, target FROM audit_log").fetchall() == [(1, "a"), (2, "c")]
    assert session.head == 2


def test_a_log_entry_that_cannot_be_stored_is_refused_at_once(connection: sqlite3.Connection) -> None:
    session = SharedSession(connection, keeping=True)
    session.start()
    with pytest.raises(InvalidInput):
        drive(lambda session: log(session, "\0"), session)
    session.undo()
    session.finish()
    assert not session.is_spoilt
    assert connection.execute("SELECT head, audit_head FROM heads").fetchall() == [(0, 0)]
