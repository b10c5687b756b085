"""The corpus of hostile requests against the guards inside applications: no claim of a client reaches any of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from keybearer.guards import Guard
from keybearer.guards.asgi import GuardMiddleware as AsgiMiddleware
from keybearer.guards.wsgi import GuardMiddleware as WsgiMiddleware
from tests.e2e.shop import Shop
from tests.e2e.test_guards_wsgi import serving as serving_wsgi
from tests.support import hostile_requests as hostile
from tests.support.asgi_server import serving as serving_asgi
from tests.support.guarding import guarding, shop_at
from tests.support.hostile_sending import send_all
from tests.support.raw_upstream import Received


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop_at(tmp_path_factory.mktemp("hostile")) as found:
        yield found


@pytest.fixture(scope="module")
def guard(shop: Shop) -> Iterator[Guard]:
    with guarding(shop) as found:
        yield found


class Seen:
    """What an application saw."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self._lock = threading.Lock()

    def note(self, method: str, target: bytes, fields: list[tuple[bytes, bytes]], caller: Any) -> None:
        assert caller is not None
        with self._lock:
            self.requests.append(Received(method.encode(), target, tuple(fields), b"", (), ()))

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.note(scope.get("method", "GET"), scope["raw_path"], scope["headers"], scope["keybearer"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        fields = [
            (name[5:].encode("latin-1"), str(value).encode("latin-1"))
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ]
        self.note(environ["REQUEST_METHOD"], environ["PATH_INFO"].encode("latin-1"), fields, environ["keybearer"])
        start_response("200 OK", [("Content-Length", "0")])
        return []


@contextmanager
def site(kind: str, guard: Guard) -> Iterator[tuple[Seen, int]]:
    seen = Seen()
    served = (
        serving_asgi(AsgiMiddleware(seen.asgi, guard, permissions="pages:read"))
        if kind == "ASGI"
        else serving_wsgi(WsgiMiddleware(seen.wsgi, guard, permissions="pages:read"))
    )
    with served as url:
        yield seen, int(url.rpartition(":")[2])


CORPORA = {
    "identity claims": hostile.IDENTITY_CLAIMS,
    "hop by hop": hostile.HOP_BY_HOP,
    "repeated": hostile.REPEATED,
    "paths": hostile.PATHS,
    "smuggling": hostile.SMUGGLING,
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("kind", ["ASGI", "WSGI"])
def test_no_claim_of_a_client_reaches_the_application(shop: Shop, guard: Guard, kind: str) -> None:
    _, credential = shop.key("pages:read")
    with site(kind, guard) as (seen, port):
        for name, corpus in CORPORA.items():
            answers = send_all(port, corpus, credential)
            assert hostile.complaints(seen.requests) == [], name
            assert [case.name for case in corpus if case.plain and b" 200" not in answers[case.name][:15]] == [], name
            assert not [case for case, answer in answers.items() if answer.startswith(b"HTTP/1.1 5") and kind == "ASGI"]
    assert seen.requests


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("kind", ["ASGI", "WSGI"])
def test_a_key_for_some_paths_opens_no_other_however_it_is_written(shop: Shop, guard: Guard, kind: str) -> None:
    _, credential = shop.key("pages:read", restrictions={"paths": ["/public/*"]})
    with site(kind, guard) as (seen, port):
        send_all(port, hostile.PATHS, credential)
        for one in seen.requests:
            assert one.target.startswith(b"/public/"), one.target
            assert b".." not in one.target
