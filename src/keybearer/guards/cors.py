"""CORS for guarded ASGI applications, around the guard: preflights need no credential, and refusals are readable.

app = CorsMiddleware(GuardMiddleware(app, guard), CorsPolicy(("https://app.example.com",)))
"""

from __future__ import annotations

from ..http.cors import SAID, CorsPolicy
from .asgi import App, Message, Receive, Scope, Send

__all__ = ["CorsMiddleware", "CorsPolicy"]


class CorsMiddleware:
    """Lets the pages of a policy's origins read what the application answers, and what the guard refuses with."""

    def __init__(self, app: App, policy: CorsPolicy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or hand the request on and say in the answer who may read it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        preflight = self._policy.of_preflight(scope["method"], scope["headers"])
        if preflight is not None:
            await send({"type": "http.response.start", "status": 204, "headers": list(preflight)})
            await send({"type": "http.response.body", "body": b""})
            return
        said = self._policy.of_answer(scope["headers"])

        async def saying(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The application's own word would be a second one, which makes browsers refuse both.
                kept = [one for one in message.get("headers", ()) if one[0].lower() not in SAID]
                message = {**message, "headers": [*kept, *said]}
            await send(message)

        await self._app(scope, receive, saying)
