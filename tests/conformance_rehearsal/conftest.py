"""An authority as an operator sets it up for the certification, with its test user."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance_rehearsal.party import Rehearsal, rehearsal
from tests.support.https import HttpsServer, give_fetcher, https_server


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def suite(anyio_backend: str) -> AsyncIterator[Rehearsal]:
    async with rehearsal() as running:
        yield running


@pytest.fixture
async def site(suite: Rehearsal, tmp_path: Path) -> AsyncIterator[HttpsServer]:
    """The web site of the suite itself, which the authority may fetch from."""
    async with https_server(tmp_path) as server:
        give_fetcher(suite.world.authority, server.fetcher())
        yield server
