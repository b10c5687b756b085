"""PostgreSQL that stops, falls silent, or does not promise what it should."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keybearer.core.errors import ConfigurationError, Unavailable
from keybearer.core.records import Project
from keybearer.ports import Query, UnitOfWork
from tests.contract.making import AUDIT_KEY, insert, key, project, spend
from tests.support.postgresql import PostgresqlServer, find_binaries

pytestmark = pytest.mark.anyio


@pytest.fixture
async def own_server() -> AsyncIterator[PostgresqlServer]:
    """A server that this test may break."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (no initdb in /usr/lib/postgresql/*/bin)")
    server = PostgresqlServer.create(binaries)
    yield server
    server.remove()


async def test_postgresql_that_stops_is_unavailable_and_comes_back(own_server: PostgresqlServer) -> None:
    from keybearer.stores.postgresql import PostgresqlStore

    store = PostgresqlStore(own_server.url(), AUDIT_KEY)
    await store.open()
    try:
        await insert(store, project(), key())
        for stop in (own_server.stop, own_server.kill9):
            stop()
            for ask in (
                lambda: store.find("key_0001"),
                lambda: insert(store, project(2)),
                lambda: store.charge(spend()),
                store.head,
            ):
                began = time.monotonic()
                with pytest.raises(Unavailable):
                    await ask()
                assert time.monotonic() - began < 2
            with pytest.raises(Unavailable):
                await PostgresqlStore(own_server.url(), AUDIT_KEY).open()
            own_server.start()
            assert (await store.find("key_0001")).key == key()  # type: ignore[union-attr]
        assert await store.head() == 2
        await insert(store, project(2))
    finally:
        await store.close()


async def test_postgresql_that_falls_silent_is_unavailable_in_time(own_server: PostgresqlServer) -> None:
    """A server that accepts but never answers, as behind a broken network."""
    import psutil

    from keybearer.stores.postgresql import PostgresqlStore

    store = PostgresqlStore(own_server.url(), AUDIT_KEY)
    await store.open()
    await insert(store, project())
    processes = [psutil.Process(own_server.pid), *psutil.Process(own_server.pid).children(recursive=True)]
    try:
        for process in processes:
            process.suspend()
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await store.find("key_0001")
            assert time.monotonic() - began < 2.5
    finally:
        for process in processes:
            process.resume()
    assert await store.find("key_0001") is None
    await store.close()


async def test_a_commit_that_is_cut_off_is_unknown(own_server: PostgresqlServer) -> None:
    """The connection dies between the work and its COMMIT: never success."""
    from keybearer.stores.postgresql import PostgresqlStore

    store = PostgresqlStore(own_server.url(), AUDIT_KEY)
    await store.open()
    try:

        async def work(unit: UnitOfWork) -> None:
            await unit.insert(project())
            own_server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keybearer'"
            )

        with pytest.raises(Unavailable):
            await store.transact(work)
        assert await store.page(Project, Query()) == ()
    finally:
        await store.close()


async def test_a_commit_that_only_warns_is_unknown(own_server: PostgresqlServer) -> None:
    """A wait for a synchronous standby that is cancelled ends in success with a warning."""
    from keybearer.stores.postgresql import PostgresqlStore

    store = PostgresqlStore(own_server.url(), AUDIT_KEY)
    await store.open()
    try:
        own_server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        own_server.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(0.2)
        write = asyncio.create_task(insert(store, project()))
        for _ in range(100):
            await asyncio.sleep(0.05)
            cancelled = own_server.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
            if cancelled:
                break
        with pytest.raises(Unavailable):
            await write
    finally:
        own_server.execute("ALTER SYSTEM RESET synchronous_standby_names")
        own_server.execute("SELECT pg_reload_conf()")
        await store.close()


async def test_a_server_that_would_acknowledge_early_is_told_not_to(postgresql_url: str, request: Any) -> None:
    from keybearer.stores.postgresql import PostgresqlStore

    server = request.getfixturevalue("postgresql_server")
    database = postgresql_url.rpartition("/")[2]
    server.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    store = PostgresqlStore(postgresql_url, AUDIT_KEY)
    await store.open()
    try:
        shown = await store._read(lambda session: session.fetch_one("SHOW synchronous_commit"))
        assert shown is not None
        assert shown[0] == "on"
    finally:
        await store.close()


async def test_wrong_database_names_are_the_operators_to_mend(postgresql_url: str) -> None:
    from keybearer.stores.postgresql import PostgresqlStore

    with pytest.raises(ConfigurationError):
        await PostgresqlStore(postgresql_url + "_not", AUDIT_KEY).open()
