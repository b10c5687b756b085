"""Plain paths are found at once, and no request gets another answer by that."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from keybearer.web.routing import PlainPathsFirst


def route(path: str, *methods: str) -> Route:
    async def serve(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.method} {path} {sorted(request.path_params.items())}")

    return Route(path, serve, methods=list(methods))


ROUTES = [
    route("/keys/{id}/rotate", "POST"),
    route("/{any}/taken", "GET"),
    route("/early/taken", "GET"),
    route("/keys/import", "POST"),
    route("/keys/{id}", "GET"),
    route("/keys", "GET", "POST"),
    route("/keys", "DELETE"),
    route("/late/taken", "POST"),
]


async def answer(app: Any, method: str, path: str, root_path: str = "") -> tuple[int, bytes, list[Any]]:
    sent: list[Any] = []
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": root_path}
    scope |= {"headers": [], "query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("h", 80)}

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    allow = [value for name, value in sent[0]["headers"] if name == b"allow"]
    return sent[0]["status"], sent[1]["body"], sorted(b",".join(allow).split(b", "))


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PUT"])
@pytest.mark.parametrize(
    "path",
    [
        "/keys",
        "/keys/",
        "/keys\n",
        "/keys/import",
        "/keys/x",
        "/keys/x/rotate",
        "/early/taken",
        "/late/taken",
        "/",
        "/no",
    ],
)
async def test_every_request_is_answered_as_by_a_plain_router(method: str, path: str) -> None:
    plain, ours = Starlette(routes=ROUTES), Starlette()
    plain.router.redirect_slashes = False
    ours.router = PlainPathsFirst(ROUTES)
    for root_path in ("", "/keys"):
        assert await answer(ours, method, path, root_path) == await answer(plain, method, path, root_path)
