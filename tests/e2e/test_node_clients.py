"""openid-client and oauth4webapi, which refuse every answer that is not as specified, as clients in Node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwk

from tests.e2e.shop import API, Shop
from tests.support.authority import ADMIN_EMAIL, Authority
from tests.support.nginx import Nginx
from tests.support.node import NotInstalled, converse, packages
from tests.support.visitor import Visitor

CALLBACK = "http://127.0.0.1:1/callback"
CODE, REFRESH, MACHINE = "authorization_code", "refresh_token", "client_credentials"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
SETTINGS = {"KEYBEARER_DPOP_NONCES": "1", "KEYBEARER_CLIENT_REGISTRATION": "open"}
NGINX = """\
    upstream keybearer { server 127.0.0.1:@KEYBEARER@; }
    server {
        listen 127.0.0.1:@PORT@;
        proxy_set_header Host $http_host;
        location / { return 404; }
        location /a/b/ { proxy_pass http://keybearer/; }
        location ~ ^/.well-known/[a-z-]+/a/b$ { proxy_pass http://keybearer; }
    }
"""
KEYED = {"token_endpoint_auth_method": "private_key_jwt", "grant_types": [CODE, REFRESH, MACHINE]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """An authority that demands nonces in DPoP proofs and lets clients register themselves."""
    try:
        packages("clients")
    except NotInstalled as reason:
        pytest.skip(str(reason))
    home = tmp_path_factory.mktemp("node-clients")
    node = Authority(home / "data", home / "logs", environment=SETTINGS)
    node.init()
    node.start()
    yield Shop(node, token_format="jwt")
    node.stop()


def _settings(world: Shop, **keyed: Any) -> dict[str, Any]:
    key = jwk.ECKey.generate_key("P-256", {"kid": "one", "alg": "ES256"})
    grants = [CODE, REFRESH, EXCHANGE]
    confidential = world.client(CALLBACK, post_logout_redirect_uris=[CALLBACK], grant_types=grants)
    registered, _ = world.client(CALLBACK, jwks={"keys": [key.as_dict(private=False)]}, **KEYED, **keyed)
    return {
        "issuer": world.node.issuer,
        "redirect_uri": CALLBACK,
        "api": API,
        "api_key": world.key("pages:read", "pages:write")[1],
        "key": key.as_dict(private=True),
        "confidential": {"id": confidential[0], "secret": confidential[1]},
        "keyed": {"id": registered},
    }


def _person(visitor: Visitor) -> Any:
    def answer(asked: dict[str, Any]) -> str:
        if "device" in asked:
            visitor.confirm_device(asked["device"], asked["code"])
            return ""
        return visitor.arrives(asked["open"], CALLBACK)

    return answer


@pytest.fixture
def world_with_a_path(world: Shop, nginx: Callable[[str], Nginx], tmp_path: Path) -> Iterator[Shop]:
    """Another authority, whose issuer has a path: it shares an nginx with other things."""
    node = Authority(tmp_path / "data", tmp_path / "logs")
    front = nginx(NGINX.replace("@KEYBEARER@", str(node.port)))
    node.environment = SETTINGS | {"KEYBEARER_ISSUER": f"{front.url}/a/b"}
    node.init()
    node.start()
    yield Shop(node, token_format="jwt")
    node.stop()


def test_openid_client(world: Shop, visitor: Visitor, tmp_path: Path) -> None:
    _openid_client(world, visitor, tmp_path)


def test_oauth4webapi(world: Shop, visitor: Visitor, tmp_path: Path) -> None:
    _oauth4webapi(world, visitor, tmp_path)


def test_an_issuer_with_a_path(world_with_a_path: Shop, visitor: Visitor, tmp_path: Path) -> None:
    assert world_with_a_path.node.issuer.endswith("/a/b")
    for number, client in enumerate((_openid_client, _oauth4webapi)):
        (folder := tmp_path / str(number)).mkdir()
        client(world_with_a_path, visitor, folder)


def _openid_client(world: Shop, visitor: Visitor, tmp_path: Path) -> None:
    seen = converse(tmp_path, "clients/openid_client.mjs", _settings(world), _person(visitor))
    secret, keys = seen["secret"], seen["keys"]
    assert secret["email"] == ADMIN_EMAIL
    assert set(secret["scope"].split()) == {"openid", "email", "offline_access", "pages:read"}
    assert secret["introspected"]["active"]
    assert secret["introspected"]["aud"] == API
    assert (secret["after"], secret["replayed"]) == ("invalid_grant", "invalid_grant")
    assert world.verify(secret["access_token"])["code"] == "REVOKED"
    assert secret["left"] == f"{CALLBACK}?state=gone"

    assert keys["parameters"] == ["client_id", "request_uri"]
    assert keys["introspected"]["cnf"] == {"jkt": keys["thumbprint"]}
    assert (keys["type"], keys["renewed"]) == ("dpop", "dpop")
    assert keys["machine"] == {"type": "dpop", "scope": "pages:write"}
    assert keys["bearer"] != "nothing was refused"
    jar, pushed = seen["signed"]
    assert jar == {"asked": ["client_id", "request"], "answered": ["response"], "scope": "openid pages:read"}
    assert pushed == {**jar, "asked": ["client_id", "request_uri"]}

    assert seen["exchanged"]["kind"] == "urn:ietf:params:oauth:token-type:access_token"
    assert seen["exchanged"]["scope"] == "pages:read"
    assert world.verify(seen["exchanged"]["access_token"], permissions=["pages:read"])["valid"]
    assert seen["registered"]["email"] == ADMIN_EMAIL


def _oauth4webapi(world: Shop, visitor: Visitor, tmp_path: Path) -> None:
    signed = {"introspection_signed_response_alg": "ES256", "userinfo_signed_response_alg": "ES256"}
    settings = _settings(world, require_pushed_authorization_requests=True, dpop_bound_access_tokens=True, **signed)
    seen = converse(tmp_path, "clients/oauth4webapi.mjs", settings, _person(visitor))
    assert seen["same"]
    assert seen["nonces"] >= 1
    assert seen["person"]["email"] == ADMIN_EMAIL
    assert seen["introspected"]["active"]
    claims = seen["claims"]
    assert (claims["iss"], claims["aud"]) == (world.node.issuer, API)
    assert claims["cnf"] == seen["introspected"]["cnf"] == {"jkt": seen["thumbprint"]}
    assert "pages:read" in claims["scope"].split()
    assert seen["type"] == "dpop"
    assert seen["machine"] == {"type": "dpop", "scope": "pages:write"}
    assert seen["stays"]
    assert seen["ended"] == "invalid_grant"
    assert world.verify(seen["renewed"], permissions=["pages:read"])["code"] == "REVOKED"
