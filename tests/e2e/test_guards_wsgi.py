"""The guard in front of WSGI, Flask, Django and REST framework, on real servers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
import pytest
from flask import Flask, g

from keybearer.guards import Guard
from keybearer.guards.flask import Guarded
from keybearer.guards.wsgi import GuardMiddleware
from tests.e2e.shop import Shop
from tests.e2e.test_guards import token
from tests.support.guarding import eventually, guard_key, guarding, shop_at
from tests.support.ports import free_port
from tests.support.processes import stop

COOKIE = "__Host-token"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop_at(tmp_path_factory.mktemp("guards"), token_cookie=COOKIE, allow_publishable_in_query=True) as found:
        yield found


@pytest.fixture(scope="module")
def guard(shop: Shop) -> Iterator[Guard]:
    with guarding(shop) as found:
        yield found


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(app: Any) -> Iterator[str]:
    with make_server("127.0.0.1", 0, app, _Server, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(5)


def plain(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    caller = environ["keybearer"]
    headers = [[name, value] for name, value in environ.items() if name.startswith("HTTP_")]
    body = json.dumps({"caller": None if caller is None else caller.credential_id, "headers": headers}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture(scope="module")
def wsgi(guard: Guard) -> Iterator[str]:
    rules = {"GET /pages/*": "pages:read", "/pages/*": "pages:write"}
    with serving(GuardMiddleware(plain, guard, rules=rules, public=("/health",))) as url:
        yield url


@pytest.fixture(scope="module")
def flask(guard: Guard) -> Iterator[str]:
    app = Flask("site")
    guarded = Guarded(guard, app, default="pages:read")

    def seen() -> Any:
        from flask import request

        caller = g.caller
        return {
            "caller": None if caller is None else caller.credential_id,
            "headers": [[name, str(value)] for name, value in request.environ.items() if name.startswith("HTTP_")],
        }

    app.add_url_rule("/pages/<path:rest>", "read", lambda rest: seen())
    app.add_url_rule("/pages/<path:rest>", "write", guarded("pages:write")(lambda rest: seen()), methods=["POST"])
    app.add_url_rule("/health", "health", guarded.public(lambda: seen()))
    with serving(app) as url:
        yield url


@pytest.fixture(scope="module")
def django(shop: Shop) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.support.django_site", str(port), shop.node.url, guard_key(shop)[1]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)
        process.stdout.close()


@pytest.fixture(params=["wsgi", "flask", "django"])
def site(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def send(url: str, method: str = "GET", headers: Any = (), **more: Any) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=10) as client:
        return client.request(method, url, headers=headers, **more)


def bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}


def test_who_has_a_good_key_passes_and_is_known(shop: Shop, site: str) -> None:
    key_id, credential = shop.key("pages:read")
    for headers in (bearer(credential), {"x-api-key": credential}):
        answer = send(f"{site}/pages/1", headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["caller"] == key_id
    assert send(f"{site}/health").json()["caller"] is None
    shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
    eventually(lambda: send(f"{site}/pages/1", headers=bearer(credential)).status_code == 401, 1.5)


def test_refusals_are_problems_with_a_challenge(shop: Shop, site: str) -> None:
    metadata = f'resource_metadata="{shop.node.url}/oauth/resources/https://site.example"'
    nobody = send(f"{site}/pages/1")
    assert nobody.status_code == 401
    assert nobody.headers["content-type"] == "application/problem+json"
    assert nobody.headers["www-authenticate"] == f'Bearer scope="pages:read", {metadata}'
    _, credential = shop.key("pages:write")
    lacking = send(f"{site}/pages/1", headers=bearer(credential))
    assert lacking.status_code == 403
    assert 'error="insufficient_scope", scope="pages:read"' in lacking.headers["www-authenticate"]


def test_limits_are_told_with_every_answer(shop: Shop, site: str) -> None:
    _, credential = shop.key("pages:read", limits=[{"name": "all", "limit": 2, "period_in": 3600}])
    answers = [send(f"{site}/pages/1", headers=bearer(credential)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit"].startswith('"all";r=1;')
    assert int(answers[2].headers["retry-after"]) > 0


@pytest.mark.parametrize("name", ["x-keybearer-user", "X_Keybearer_User", "x.keybearer.key", "X-KEYBEARER-PERMISSIONS"])
def test_no_identity_of_a_client_reaches_the_application(shop: Shop, site: str, name: str) -> None:
    _, credential = shop.key("pages:read")
    for url, headers in ((f"{site}/pages/1", bearer(credential)), (f"{site}/health", {})):
        seen = send(url, headers={**headers, name: "user_evil"}).json()["headers"]
        assert "user_evil" not in [value for _, value in seen]


def test_several_credentials_are_none(shop: Shop, site: str) -> None:
    _, credential = shop.key("pages:read")
    twice = [("authorization", f"Bearer {credential}"), ("authorization", f"Bearer {credential}")]
    for headers in (
        twice,
        [*bearer(credential).items(), ("x-api-key", credential)],
        [("x-api-key", credential), ("x-api-key", credential)],
        [("x-api-key", credential), ("x_api_key", credential)],
    ):
        assert send(f"{site}/pages/1", headers=headers).status_code == 401


def test_a_cookie_carries_a_token_for_this_very_site(shop: Shop, wsgi: str, flask: str) -> None:
    _, access_token = token(shop, "pages:read pages:write")
    cookie = {"cookie": f"{COOKIE}={access_token}"}
    for site in (wsgi, flask):
        assert send(f"{site}/pages/1", headers=cookie).status_code == 200
        assert send(f"{site}/pages/1", "POST", headers=cookie).status_code == 403
        assert send(f"{site}/pages/1", "POST", headers=cookie | {"origin": site}).status_code == 200


@pytest.mark.parametrize("path", ["/pages/%2e%2e/health", "/health/../pages/1", "/health//", "/health;x"])
def test_a_path_that_reads_in_two_ways_is_no_way_in(wsgi: str, django: str, path: str) -> None:
    for site in (wsgi, django):
        with httpx.Client(trust_env=False) as client:
            request = client.build_request("GET", site)
            request.url = request.url.copy_with(raw_path=path.encode())
            assert client.send(request).status_code in (400, 401)


def test_rest_framework_asks_for_all_that_a_rule_wants_wherever_it_stands(shop: Shop, django: str) -> None:
    _, writer = shop.key("pages:write")
    for view in ("joined", "chosen", "second"):
        assert send(f"{django}/rest/{view}", headers=bearer(writer)).status_code == 403, view


def test_django_decorators_and_rest_framework(shop: Shop, django: str) -> None:
    reader_id, reader = shop.key("pages:read")
    writer_id, writer = shop.key("pages:write")
    for path in ("/decorated/sync", "/decorated/async", "/rest/write"):
        good = send(django + path, headers=bearer(writer))
        assert (good.status_code, good.json()["caller"]) == (200, writer_id)
        lacking = send(django + path, headers=bearer(reader))
        assert lacking.status_code == 403
        assert 'scope="pages:write"' in lacking.headers["www-authenticate"]
        nobody = send(django + path)
        assert nobody.status_code == 401
        assert "resource_metadata=" in nobody.headers["www-authenticate"]
        assert send(django + path, headers=bearer(writer[:-1] + "_")).status_code == 401
    assert send(f"{django}/rest/open").json() == {"caller": None}
    assert send(f"{django}/rest/open", headers=bearer(reader)).json() == {"caller": reader_id}
    _, limited = shop.key("pages:write", limits=[{"name": "all", "limit": 1, "period_in": 3600}])
    answers = [send(f"{django}/rest/write", headers=bearer(limited)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert int(answers[1].headers["retry-after"]) > 0
