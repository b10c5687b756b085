"""Authlib as a client: it gets, renews, introspects and gives back tokens, and checks ID tokens by the JWK Set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from authlib.integrations.requests_client import OAuth2Session
from authlib.integrations.requests_client import OAuthError as Refused
from authlib.oauth2.rfc6750 import InsufficientScopeError, InvalidTokenError
from authlib.oauth2.rfc7523 import ClientSecretJWT, PrivateKeyJWT
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from authlib.oidc.core import CodeIDToken
from joserfc import jwk, jwt

from tests.e2e.shop import API, Shop
from tests.support.visitor import Visitor

CALLBACK = "http://127.0.0.1:1/callback"
VERIFIER = "authlib-" + "v" * 40
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
SCOPE = "openid email offline_access pages:read"


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # the authority of the tests is on loopback


@pytest.fixture
def metadata(world: Shop) -> dict[str, Any]:
    """The discovery document; all addresses come from it."""
    return dict(httpx.get(world.node.issuer + "/.well-known/openid-configuration", trust_env=False).json())


@pytest.fixture
def sessions() -> Iterator[list[OAuth2Session]]:
    """Sessions to close at the end."""
    opened: list[OAuth2Session] = []
    yield opened
    for one in opened:
        one.close()


def _session(opened: list[OAuth2Session], client: tuple[str, Any], **more: Any) -> OAuth2Session:
    session = OAuth2Session(*client, code_challenge_method="S256", **more)
    session.trust_env = False
    opened.append(session)
    return session


def _claims(metadata: dict[str, Any], token: dict[str, Any], client_id: str, nonce: str) -> CodeIDToken:
    """The claims of an ID token, as Authlib's own integrations check them."""
    keys = jwk.KeySet.import_key_set(httpx.get(metadata["jwks_uri"], trust_env=False).json())
    decoded = jwt.decode(token["id_token"], keys, algorithms=metadata["id_token_signing_alg_values_supported"])
    options = {
        "iss": {"values": [metadata["issuer"]]},
        "aud": {"values": [client_id]},
        "nonce": {"value": nonce},
        "sub": {"essential": True},
        "at_hash": {"essential": True},
    }
    params = {"nonce": nonce, "client_id": client_id, "access_token": token["access_token"]}
    claims = CodeIDToken(decoded.claims, decoded.header, options, params)
    claims.validate(now=int(time.time()), leeway=5)
    return claims


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_client_credentials_introspection_revocation(
    world: Shop, metadata: dict[str, Any], sessions: list[OAuth2Session], method: str
) -> None:
    client = world.client(grant_types=["client_credentials"], token_endpoint_auth_method=method)
    methods = {"token_endpoint_auth_method": method, "revocation_endpoint_auth_method": method}
    session = _session(sessions, client, scope="pages:read", **methods)
    token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    assert (token["token_type"], token["scope"]) == ("Bearer", "pages:read")
    assert world.verify(token["access_token"], permissions=["pages:read"])["valid"]

    said = session.introspect_token(metadata["introspection_endpoint"], token=token["access_token"]).json()
    assert (said["active"], said["client_id"], said["scope"], said["aud"]) == (True, client[0], "pages:read", API)
    assert session.revoke_token(metadata["revocation_endpoint"], token=token["access_token"]).status_code == 200
    assert session.introspect_token(metadata["introspection_endpoint"], token=token["access_token"]).json() == {
        "active": False
    }
    assert world.verify(token["access_token"])["code"] == "REVOKED"


def test_client_assertions(world: Shop, metadata: dict[str, Any], sessions: list[OAuth2Session]) -> None:
    key = jwk.ECKey.generate_key("P-256", {"kid": "one"})
    asymmetric, _ = world.client(
        grant_types=["client_credentials"],
        token_endpoint_auth_method="private_key_jwt",
        jwks={"keys": [key.as_dict(private=False)]},
    )
    symmetric = world.client(grant_types=["client_credentials"], token_endpoint_auth_method="client_secret_jwt")
    for client, method in (
        ((asymmetric, key), PrivateKeyJWT(metadata["issuer"], alg="ES256")),
        (symmetric, ClientSecretJWT(metadata["issuer"])),
    ):
        session = _session(sessions, client, token_endpoint_auth_method=method.name, scope="pages:write")
        session.register_client_auth_method(method)
        token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
        assert world.verify(token["access_token"], permissions=["pages:write"])["valid"]


