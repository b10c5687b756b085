"""requests-oauthlib as a client: client credentials, code with PKCE, renewal and revocation, a device."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from oauthlib.oauth2 import BackendApplicationClient, DeviceClient, InvalidGrantError, WebApplicationClient
from oauthlib.oauth2.rfc6749.errors import CustomOAuth2Error
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from tests.e2e.shop import Shop
from tests.support.visitor import Visitor

CALLBACK = "http://127.0.0.1:1/callback"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # the authority of the tests is on loopback


@pytest.fixture
def metadata(world: Shop) -> dict[str, Any]:
    """RFC 8414 metadata; all addresses come from it."""
    return dict(httpx.get(world.node.issuer + "/.well-known/oauth-authorization-server", trust_env=False).json())


@pytest.fixture
def sessions() -> Iterator[list[OAuth2Session]]:
    """Sessions to close at the end."""
    opened: list[OAuth2Session] = []
    yield opened
    for one in opened:
        one.close()


def _session(opened: list[OAuth2Session], **more: Any) -> OAuth2Session:
    session = OAuth2Session(**more)
    session.trust_env = False
    opened.append(session)
    return session


def test_client_credentials(world: Shop, metadata: dict[str, Any], sessions: list[OAuth2Session]) -> None:
    client_id, secret = world.client(grant_types=["client_credentials"])
    session = _session(sessions, client=BackendApplicationClient(client_id, scope=["pages:write"]))
    token = session.fetch_token(metadata["token_endpoint"], auth=HTTPBasicAuth(client_id, secret))
    assert token["scope"] == ["pages:write"]
    answer = world.verify(token["access_token"], permissions=["pages:write"])
    assert (answer["valid"], answer["principal"]["client_id"]) == (True, client_id)
    assert world.verify(token["access_token"], permissions=["pages:read"])["code"] == "INSUFFICIENT_PERMISSIONS"


def test_code_with_pkce_renewal_and_revocation(
    world: Shop, metadata: dict[str, Any], sessions: list[OAuth2Session], visitor: Visitor
) -> None:
    client_id, secret = world.client(CALLBACK)
    session = _session(
        sessions,
        client=(web := WebApplicationClient(client_id)),
        redirect_uri=CALLBACK,
        scope=["openid", "offline_access", "pages:read"],
        pkce="S256",
    )
    url, _ = session.authorization_url(metadata["authorization_endpoint"])
    answer = visitor.arrives(url, CALLBACK)
    auth = HTTPBasicAuth(client_id, secret)
    first = session.fetch_token(metadata["token_endpoint"], authorization_response=answer, auth=auth)
    person = session.get(metadata["userinfo_endpoint"]).json()
    assert world.verify(first["access_token"], permissions=["pages:read"])["principal"]["user_id"] == person["sub"]

    second = session.refresh_token(metadata["token_endpoint"], auth=auth)
    assert second["refresh_token"] != first["refresh_token"]
    assert session.get(metadata["userinfo_endpoint"]).status_code == 200
    url, headers, body = web.prepare_token_revocation_request(
        metadata["revocation_endpoint"], second["refresh_token"], token_type_hint="refresh_token"
    )
    assert session.request("POST", url, data=body, headers=headers, auth=auth, withhold_token=True).status_code == 200
    assert session.get(metadata["userinfo_endpoint"]).status_code == 401
    with pytest.raises(InvalidGrantError):
        session.refresh_token(metadata["token_endpoint"], refresh_token=second["refresh_token"], auth=auth)


def test_a_device(world: Shop, metadata: dict[str, Any], sessions: list[OAuth2Session], visitor: Visitor) -> None:
    client_id, _ = world.client(token_endpoint_auth_method="none", grant_types=[DEVICE])
    asked = {"client_id": client_id, "scope": "pages:read"}
    device = httpx.post(metadata["device_authorization_endpoint"], data=asked, trust_env=False).json()
    session = _session(sessions, client=DeviceClient(client_id, device_code=device["device_code"]))

    def poll() -> Any:
        return session.fetch_token(
            metadata["token_endpoint"], device_code=device["device_code"], include_client_id=True
        )

    with pytest.raises(CustomOAuth2Error, match="authorization_pending"):
        poll()
    visitor.confirm_device(device["verification_uri_complete"], device["user_code"])
    time.sleep(device["interval"])
    assert world.verify(poll()["access_token"], permissions=["pages:read"])["valid"]
