"""The baseline of HTTP: the same server, which answers an empty 204 and does nothing else.

``hot`` answers inside the parser's callback of Keybearer's own protocol class, with its timers and limits; ``edge``
goes through the machinery of a hot route (request, steps, reply) with nothing in them; ``asgi`` is plain uvicorn.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from keybearer import server
from keybearer.settings import Settings
from keybearer.web.hot import hot_protocol
from keybearer.web.hot_routes import HotRoutes
from keybearer.web.reply import EdgeRequest, Reply, Steps

PATH = "/v1/verify"
_ANSWER = b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"
_REPLY = Reply(204, (), b"")


class _Hot(hot_protocol(None)):  # type: ignore[misc]
    """Says nothing to everything, having had it parsed."""

    def data_received(self, data: bytes) -> None:
        HttpToolsProtocol.data_received(self, data)

    def on_headers_complete(self) -> None:
        self._edge = _NOTHING
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._reading_since = None
        self._edge = None
        self.transport.write(_ANSWER)
        self.server_state.total_requests += 1
        self._idle_since = self.loop.time()


class _Nothing:
    """An edge that has nothing to do."""

    def at_once(self, _request: EdgeRequest) -> Reply:
        return _REPLY

    def steps(self, _request: EdgeRequest) -> Steps:
        yield from ()
        return _REPLY


_NOTHING = _Nothing()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer 204 as an ASGI application."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _plain(listener: socket.socket, settings: Settings, announce: Any) -> None:
    config = uvicorn.Config(
        application, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False
    )
    served = asyncio.create_task(uvicorn.Server(config).serve(sockets=[listener]))
    while not listener.fileno() >= 0:
        await asyncio.sleep(0.01)
    announce()
    await served


def main(kind: str) -> None:
    """Serve until a signal, having printed ``ready URL``."""
    settings = Settings(port=0)
    listener = server_socket()
    port = listener.getsockname()[1]

    def announce() -> None:
        print(f"ready http://127.0.0.1:{port}", flush=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if kind == "asgi":
            runner.run(_plain(listener, settings, announce))
            return
        routes = HotRoutes(None, _NOTHING, _NOTHING, settings)  # type: ignore[arg-type]
        if kind == "hot":
            _Hot.routes = routes  # type: ignore[assignment]
            setattr(server, hot_protocol.__name__, lambda routes: _Hot)
        runner.run(server.serve(application, routes, settings, listener, announce))


def server_socket() -> socket.socket:
    """Return a listening socket on a free loopback port."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    return listener


if __name__ == "__main__":
    main(sys.argv[1])
