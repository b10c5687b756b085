"""An upstream of the gateway, in a thread: it answers as its paths say, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit


class Asked(NamedTuple):
    """One request as it came; field names in lower case."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes

    def field(self, name: str) -> str | None:
        """The last value of a field."""
        return dict(self.fields).get(name)


Handler = Callable[[Asked, asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Upstream:
    """Listens on a free port of 127.0.0.1. ``answers`` maps a path to a handler; without one it echoes as JSON."""

    def __init__(self, answers: dict[str, Handler] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[Asked] = []
        self.connections = 0
        self.closed = 0
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Begins anew."""
        self.asked.clear()

    def stop(self) -> None:
        """Ends it, with its connections."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while (asked := await self._request(reader)) is not None:
                self.asked.append(asked)
                await self.answers.get(urlsplit(asked.target).path, echo)(asked, reader, writer)
                await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.closed += 1
            self._tasks.discard(task)
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> Asked | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None
        first, *lines = head.decode("latin-1")[:-4].split("\r\n")
        method, target, _ = first.split(" ")
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        said = dict(fields)
        body = b""
        if urlsplit(target).path in self.answers and "unread" in target:
            return Asked(method, target, fields, body)
        if said.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        elif "content-length" in said:
            body = await reader.readexactly(int(said["content-length"]))
        return Asked(method, target, fields, body)


def plain(
    status: int = 200, body: bytes = b"ok", *fields: str, length: bool = True
) -> Callable[[Asked, asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]:
    """A handler that always answers this."""

    async def answer(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", *fields, *([f"Content-Length: {len(body)}"] if length else [])]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if asked.method == "HEAD" else body))
        if body and not length:
            raise ConnectionResetError  # the end of the connection is the end of the body

    return answer


async def echo(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers what was asked, as JSON."""
    found = {
        "method": asked.method,
        "target": asked.target,
        "fields": asked.fields,
        "body": asked.body.decode("latin-1"),
        "query": parse_qs(urlsplit(asked.target).query),
    }
    await plain(200, json.dumps(found).encode(), "Content-Type: application/json")(asked, reader, writer)
