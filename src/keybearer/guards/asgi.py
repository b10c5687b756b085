"""The guard as ASGI middleware, in front of a whole application: HTTP and WebSocket.

    app = GuardMiddleware(app, guard, rules={"GET /orders/*": "orders:read"}, public=("/health",))

The application finds the :class:`Caller` in ``scope["keybearer"]``, ``None`` at public paths.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote

from ..http.identity_headers import without_identity
from .answers import Answer, Headers, Refused
from .doors import Demanded, Doors
from .gate import Gate
from .guard import Guard
from .incoming import Incoming

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE_KEY = "keybearer"


class GuardMiddleware:
    """Lets requests with a good credential through. See :class:`Doors` for ``rules`` and ``public``."""

    def __init__(
        self,
        app: App,
        guard: Guard,
        *,
        permissions: Demanded = None,
        rules: Mapping[str, Demanded] | None = None,
        public: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._gate = Gate(guard)
        self._doors = Doors(permissions, rules or {}, public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, closing(self._gate.guard, send))
            return
        scope = {**scope, "headers": without_identity(scope["headers"]), SCOPE_KEY: None}
        incoming = incoming_of(scope)
        try:
            wanted = self._doors.rule_for(incoming.method, incoming.path)
            if wanted is None:
                await self._app(scope, receive, send)
                return
            passed = await self._gate.acheck(incoming, wanted)
        except Refused as refused:
            await _refuse(refused.answer, scope, receive, send)
            return
        scope[SCOPE_KEY] = passed.caller
        await self._app(scope, receive, _saying(passed.headers, send) if passed.headers else send)


def closing(guard: Guard, send: Send) -> Send:
    """Close the guard's connections with the application: before it says so, since nobody waits after that."""

    async def sending(message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            await guard.aclose()
        await send(message)

    return sending


def incoming_of(scope: Scope) -> Incoming:
    """Return a request of ASGI as guards read it."""
    raw_path = scope.get("raw_path")
    path = raw_path.decode("latin-1") if raw_path else quote(scope["path"], safe="/:@!$&'()*+,;=-._~")
    client = scope.get("client")
    is_websocket = scope["type"] == "websocket"
    return Incoming(
        method="GET" if is_websocket else scope["method"],
        path=path.partition("?")[0],
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=scope["headers"],
        peer=client[0] if client else None,
        scheme="https" if scope.get("scheme") in ("https", "wss") else "http",
        is_websocket=is_websocket,
    )


def _saying(headers: Headers, send: Send) -> Send:
    async def saying(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return saying


async def _refuse(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        kind = "websocket.http.response"
    length = (b"content-length", str(len(answer.body)).encode())
    await send({"type": f"{kind}.start", "status": answer.status, "headers": [*answer.headers, length]})
    await send({"type": f"{kind}.body", "body": b"" if scope.get("method") == "HEAD" else answer.body})
