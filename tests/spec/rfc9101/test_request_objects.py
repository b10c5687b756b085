"""Signed authorization requests: what is taken from one, and what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest
from joserfc import jwk
from joserfc import jws as joserfc_jws

from keybearer.core.clients import Client
from keybearer.core.instant import Instant
from keybearer.core.oauth_error import InvalidRequestObject, RequestNotSupported
from keybearer.services.request_objects import parameters_of

ISSUER = "https://keys.example.com"
NOW = Instant(1_800_000_000_000_000)
SECONDS = NOW // 1_000_000
KEY = jwk.ECKey.generate_key("P-256")
OTHER = jwk.ECKey.generate_key("P-256")
PUBLIC = {**KEY.as_dict(private=False), "kid": "k1"}
CLIENT = Client(id="client_1", created_at=NOW, updated_at=NOW, project_id="proj_1", name="Shop")
CLAIMS = {
    "iss": "client_1",
    "client_id": "client_1",
    "aud": ISSUER,
    "exp": SECONDS + 60,
    "response_type": "code",
    "redirect_uri": "https://app.example.com/callback",
    "scope": "openid",
    "max_age": 300,
    "claims": {"userinfo": {"email": None}},
}


def signed(key: Any = KEY, typ: str | None = "oauth-authz-req+jwt", **changes: Any) -> str:
    header = {"alg": "ES256", "kid": "k1", **({} if typ is None else {"typ": typ})}
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}
    return joserfc_jws.serialize_compact(header, json.dumps(claims).encode(), key, algorithms=["ES256"])


def read(text: str, client: Client = CLIENT, keys: Any = (PUBLIC,)) -> dict[str, str]:
    return dict(parameters_of(text, client, keys, issuer=ISSUER, now=NOW))


@pytest.mark.spec("RFC 9101", "4", "MUST")
@pytest.mark.spec("RFC 9101", "6.3", "MUST")
def test_the_parameters_come_from_the_object() -> None:
    assert read(signed()) == {
        "client_id": "client_1",
        "response_type": "code",
        "redirect_uri": "https://app.example.com/callback",
        "scope": "openid",
        "max_age": "300",
        "claims": '{"userinfo":{"email":null}}',
    }


@pytest.mark.parametrize("typ", ["oauth-authz-req+jwt", "application/oauth-authz-req+jwt", "JWT", None])
def test_types_that_a_request_object_may_have(typ: str | None) -> None:
    assert read(signed(typ=typ))["scope"] == "openid"


@pytest.mark.spec("RFC 9101", "10.8", "MUST")
@pytest.mark.parametrize("typ", ["at+jwt", "dpop+jwt", "logout+jwt", "JWS"])
def test_jwts_of_other_kinds_are_no_request_objects(typ: str) -> None:
    with pytest.raises(InvalidRequestObject, match="typ"):
        read(signed(typ=typ))


@pytest.mark.spec("RFC 9101", "6.2", "MUST")
@pytest.mark.parametrize(
    "text",
    [
        signed(OTHER),
        signed().rpartition(".")[0] + ".",
        "",
        "not.a.jwt",
        "eyJhbGciOiJub25lIn0." + signed().split(".")[1] + ".",
    ],
    ids=["another key", "no signature", "empty", "no JWT", "none"],
)
def test_what_the_client_did_not_sign(text: str) -> None:
    with pytest.raises((InvalidRequestObject, RequestNotSupported)):
        read(text)


def test_an_unsigned_object_has_an_error_of_its_own() -> None:
    with pytest.raises(RequestNotSupported):
        read("eyJhbGciOiJub25lIn0." + signed().split(".")[1] + ".")


def test_several_resources() -> None:
    several = ["https://a.example", "https://b.example"]
    found = parameters_of(signed(resource=several), CLIENT, (PUBLIC,), issuer=ISSUER, now=NOW)
    assert [value for name, value in found if name == "resource"] == several


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"iss": "client_2"}, "iss"),
        ({"client_id": "client_2"}, "client_id"),
        ({"client_id": ...}, "client_id"),
        ({"aud": "https://other.example"}, "aud"),
        ({"aud": ISSUER + "/"}, "aud"),
        ({"aud": ...}, "aud"),
        ({"exp": SECONDS - 61}, "expired"),
        ({"exp": SECONDS + 7200}, "hour"),
        ({"exp": "soon"}, "exp"),
        ({"exp": True}, "exp"),
        ({"nbf": SECONDS + 120, "exp": SECONDS + 180}, "not valid yet"),
        ({"request": "x"}, "another"),
        ({"request_uri": "urn:x"}, "another"),
        ({"scope": ["openid"]}, "scope"),
        ({"state": {"a": 1}}, "state"),
    ],
    ids=str,
)
def test_claims_that_do_not_fit(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequestObject, match=says):
        read(signed(**changes))


@pytest.mark.spec("OIDC Core", "6.1", "MAY")
def test_an_object_may_have_no_end() -> None:
    assert read(signed(exp=...))["scope"] == "openid"


@pytest.mark.spec("FAPI 2.0 Message Signing", "5.3.1", "MUST")
def test_where_requests_must_be_signed_an_object_says_from_when_to_when() -> None:
    strict = replace(CLIENT, require_signed_request_object=True)
    assert read(signed(nbf=SECONDS), strict)["scope"] == "openid"
    for changes in (
        {},
        {"nbf": SECONDS, "exp": ...},
        {"nbf": SECONDS - 4200, "exp": SECONDS + 60},
        {"nbf": SECONDS, "exp": SECONDS + 4200},
    ):
        with pytest.raises(InvalidRequestObject):
            read(signed(**changes), strict)


def test_only_the_algorithm_that_the_client_registered() -> None:
    with pytest.raises(InvalidRequestObject):
        read(signed(), replace(CLIENT, request_object_signing_alg="PS256"))
    assert read(signed(), replace(CLIENT, request_object_signing_alg="ES256"))


def test_a_client_without_keys_has_no_request_objects() -> None:
    with pytest.raises(InvalidRequestObject):
        read(signed(), keys=())
