"""The hot protocol without a socket, in front of an embedded authority."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from keybearer.http.client_address import TrustedProxies
from keybearer.settings import Settings
from keybearer.web.decision import VerifyEdge
from keybearer.web.ext_authz import ExtAuthzEdge
from keybearer.web.forward_auth import ForwardAuthEdge
from keybearer.web.hot import hot_protocol
from keybearer.web.hot_routes import HotRoutes
from tests.support.embedded import Embedded


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self, peer: str) -> None:
        super().__init__({"peername": (peer, 1234), "sockname": ("127.0.0.1", 80)})
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """Nothing is read here anyway."""

    def resume_reading(self) -> None:
        """Nothing is read here anyway."""


class Door:
    """Connections to the hot protocol of one process, and to the application behind it, without a socket.

    ``edges`` are those of POST requests besides verify, by their target.
    """

    def __init__(self, world: Embedded, edges: Mapping[bytes, Any] | None = None, **settings: Any) -> None:
        options = Settings(**{"trusted_proxies": ("192.0.2.1",), **settings})
        proxies = TrustedProxies(options.proxies)
        records = world.authority.records
        verify = VerifyEdge(
            records, world.authority.own_api_id, world.authority.own_project_id, proxies, world.verifier
        )
        forward = ForwardAuthEdge(records, proxies, world.verifier)
        self.routes = HotRoutes(world.verifier, verify, forward, options, edges, ExtAuthzEdge(records, forward))
        self.protocol = hot_protocol(self.routes)
        self.config = Config(world.web, log_config=None, interface="asgi3", proxy_headers=False, lifespan="off")
        self.state = ServerState()

    def connect(self, peer: str = "192.0.2.1") -> Connection:
        return Connection(self, peer)


class Connection:
    """One connection."""

    def __init__(self, door: Door, peer: str) -> None:
        self.door = door
        self.transport = Transport(peer)
        self.protocol: Any = door.protocol(door.config, door.state, {}, asyncio.get_running_loop())
        self.protocol.connection_made(self.transport)

    async def ask(self, *data: bytes) -> tuple[int, bytes]:
        """Send a request in as many pieces; return the status and the whole answer."""
        self.transport.written = b""
        for piece in data:
            self.protocol.data_received(piece)
        for turn in range(1000):
            await asyncio.sleep(0 if turn < 100 else 0.001)  # some answers wait for a thread
            if turn >= 20 and self.transport.written and not self.protocol._is_busy():
                break
        return int(self.transport.written[9:12] or 0), self.transport.written


async def known(connection: Connection, request: bytes) -> None:
    """Ask until the request is known, and prove that it is."""
    for _ in range(3):
        status, _ = await connection.ask(request)
        assert status == 200
    assert await is_known(connection, request)


async def is_known(connection: Connection, request: bytes) -> bool:
    """Ask a connection without a parser, which answers nothing but what is known."""
    connection.protocol.parser, parser = None, connection.protocol.parser
    try:
        status, _ = await connection.ask(request)
    except AttributeError:
        return False
    finally:
        connection.protocol.parser = parser
    return status == 200
