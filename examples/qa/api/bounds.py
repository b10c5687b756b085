"""How much a program may send: a body is read before anybody is known, so it has a bound for everybody."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 200_000


class BoundedBodies:
    """Ends requests with bodies of more than ``MOST_BYTES`` with 413, whatever length they claim to have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MOST_BYTES:
                raise HTTPException(413)  # raised where the body is read, and answered as if the route had said it
            return message

        await self._app(scope, bounded, send)
