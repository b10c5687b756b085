"""An embedded authority for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.support.embedded import Embedded, embedded


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world(anyio_backend: str) -> AsyncIterator[Embedded]:
    async with embedded() as running:
        yield running
