"""Who asks and does not read the answer holds no connection for ever. Spec: SECURITY-BAR 26, CWE-400."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from tests.support.door import Door
from tests.support.embedded import embedded

pytestmark = pytest.mark.anyio

SIZE = 8_000_000
REQUEST = b"GET /v1/keys HTTP/1.1\r\nhost: authority.test\r\n%s\r\n"


async def large(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % SIZE)]})
    await send({"type": "http.response.body", "body": b"a" * SIZE})


async def dropping(scope: Any, receive: Any, send: Any) -> None:
    """What a stream does whose reader does not read: it goes without an end."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a" * SIZE, "more_body": True})


@asynccontextmanager
async def listening(application: Any, *, idle: float) -> AsyncIterator[tuple[int, ServerState]]:
    """Serve an application by the hot protocol on a real socket; ``idle`` is how long a connection may be quiet."""
    loop, state = asyncio.get_running_loop(), ServerState()
    async with embedded() as world:
        door = Door(world, request_timeout=idle)
        config = Config(application, log_config=None, interface="asgi3", proxy_headers=False, lifespan="off")
        config.timeout_keep_alive = idle  # type: ignore[assignment]
        server = await loop.create_server(lambda: door.protocol(config, state, {}, loop), "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1], state


def asking(port: int, field: bytes = b"") -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(REQUEST % field)
    return client


@pytest.mark.parametrize("application", [large, dropping], ids=["kept alive", "dropped"])
async def test_who_does_not_read_is_let_go(application: Any) -> None:
    async with asyncio.timeout(10), listening(application, idle=0.2) as (port, state):
        with asking(port):
            while not state.connections:
                await asyncio.sleep(0.01)
            while state.connections:
                await asyncio.sleep(0.05)


async def test_who_reads_late_gets_everything() -> None:
    async with asyncio.timeout(10), listening(large, idle=2.0) as (port, _):
        with asking(port, b"connection: close\r\n") as client:
            await asyncio.sleep(1.0)
            received = await asyncio.to_thread(lambda: b"".join(iter(lambda: client.recv(1_000_000), b"")))
        assert len(received) > SIZE
