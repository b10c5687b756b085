"""A server with TLS on loopback that hands each request to the test, with a certificate authority of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from keybearer.fetch import GuardedFetcher
from tests.support.certificates import make

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    more: tuple[tuple[str, str], ...] = ()
    """Further header fields, of which there may be several with one name."""


Handler = Callable[[Received], Awaitable[Reply]]


@dataclass
class HttpsServer:
    """Where it listens, who vouches for it, and what it was sent."""

    port: int
    ca: Path
    handler: Handler
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def fetcher(self) -> GuardedFetcher:
        """A fetcher that may come here."""
        return GuardedFetcher(LOOPBACK, ca=str(self.ca))


async def ok(_request: Received) -> Reply:
    return Reply()


@asynccontextmanager
async def https_server(folder: Path, handler: Handler = ok) -> AsyncIterator[HttpsServer]:
    """Serve until the end of the block."""
    now = datetime.now(UTC)
    authority = make("Test CA", is_ca=True, at=now)
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    pair = make("localhost", issuer=authority, names=names, usage=ExtendedKeyUsageOID.SERVER_AUTH, at=now)
    ca, chain = folder / "ca.pem", folder / "server.pem"
    ca.write_bytes(authority.pem)
    chain.write_bytes(pair.key_pem + pair.pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    open_now: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        try:
            await _serve_one(running, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            open_now.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    running = HttpsServer(server.sockets[0].getsockname()[1], ca, handler)
    try:
        yield running
    finally:
        server.close()
        for writer in tuple(open_now):
            writer.transport.abort()
        await server.wait_closed()


async def _serve_one(running: HttpsServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    request = Received(method, target, headers, body)
    running.received.append(request)
    reply = await running.handler(request)
    more = {"content-length": str(len(reply.body)), "connection": "close", **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} X", *(f"{name}: {value}" for name, value in (*more.items(), *reply.more))]
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + reply.body)
    await writer.drain()


def give_fetcher(authority: Any, fetcher: GuardedFetcher) -> None:
    """Let an authority reach out with this fetcher."""
    object.__setattr__(authority, "fetcher", fetcher)
