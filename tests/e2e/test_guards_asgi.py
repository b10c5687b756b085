"""The guard in front of ASGI and FastAPI applications on a real uvicorn."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from keybearer.guards import Guard
from keybearer.guards.asgi import GuardMiddleware
from tests.e2e.shop import Shop
from tests.e2e.test_guards import token
from tests.support.asgi_server import serving
from tests.support.fastapi_site import fastapi_site
from tests.support.guarding import guarding, shop_at
from tests.support.oauth import basic

COOKIE = "__Host-token"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    options = {"token_cookie": COOKIE, "allow_publishable_in_query": True}
    with shop_at(tmp_path_factory.mktemp("guards"), **options) as found:
        yield found


@pytest.fixture(scope="module")
def guard(shop: Shop) -> Iterator[Guard]:
    with guarding(shop) as found:
        yield found


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says what it sees: who calls, and all header fields."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    caller = scope["keybearer"]
    seen = {
        "caller": None if caller is None else caller.credential_id,
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
    }
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps(seen)})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


@pytest.fixture(scope="module")
def site(guard: Guard) -> Iterator[str]:
    rules = {"GET /pages/*": "pages:read", "/pages/*": "pages:write"}
    with serving(GuardMiddleware(application, guard, rules=rules, public=("/health", "/static/*"))) as url:
        yield url


def send(url: str, method: str = "GET", headers: Any = (), **more: Any) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=10) as client:
        return client.request(method, url, headers=headers, **more)


def bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}


def test_who_has_a_good_key_passes_and_is_known(shop: Shop, site: str) -> None:
    key_id, credential = shop.key("pages:read")
    for headers in (bearer(credential), {"x-api-key": credential}):
        answer = send(f"{site}/pages/1", headers=headers)
        assert answer.status_code == 200
        assert answer.json()["caller"] == key_id


def test_public_places_ask_for_nothing(site: str) -> None:
    for path in ("/health", "/static/site.css"):
        assert send(site + path).json()["caller"] is None
    for path in ("/healthz", "/static2", "/"):
        assert send(site + path).status_code == 401


@pytest.mark.parametrize(
    "path", ["/static/../pages/1", "/static/%2e%2e/pages/1", "/static//x", "/static/a;b", "/static/%2f"]
)
def test_a_path_that_reads_in_two_ways_is_public_for_nobody(site: str, path: str) -> None:
    # By a bare socket: HTTP clients tidy paths up.
    host, port = site.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert line.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_refusals_are_problems_with_a_challenge(shop: Shop, site: str) -> None:
    metadata = f'resource_metadata="{shop.node.url}/oauth/resources/https://site.example"'
    nobody = send(f"{site}/pages/1")
    assert nobody.status_code == 401
    assert nobody.headers["content-type"] == "application/problem+json"
    assert nobody.headers["www-authenticate"] == f'Bearer scope="pages:read", {metadata}'
    assert nobody.json()["status"] == 401
    wrong = send(f"{site}/pages/1", headers=bearer("kb_sk_live_nothing"))
    assert 'error="invalid_token"' in wrong.headers["www-authenticate"]
    _, credential = shop.key("pages:read")
    lacking = send(f"{site}/pages/1", "POST", headers=bearer(credential))
    assert lacking.status_code == 403
    assert lacking.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="pages:write", {metadata}'
    assert send(f"{site}/pages/1", "HEAD").content == b""


def test_limits_are_told_with_every_answer(shop: Shop, site: str) -> None:
    _, credential = shop.key("pages:read", limits=[{"name": "all", "limit": 2, "period_in": 3600}])
    answers = [send(f"{site}/pages/1", headers=bearer(credential)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit"].startswith('"all";r=1;')
    assert answers[2].headers["ratelimit"].startswith('"all";r=0;')
    assert int(answers[2].headers["retry-after"]) > 0


def test_a_publishable_key_in_the_url_is_answered_with_no_store_and_counted(
    shop: Shop, site: str, guard: Guard
) -> None:
    more = {"kind": "publishable_key", "restrictions": {"origins": ["https://map.example"]}}
    _, public = shop.key("pages:read", **more)
    _, secret = shop.key("pages:read")
    before = dict(guard.metrics)["in_query"]
    origin = {"origin": "https://map.example"}
    answer = send(f"{site}/pages/1?key={public}", headers=origin)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert dict(guard.metrics)["in_query"] == before + 1
    assert send(f"{site}/pages/1?key={secret}", headers=origin).status_code == 401
    assert send(f"{site}/pages/1?key={public}", headers={"origin": "https://evil.example"}).status_code == 401


def test_a_cookie_carries_a_token_for_this_very_site(shop: Shop, site: str) -> None:
    _, access_token = token(shop, "pages:read pages:write")
    cookie = {"cookie": f"{COOKIE}={access_token}"}
    assert send(f"{site}/pages/1", headers=cookie).status_code == 200
    assert send(f"{site}/pages/1", "POST", headers=cookie).status_code == 403
    assert send(f"{site}/pages/1", "POST", headers=cookie | {"sec-fetch-site": "same-origin"}).status_code == 200
    assert send(f"{site}/pages/1", "POST", headers=cookie | {"sec-fetch-site": "cross-site"}).status_code == 403
    assert send(f"{site}/pages/1", headers=cookie | bearer(access_token)).status_code == 401


def test_websockets_are_guarded_at_the_handshake(shop: Shop, site: str) -> None:
    key_id, credential = shop.key("pages:read")
    url = site.replace("http:", "ws:") + "/pages/live"
    with connect(url, additional_headers=bearer(credential), proxy=None) as line:
        assert json.loads(line.recv())["caller"] == key_id
    _, access_token = token(shop)
    cookie = {"Cookie": f"{COOKIE}={access_token}"}
    for headers, status in (({}, 401), (cookie | {"Origin": "https://evil.example"}, 403)):
        with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=headers, proxy=None):
            pass
        assert refused.value.response.status_code == status
    with connect(url, additional_headers=cookie | {"Origin": site}, proxy=None) as line:
        assert json.loads(line.recv())["caller"].startswith("at_")


# FastAPI.


@pytest.fixture(scope="module")
def api(guard: Guard) -> Iterator[str]:
    with serving(fastapi_site(guard, COOKIE)) as url:
        yield url


def test_dependencies_let_in_who_may(shop: Shop, api: str) -> None:
    key_id, credential = shop.key("pages:read")
    answer = send(f"{api}/pages/7", headers=bearer(credential))
    assert answer.json() == {"number": 7, "caller": key_id}
    lacking = send(f"{api}/pages", "POST", headers=bearer(credential))
    assert lacking.status_code == 403
    assert 'scope="pages:write"' in lacking.headers["www-authenticate"]
    assert lacking.headers["content-type"] == "application/problem+json"
    _, writer = shop.key("pages:*")
    assert send(f"{api}/pages", "POST", headers={"x-api-key": writer}).json()["may"] is True
    assert send(f"{api}/health").status_code == 200
    assert send(f"{api}/pages/7").status_code == 401
    _, limited = shop.key("pages:read", limits=[{"name": "all", "limit": 2, "period_in": 3600}])
    assert send(f"{api}/pages/7", headers=bearer(limited)).headers["ratelimit"].startswith('"all";r=1;')


def test_the_application_describes_itself(api: str) -> None:
    document = send(f"{api}/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["ApiKey"]["in"] == "header"
    assert schemes["ApiKey"]["name"] == "X-API-Key"
    assert schemes["Bearer"]["scheme"] == "bearer"
    assert (schemes["Cookie"]["in"], schemes["Cookie"]["name"]) == ("cookie", COOKIE)
    read, write = document["paths"]["/pages/{number}"]["get"], document["paths"]["/pages"]["post"]
    assert read["security"] == [{name: ["pages:read"]} for name in ("ApiKey", "Bearer", "Cookie")]
    assert write["security"] == [{name: ["pages:write"]} for name in ("ApiKey", "Bearer", "Cookie")]
    assert [parameter["name"] for parameter in read["parameters"]] == ["number"]
    assert "security" not in document["paths"]["/health"]["get"]


@pytest.mark.parametrize("name", ["x-keybearer-user", "X_Keybearer_User", "x.keybearer.key", "X-KEYBEARER-PERMISSIONS"])
def test_no_identity_of_a_client_reaches_the_application(shop: Shop, site: str, name: str) -> None:
    _, credential = shop.key("pages:read")
    seen = send(f"{site}/pages/1", headers={**bearer(credential), name: "user_evil"}).json()["headers"]
    assert "user_evil" not in [value for _, value in seen]
    assert "user_evil" not in [
        value for _, value in send(f"{site}/health", headers={name: "user_evil"}).json()["headers"]
    ]


def test_a_token_bound_to_a_key_is_asked_about_with_its_proof_each_time(shop: Shop, site: str, guard: Guard) -> None:
    key = new_key()
    client_id, secret = shop.client(grant_types=["client_credentials"])
    answer = shop.send(
        "POST", "/oauth/token",
        data={"grant_type": "client_credentials", "scope": "pages:read", "resource": shop.api["identifier"]},
        headers={"authorization": basic(client_id, secret), "dpop": proof(key, f"{shop.node.url}/oauth/token", "POST")},
    )  # fmt: skip
    bound = answer.json()["access_token"]
    url = f"{site}/pages/1"
    before = dict(guard.metrics)["online"]
    for _ in range(2):
        fields = {"authorization": f"DPoP {bound}", "dpop": proof(key, url, "GET", bound)}
        assert send(url, headers=fields).status_code == 200
    assert dict(guard.metrics)["online"] == before + 2
    used = {"authorization": f"DPoP {bound}", "dpop": proof(key, url, "GET", bound)}
    assert send(url, headers=used).status_code == 200
    for headers in (
        used,  # a second time
        bearer(bound),
        {"authorization": f"DPoP {bound}"},
        {"authorization": f"DPoP {bound}", "dpop": proof(new_key(), url, "GET", bound)},
        {"authorization": f"DPoP {bound}", "dpop": proof(key, url + "2", "GET", bound)},
    ):
        refused = send(url, headers=headers)
        assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith('DPoP error="invalid_dpop_proof"')


def new_key() -> Any:
    return ECKey.generate_key("P-256")


def proof(key: Any, url: str, method: str, token: str = "") -> str:
    claims = {"jti": secrets.token_hex(8), "htm": method, "htu": url, "iat": int(time.time())}
    if token:
        claims["ath"] = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.as_dict(private=False)}
    return str(jws.serialize_compact(header, json.dumps(claims).encode(), key))
