"""Opening and migrating, closing, and several processes on one database."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from keybearer.core.audit_chain import GENESIS, first_break
from keybearer.core.errors import ConfigurationError
from keybearer.core.quota import CalendarUnit
from keybearer.core.records import CreditPolicy, Project
from keybearer.ports import Query
from tests.contract.making import AUDIT_KEY, Engine, grant, insert, key, project

pytestmark = pytest.mark.anyio

CHILD = Path(__file__).with_name("child.py")


def spawn(engine: Engine, *arguments: str) -> "subprocess.Popen[str]":
    """Runs child.py on the engine's database, in a process of its own."""
    command = [sys.executable, str(CHILD), engine.name, engine.address, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(children: "list[subprocess.Popen[str]]") -> list[str]:
    outputs = []
    for child in children:
        output, _ = child.communicate(timeout=60)
        assert child.returncode == 0, output
        outputs.append(output)
    return outputs


def execute(engine: Engine, request: pytest.FixtureRequest, statement: str) -> None:
    if engine.name == "sqlite":
        with sqlite3.connect(engine.address) as connection:
            connection.execute(statement)
        connection.close()
    else:
        server = request.getfixturevalue("postgresql_server")
        server.execute(statement, engine.address.rpartition("/")[2])


async def test_four_processes_migrate_at_once(shared_engine: Engine) -> None:
    children = [spawn(shared_engine, "open") for _ in range(4)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
    for child in children:  # now all at once
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    assert await asyncio.to_thread(finish, children) == ["opened\n"] * 4
    store = await shared_engine.open()
    await insert(store, project())
    assert await store.head() == 1


async def test_a_newer_schema_is_refused(shared_engine: Engine, request: pytest.FixtureRequest) -> None:
    store = await shared_engine.open()
    await insert(store, project())
    execute(shared_engine, request, "INSERT INTO schema_version (version, applied_at) VALUES (9999, 0)")
    with pytest.raises(ConfigurationError, match="9999"):
        await shared_engine.make().open()


async def test_what_was_written_is_there_after_reopening(shared_engine: Engine) -> None:
    store = await shared_engine.open()
    await insert(store, project(), key())
    await grant(store, "key:key_0001", 3)
    await store.close()
    again = await shared_engine.open()
    assert (await again.find("key_0001")).key == key()
    assert await again.head() == 2
    assert (await again.balances(["key:key_0001"]))[0].balance == 3


async def test_closing_finishes_what_was_accepted(shared_engine: Engine) -> None:
    store = await shared_engine.open()
    writes = [asyncio.create_task(insert(store, project(number))) for number in range(40)]
    await asyncio.sleep(0)
    await store.close()
    done = await asyncio.gather(*writes, return_exceptions=True)
    again = await shared_engine.open()
    kept = {record.id for record in await again.page(Project, Query())}
    assert kept >= {f"proj_{number:04}" for number, result in enumerate(done) if result is None}
    assert len(kept) == 40


@pytest.mark.parametrize("refill", ["plain", "refilled"])
async def test_four_processes_take_from_one_account(shared_engine: Engine, refill: str) -> None:
    """Never overspent, and the sum exact, over processes that know nothing of each other."""
    store = await shared_engine.open()
    await insert(store, project(), key())
    if refill == "plain":
        await grant(store, "key:key_0001", granted := 500)
    else:  # the first take of the next day refills, whichever process makes it
        await grant(store, "key:key_0001", 40, CreditPolicy(granted := 600, CalendarUnit.DAY))
    children = [spawn(shared_engine, "spend", "250", str(number), refill) for number in range(4)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    outputs = await asyncio.to_thread(finish, children)
    assert sum(int(output) for output in outputs) == granted
    (account,) = await store.balances(["key:key_0001"])
    assert (account.balance, account.granted, account.spent) == (0, granted, granted)


async def test_four_processes_append_to_one_log(shared_engine: Engine) -> None:
    store = await shared_engine.open()
    children = [spawn(shared_engine, "append", "100", str(number)) for number in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    await asyncio.to_thread(finish, children)
    assert [event.seq for event in await store.events(0)] == list(range(1, 401))
    entries = await store.audit_page(0, 1000)
    assert len(entries) == 400
    assert first_break(AUDIT_KEY, GENESIS, 1, list(entries)) is None
