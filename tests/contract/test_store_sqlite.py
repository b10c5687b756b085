"""SQLite that cannot write: full, removed, locked, overrun."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from keybearer.core.errors import Code, Unavailable
from keybearer.core.records import Project
from keybearer.ports import Query
from keybearer.stores.sqlite import SqliteStore
from tests.contract.making import AUDIT_KEY, insert, project, spend

pytestmark = pytest.mark.anyio


async def test_a_full_database_is_unavailable_and_recovers(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "k.db", AUDIT_KEY)
    await store.open()
    try:
        await insert(store, project())
        assert store._writer is not None
        connection = store._writer._connection
        assert connection is not None
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        big = {"text": "x" * 40_000}
        results = await asyncio.gather(
            insert(store, project(2, metadata=big)), insert(store, project(3, metadata=big)), return_exceptions=True
        )
        assert [type(result) for result in results] == [Unavailable, Unavailable]
        assert [record.id for record in await store.page(Project, Query())] == ["proj_0001"]
        assert (await store.get(Project, "proj_0001")).name == "Shop", "reading goes on"
        connection = store._writer._connection
        if connection is not None:
            connection.execute("PRAGMA max_page_count = 1000000")
        await insert(store, project(2, metadata=big))
        assert await store.head() == 2
    finally:
        await store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", mount], capture_output=True)
    if done.returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


async def test_a_full_disk_acknowledges_nothing_false(small_disk: Path) -> None:
    """Disk full: no false acknowledgement, reads go on, and writes are back as soon as there is room."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 1_500_000)
    store = SqliteStore(small_disk / "k.db", AUDIT_KEY)
    await store.open()
    acknowledged: list[str] = []

    async def write(number: int) -> bool:
        try:
            await insert(store, project(number, metadata={"text": "x" * 5000}))
        except Unavailable:
            return False
        acknowledged.append(f"proj_{number:04}")
        return True

    number = 0
    while all(await asyncio.gather(*(write(number + offset) for offset in range(10)))):
        number += 10
        assert number < 5000
    with contextlib.suppress(Unavailable):
        assert (await store.charge(spend())).code is Code.CREDITS_EXHAUSTED, "a denial or no answer, never permission"
    assert [record.id for record in await store.page(Project, Query(limit=10_000))] == sorted(acknowledged)
    assert await store.head() == len(acknowledged)
    ballast.unlink()
    began = time.monotonic()
    while not await write(9000):
        assert time.monotonic() - began < 10
    await store.close()
    connection = sqlite3.connect(small_disk / "k.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert [row[0] for row in connection.execute("SELECT id FROM projects ORDER BY id")] == sorted(acknowledged)
    connection.close()


async def test_a_removed_file_acknowledges_nothing(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = SqliteStore(path, AUDIT_KEY)
    await store.open()
    await insert(store, project())
    shutil.move(path, tmp_path / "elsewhere")
    with pytest.raises(Unavailable):
        await insert(store, project(2))
    shutil.move(tmp_path / "elsewhere", path)
    await insert(store, project(3))
    await store.close()


async def test_a_lock_that_is_never_given_back_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from keybearer.stores import group_commit

    monkeypatch.setattr(group_commit, "LOCK_TIMEOUT_S", 0.3)
    store = SqliteStore(tmp_path / "k.db", AUDIT_KEY)
    await store.open()
    await insert(store, project())
    other = sqlite3.connect(tmp_path / "k.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await insert(store, project(2))
    assert await store.find("key_0001") is None, "reading goes on"
    other.execute("ROLLBACK")
    other.close()
    await insert(store, project(2))
    await store.close()


async def test_a_failed_commit_fails_the_whole_batch(tmp_path: Path) -> None:
    """Also for works that were refused because of a mate whose change is now gone."""
    store = SqliteStore(tmp_path / "k.db", AUDIT_KEY)
    await store.open()
    writer = store._writer
    assert writer is not None

    class FailingCommit:
        def __init__(self, connection: sqlite3.Connection) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def execute(self, statement: str, *arguments: Any) -> Any:
            if statement == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return self._connection.execute(statement, *arguments)

    writer._connection = FailingCommit(writer._connection)  # type: ignore[assignment, arg-type]
    results = await asyncio.gather(*(insert(store, project()) for _ in range(5)), return_exceptions=True)
    assert {type(result) for result in results[:1]} == {Unavailable}
    assert await store.head() <= 1
    await store.close()


async def test_too_many_waiting_writes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from keybearer.stores import group_commit

    monkeypatch.setattr(group_commit, "MAX_WAITING", 5)
    store = SqliteStore(tmp_path / "k.db", AUDIT_KEY)
    await store.open()
    results = await asyncio.gather(*(insert(store, project(n)) for n in range(8)), return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 5 + [Unavailable] * 3
    await store.close()


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteStore(tmp_path / "k.db", AUDIT_KEY)
        await store.open()
        await insert(store, project())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        await store.close()
    finally:
        os.umask(before)
    assert modes == {"k.db": 0o600, "k.db-wal": 0o600, "k.db-shm": 0o600}


async def test_a_place_that_cannot_hold_a_file(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await SqliteStore(tmp_path / "no" / "k.db", AUDIT_KEY).open()
    (tmp_path / "junk.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(Unavailable):
        await SqliteStore(tmp_path / "junk.db", AUDIT_KEY).open()
