"""Nothing that was acknowledged is lost when a writer, or the server it writes to, is killed (DESIGN §5)."""

import asyncio
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keybearer.core.audit_chain import GENESIS, first_break
from keybearer.core.records import Project
from keybearer.ports import Query
from tests.contract.child import make
from tests.contract.making import AUDIT_KEY, grant, spend
from tests.support.postgresql import PostgresqlServer, find_binaries

ROUNDS = 10
GRANTED = 1_000_000
WRITER = Path(__file__).with_name("writer.py")
READY_WITHIN_S = 5


class Writer:
    """A writing process, and what it has acknowledged."""

    def __init__(self, engine: str, address: str, first: int) -> None:
        command = [sys.executable, str(WRITER), engine, address, str(first), "20"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                if line.endswith(b"\n"):  # one that the kill cut off was not acknowledged in full
                    self.lines.append(line.decode().strip())

    def _read_so_far(self) -> int:
        return len(self.lines)

    def await_more(self, than: int, seconds: float) -> None:
        """Waits until it has acknowledged more than so many."""
        deadline = time.monotonic() + seconds
        while self._read_so_far() <= than:
            assert self.process.poll() is None, self.lines[-20:]
            assert time.monotonic() < deadline, f"nothing more was acknowledged within {seconds} s"
            time.sleep(0.005)

    def kill9(self) -> list[str]:
        """SIGKILL, and everything that was acknowledged before it."""
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        assert self.process.returncode == -signal.SIGKILL, self.lines[-20:]
        return self.lines


class Ledger:
    """What has been acknowledged over all rounds."""

    def __init__(self) -> None:
        self.records: set[str] = set()
        self.charges: set[str] = set()

    def add(self, lines: list[str]) -> None:
        for line in lines:
            kind, _, subject = line.partition(" ")
            (self.records if kind == "record" else self.charges).add(subject)


async def _all_projects(store: Any) -> list[str]:
    ids: list[str] = []
    while page := await store.page(Project, Query(after=ids[-1] if ids else None, limit=1000)):
        ids += [record.id for record in page]
    return ids


async def _check(engine: str, address: str, acknowledged: Ledger) -> None:
    store = make(engine, address)
    began = time.monotonic()
    await store.open()
    await store.transact(lambda unit: unit.add_credits("key:key_0001", 0, 0))
    assert time.monotonic() - began < READY_WITHIN_S
    try:
        kept = set(await _all_projects(store))
        assert acknowledged.records <= kept, f"lost: {sorted(acknowledged.records - kept)[:5]}"
        head = await store.head()
        events = []
        while len(events) < head:
            page = await store.events(len(events), 1000)
            assert page, "a gap at the end"
            events += page
        assert [event.seq for event in events] == list(range(1, head + 1))
        assert {event.subject for event in events} == kept, "a record and its event stand or fall together"
        digest, seq = GENESIS, 0
        while entries := await store.audit_page(seq, 1000):
            assert first_break(AUDIT_KEY, digest, seq + 1, list(entries)) is None
            digest, seq = entries[-1].digest, entries[-1].seq
        assert seq == len(kept)
        (account,) = await store.balances(["key:key_0001"])
        assert account.balance == account.granted - account.spent
        assert account.granted == GRANTED
        assert len(acknowledged.charges) <= account.spent <= len(kept)
        for request_id in sorted(acknowledged.charges)[-20:]:
            assert (await store.charge(spend(request_id))).replayed
    finally:
        await store.close()


async def _prepare(engine: str, address: str) -> None:
    store = make(engine, address)
    await store.open()
    await grant(store, "key:key_0001", GRANTED)
    await store.close()


@pytest.mark.slow
def test_sqlite_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    asyncio.run(_prepare("sqlite", str(path)))
    acknowledged = Ledger()
    for round_number in range(ROUNDS):
        writer = Writer("sqlite", str(path), round_number * 100_000)
        writer.await_more(0, 20)
        time.sleep(random.uniform(0, 0.5))
        acknowledged.add(writer.kill9())
        asyncio.run(_check("sqlite", str(path), acknowledged))
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()
    assert len(acknowledged.records) > 10 * ROUNDS


@pytest.fixture
def own_server() -> Iterator[PostgresqlServer]:
    """A server that this test may kill."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (no initdb in /usr/lib/postgresql/*/bin)")
    server = PostgresqlServer.create(binaries)
    yield server
    server.remove()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_postgresql_keeps_what_it_acknowledged(own_server: PostgresqlServer) -> None:
    """Rounds in which the writer is killed, and rounds in which the server is; the writer then goes on by itself."""
    url = own_server.url()
    asyncio.run(_prepare("postgresql", url))
    acknowledged = Ledger()
    for round_number in range(ROUNDS):
        writer = Writer("postgresql", url, round_number * 100_000)
        writer.await_more(0, 20)
        time.sleep(random.uniform(0, 0.5))
        if round_number % 2:
            own_server.kill9()
            time.sleep(random.uniform(0, 0.2))
            own_server.start()
            writer.await_more(len(writer.lines) + 20, 20)
        acknowledged.add(writer.kill9())
        asyncio.run(_check("postgresql", url, acknowledged))
    assert len(acknowledged.records) > 10 * ROUNDS


def _strace_is_permitted() -> bool:
    strace = shutil.which("strace")
    return (
        strace is not None and subprocess.run([strace, "-o", "/dev/null", "true"], capture_output=True).returncode == 0
    )


def test_the_log_is_synced_before_each_acknowledgement(tmp_path: Path) -> None:
    """Seen from outside: between two acknowledgements the write-ahead log is written, then synced."""
    if not _strace_is_permitted():
        pytest.skip("strace is absent, or tracing is not permitted here")
    path, trace = tmp_path / "k.db", tmp_path / "trace"
    asyncio.run(_prepare("sqlite", str(path)))
    done = subprocess.run(
        [
            *("strace", "-f", "-y", "-s", "80", "-o", trace, "-e", "trace=write,pwrite64,fsync,fdatasync"),
            *(sys.executable, WRITER, "sqlite", path, "0", "1", "25"),
        ],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 50
    assert _acknowledgements_after_sync(trace.read_text()) == 50


def _acknowledgements_after_sync(trace: str) -> int:
    """Counts acknowledgements, each of which must follow a finished sync of all that was written to the log."""
    written = synced = False
    acknowledgements = 0
    syncing: set[str] = set()
    for line in trace.splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        is_log = "k.db-wal>" in call
        if call.startswith("pwrite64(") and is_log:
            written, synced = True, False
        elif call.startswith(("fdatasync(", "fsync(")) and is_log:
            if "unfinished" in call:
                syncing.add(thread)
            else:
                assert call.endswith("= 0"), call
                synced = True
        elif re.match(r"<\.\.\. (fdatasync|fsync) resumed>", call) and thread in syncing:
            syncing.discard(thread)
            assert call.endswith("= 0"), call
            synced = True
        elif re.match(r'write\(1<.*>, "(record|charge) ', call):
            assert written, f"acknowledged without a write: {call}"
            assert synced, f"acknowledged before the sync: {call}"
            acknowledgements += 1
            written = synced = False
    return acknowledgements
