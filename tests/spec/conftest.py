"""A world of OAuth for each test, over the memory and over SQLite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.oauth import OAuth, oauth_world


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "sqlite"])
async def oauth(anyio_backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OAuth]:
    async with oauth_world(request.param, tmp_path) as world:
        yield world
