"""Every engine, on an empty database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keybearer.stores import ENGINES
from keybearer.stores.memory import MemoryStore
from keybearer.stores.sqlite import SqliteStore
from tests.contract.making import AUDIT_KEY, Engine, HandClock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def make_engine(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    clock = HandClock()
    if name == "memory":
        return Engine(name, lambda: MemoryStore(AUDIT_KEY, clock=clock), clock, [])
    if name == "sqlite":
        path = tmp_path / "keybearer.db"
        return Engine(name, lambda: SqliteStore(path, AUDIT_KEY, clock=clock), clock, [], str(path))
    assert name == "postgresql"
    from keybearer.stores.postgresql import PostgresqlStore

    url = request.getfixturevalue("postgresql_url")
    return Engine(name, lambda: PostgresqlStore(url, AUDIT_KEY, clock=clock), clock, [], url)


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Engine]:
    engine = make_engine(request.param, request, tmp_path)
    yield engine
    for store in engine.opened:
        await store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def shared_engine(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Engine]:
    """The engines that several nodes can share."""
    engine = make_engine(request.param, request, tmp_path)
    yield engine
    for store in engine.opened:
        await store.close()


@pytest.fixture
async def store(engine: Engine) -> Any:
    return await engine.open()