def test_code_id_token_userinfo_and_renewal(
    world: Shop, metadata: dict[str, Any], sessions: list[OAuth2Session], visitor: Visitor
) -> None:
    client = world.client(CALLBACK)
    session = _session(sessions, client, scope=SCOPE, redirect_uri=CALLBACK)
    url, state = session.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=VERIFIER, nonce="n-authlib"
    )
    answer = visitor.arrives(url, CALLBACK)
    assert dict(parse_qsl(urlsplit(answer).query))["iss"] == metadata["issuer"]
    token = session.fetch_token(
        metadata["token_endpoint"], authorization_response=answer, state=state, code_verifier=VERIFIER
    )
    claims = _claims(metadata, token, client[0], "n-authlib")
    person = session.get(metadata["userinfo_endpoint"]).json()
    assert (person["sub"], person["email"]) == (claims["sub"], visitor.email)

    renewed = session.refresh_token(metadata["token_endpoint"])
    assert renewed["access_token"] != token["access_token"]
    assert renewed["refresh_token"] != token["refresh_token"]
    assert world.verify(renewed["access_token"], permissions=["pages:read"])["valid"]
    session.revoke_token(
        metadata["revocation_endpoint"], token=renewed["refresh_token"], token_type_hint="refresh_token"
    )
    assert world.verify(renewed["access_token"])["code"] == "REVOKED"
    with pytest.raises(Refused) as refused:
        session.refresh_token(metadata["token_endpoint"], refresh_token=renewed["refresh_token"])
    assert refused.value.error == "invalid_grant"


def test_a_wrong_verifier_and_a_used_code_are_refused(
    world: Shop, metadata: dict[str, Any], sessions: list[OAuth2Session], visitor: Visitor
) -> None:
    client = world.client(CALLBACK, token_endpoint_auth_method="none")
    session = _session(
        sessions, (client[0], None), scope="pages:read", redirect_uri=CALLBACK, token_endpoint_auth_method="none"
    )
    url, state = session.create_authorization_url(metadata["authorization_endpoint"], code_verifier=VERIFIER)
    answer = visitor.arrives(url, CALLBACK)

    def redeem(verifier: str) -> Any:
        return session.fetch_token(
            metadata["token_endpoint"], authorization_response=answer, state=state, code_verifier=verifier
        )

    with pytest.raises(Refused) as refused:
        redeem("w" * 43)
    assert refused.value.error == "invalid_grant"
    token = redeem(VERIFIER)
    with pytest.raises(Refused) as refused:
        redeem(VERIFIER)
    assert refused.value.error == "invalid_grant"
    assert world.verify(token["access_token"])["code"] == "REVOKED"


def test_a_device(world: Shop, metadata: dict[str, Any], sessions: list[OAuth2Session], visitor: Visitor) -> None:
    client = world.client(token_endpoint_auth_method="none", grant_types=[DEVICE, "refresh_token"])
    session = _session(sessions, (client[0], None), token_endpoint_auth_method="none")
    asked = {"client_id": client[0], "scope": "openid pages:read"}
    device = httpx.post(metadata["device_authorization_endpoint"], data=asked, trust_env=False).json()

    def poll() -> Any:
        return session.fetch_token(metadata["token_endpoint"], grant_type=DEVICE, device_code=device["device_code"])

    with pytest.raises(Refused) as refused:
        poll()
    assert refused.value.error == "authorization_pending"
    visitor.confirm_device(device["verification_uri"], device["user_code"])
    time.sleep(device["interval"])
    token = poll()
    assert set(token["scope"].split()) == {"openid", "pages:read"}
    assert world.verify(token["access_token"], permissions=["pages:read"])["principal"]["user_id"]
    keys = jwk.KeySet.import_key_set(httpx.get(metadata["jwks_uri"], trust_env=False).json())
    assert jwt.decode(token["id_token"], keys, algorithms=["ES256"]).claims["aud"] == client[0]


class _Rooms(JWTBearerTokenValidator):
    """An API that checks JWT access tokens with the JWK Set alone, and asks nobody."""

    def __init__(self, metadata: dict[str, Any], identifier: str) -> None:
        super().__init__(metadata["issuer"], identifier)
        self.jwks_uri = metadata["jwks_uri"]

    def get_jwks(self) -> jwk.KeySet:
        return jwk.KeySet.import_key_set(httpx.get(self.jwks_uri, trust_env=False).json())

    def takes(self, token: str, scope: str) -> Any:
        claims = self.authenticate_token(token)
        self.validate_token(claims, [scope], None)
        return claims


def test_an_api_checks_jwt_access_tokens_by_itself(
    world: Shop, metadata: dict[str, Any], sessions: list[OAuth2Session]
) -> None:
    identifier, permissions = "https://rooms.example", [{"name": "rooms:read"}, {"name": "rooms:write"}]
    rooms = {"identifier": identifier, "name": "Rooms", "permissions": permissions, "token_format": "jwt"}
    api = world.call("POST", "/v1/apis", rooms)
    project = world.call("POST", "/v1/projects", {"name": "Hotel", "enabled_apis": [api["id"]]})
    client = world.client(
        project_id=project["id"], scopes=["rooms:read", "rooms:write"], grant_types=["client_credentials"]
    )
    session = _session(sessions, client, scope="rooms:read")
    token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")["access_token"]
    claims = _Rooms(metadata, identifier).takes(token, "rooms:read")
    assert (claims["client_id"], claims["sub"]) == (client[0], client[0])
    with pytest.raises(InsufficientScopeError):
        _Rooms(metadata, identifier).takes(token, "rooms:write")
    with pytest.raises(InvalidTokenError):
        _Rooms(metadata, API).takes(token, "rooms:read")
    with pytest.raises(InvalidTokenError):
        _Rooms({**metadata, "issuer": "https://other.example"}, identifier).takes(token, "rooms:read")
