"""The pool of connections to an upstream: what one client left behind never answers another one, and bounds hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from keybearer.gateway.body import HIGH
from keybearer.gateway.outbound import Answer, Outbound, UpstreamFailed
from keybearer.gateway.upstream import Unwilling, Upstream

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _upstream(serve: Serve, most: int = 10) -> AsyncIterator[Upstream]:
    """A pool in front of a server on a free port."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    upstream = Upstream(asyncio.get_running_loop(), "http", "127.0.0.1", port, None, None, most)
    try:
        yield upstream
    finally:
        upstream.close()
        server.close()
        await asyncio.sleep(0)


async def _ask(connection: Outbound, *, without_body: bool = False) -> Answer:
    head = connection.ask(without_body=without_body, upgrade=False)
    connection.write(REQUEST)
    connection.is_sent = True
    async with asyncio.timeout(2):
        return await head


async def _next(upstream: Upstream) -> bytes:
    """What the next client gets."""
    connection = await upstream.connection(1, 1)
    try:
        answer = await _ask(connection)
        async with asyncio.timeout(2):
            return await answer.body.read()
    finally:
        upstream.give_back(connection)


async def test_a_connection_whose_answer_nobody_read_serves_the_next_request() -> None:
    more = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if more.is_set():
            writer.write(OK)
            await reader.read()
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % HIGH + b"x" * (HIGH - 1))
        await more.wait()
        writer.write(b"x")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.read()

    async with _upstream(serve) as upstream:
        connection = await upstream.connection(1, 1)
        answer = await _ask(connection)
        while answer.body.waiting < HIGH - 1:
            await asyncio.sleep(0.01)
        more.set()
        while not answer.body.ended:
            await asyncio.sleep(0.01)
        upstream.give_back(connection)  # the client went away
        assert await _next(upstream) == b"ok"


@pytest.mark.parametrize(
    "late", [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"late", b"\r\n"], ids=["answer", "text", "line"]
)
async def test_bytes_that_nobody_asked_for_end_a_connection(late: bytes) -> None:
    """Response smuggling: what comes late must not be read as the answer to the next client's request."""
    said, heard = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if said.is_set():
            writer.write(OK)
            await reader.read()
            return
        said.set()
        writer.write(OK)
        await heard.wait()
        writer.write(late)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale")
        await reader.read()

    async with _upstream(serve) as upstream:
        assert await _next(upstream) == b"ok"
        heard.set()
        await asyncio.sleep(0.1)
        assert upstream.connections == set()
        assert await _next(upstream) == b"ok"


async def test_a_body_for_head_answers_nobody_else() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale"
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
        await asyncio.sleep(0.1)
        writer.write(body)
        await reader.read()

    async with _upstream(serve) as upstream:
        connection = await upstream.connection(1, 1)
        await _ask(connection, without_body=True)
        upstream.give_back(connection)
        await asyncio.sleep(0.3)
        assert upstream.connections == set()


async def test_bytes_that_wait_unread_are_seen_before_a_connection_is_used_again() -> None:
    sent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await sent.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale")
        await reader.read()

    async with _upstream(serve) as upstream:
        connection = await upstream.connection(1, 1)
        await (await _ask(connection)).body.read()
        upstream.give_back(connection)
        sent.set()
        await asyncio.sleep(0)  # the server writes; nobody looks at the other end before it is taken again
        other = await upstream.connection(1, 1)
        assert other is not connection
        upstream.give_back(other)


async def test_no_more_connections_are_open_than_may_be_whatever_the_upstream_keeps() -> None:
    now = most = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.01)
        now -= 1
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()

    async with _upstream(serve, most=2) as upstream:
        assert await asyncio.gather(*(_next(upstream) for _ in range(30))) == [b"ok"] * 30
    assert most == 2


async def test_who_waits_for_a_connection_waits_no_longer_than_that() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with _upstream(serve, most=1) as upstream:
        held = await upstream.connection(1, 1)
        with pytest.raises(Unwilling):
            await upstream.connection(0.1, 1)
        upstream.give_back(held)


async def test_a_body_without_a_length_that_we_hung_up_on_is_cut_short() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nbegun")
        await reader.read()

    async with _upstream(serve) as upstream:
        connection = await upstream.connection(1, 1)
        answer = await _ask(connection)
        assert await answer.body.read() == b"begun"
        connection.abort()
        with pytest.raises(UpstreamFailed):
            await answer.body.read()
        upstream.give_back(connection)
