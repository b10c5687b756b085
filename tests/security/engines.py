"""An authority inside the test process over any engine, not only the memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keybearer.stores.postgresql import PostgresqlStore
from keybearer.stores.sqlite import SqliteStore
from tests.support.embedded import Embedded, embedded


@asynccontextmanager
async def authority_over(engine: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Embedded]:
    """An initialised authority over ``memory``, ``sqlite`` or ``postgresql``."""

    def make(audit_key: bytes, *, clock: Any) -> Any:
        if engine == "sqlite":
            return SqliteStore(folder / "keybearer.db", audit_key, clock=clock)
        return PostgresqlStore(request.getfixturevalue("postgresql_url"), audit_key, clock=clock)

    async with embedded(make_store=None if engine == "memory" else make) as world:
        yield world
