"""CORS around a guarded application, whatever the application's answers say of themselves."""

from __future__ import annotations

from typing import Any

import pytest

from keybearer.guards.cors import CorsMiddleware, CorsPolicy

pytestmark = pytest.mark.anyio


async def test_an_answer_without_any_header_is_readable_too() -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})  # ASGI: headers may be left out
        await send({"type": "http.response.body"})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is asked for")

    scope = {"type": "http", "method": "GET", "headers": [(b"origin", b"https://app.example")]}
    await CorsMiddleware(bare, CorsPolicy(("https://app.example",)))(scope, receive, send)
    assert (b"access-control-allow-origin", b"https://app.example") in sent[0]["headers"]
