"""What stands behind the gateway and its rivals: a server that costs next to nothing.

``GET /big?N`` sends N bytes, a ``PUT`` is swallowed whole, everything else is answered with two bytes.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"
PIECE = b"x" * 262_144
_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)", re.IGNORECASE)


class Site(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._head = b""
        self._to_read = 0
        self._to_send = 0
        self._room = True
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def pause_writing(self) -> None:
        self._room = False

    def resume_writing(self) -> None:
        self._room = True
        self._send()

    def data_received(self, data: bytes) -> None:
        if self._to_read:
            self._swallow(data)
            return
        self._head += data
        while b"\r\n\r\n" in self._head:
            head, _, self._head = self._head.partition(b"\r\n\r\n")
            if head.startswith(b"GET /big?"):
                self._to_send = int(head.split(b" ")[1].partition(b"?")[2])
                self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % self._to_send)
                self._send()
            elif found := _LENGTH.search(head):
                self._to_read = int(found[1])
                rest, self._head = self._head, b""
                self._swallow(rest)
            else:
                self._transport.write(ANSWER)

    def _swallow(self, data: bytes) -> None:
        self._to_read -= len(data)
        if self._to_read <= 0:
            self._to_read = 0
            self._transport.write(ANSWER)

    def _send(self) -> None:
        while self._room and self._to_send > 0:
            piece = PIECE[: self._to_send]
            self._to_send -= len(piece)
            self._transport.write(piece)


async def _main() -> None:
    server = await asyncio.get_running_loop().create_server(Site, "127.0.0.1", 0)
    print(f"ready http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main())
