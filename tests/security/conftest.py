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


def anyone(credential: str, source: str = "203.0.113.9") -> list[tuple[bytes, bytes]]:
    """The headers of a request that a trusted proxy passes on for somebody."""
    return [(b"authorization", f"Bearer {credential}".encode()), (b"x-forwarded-for", source.encode())]
