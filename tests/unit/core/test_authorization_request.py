"""Reading authorization requests: any bytes give a request or an OAuth error, and never a redirect to a stranger."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.authorization_request import (
    AuthorizationRequest,
    ResponseMode,
    ResponseTarget,
    parameters_of,
    parse,
    target_of,
)
from keybearer.core.clients import Client, ClientAuthMethod
from keybearer.core.instant import Instant
from keybearer.core.oauth_error import InvalidRequest, OAuthError

URI = "https://shop.example.com/callback"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
NAMES = [
    *("client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "prompt", "max_age"),
    *("claims", "acr_values", "resource", "authorization_details", "code_challenge", "code_challenge_method"),
    *("dpop_jkt", "id_token_hint", "login_hint", "request", "request_uri", "registration", "ui_locales", "other"),
]
VALUES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["code", "S256", CHALLENGE, URI, "none", "login", "openid", "query", "form_post", "{}", "[[[[", "0"]
    ),
)
NOW = Instant(1)


def client(**changes: object) -> Client:
    fields: dict[str, object] = {"redirect_uris": (URI,), **changes}
    return Client(id="client_1", created_at=NOW, updated_at=NOW, project_id="proj_1", name="Shop", **fields)  # type: ignore[arg-type]


def read(the_client: Client | None = None, **changes: str) -> AuthorizationRequest:
    pairs = {
        "client_id": "client_1",
        "redirect_uri": URI,
        "response_type": "code",
        "scope": "openid",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return parse(parameters_of(list(pairs.items())), the_client or client())


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=12))
def test_any_pairs_give_a_request_or_an_oauth_error(pairs: list[tuple[str, str]]) -> None:
    parameters = parameters_of(pairs)
    try:
        target = target_of(parameters, client())
    except OAuthError:
        pass
    else:
        assert target.redirect_uri == URI
        assert target.url(target.answer("https://issuer.example", {"code": "c"})).startswith(URI)
    with contextlib.suppress(OAuthError):
        parse(parameters, client(require_pkce=False))


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=12))
def test_parameters_survive_being_kept(pairs: list[tuple[str, str]]) -> None:
    parameters = parameters_of(pairs)
    assert parameters_of(parameters.pairs()) == parameters


@pytest.mark.parametrize(
    "claims",
    [
        '{"id_token":' * 9 + "{}" + "}" * 9,
        "[" * 16_000,
        '{"a":' * 3000 + "1" + "}" * 3000,
        '{"userinfo":{"name":1}}',
        '{"userinfo":null}',
        '{"userinfo":{"n":{"value":NaN}}}',
        '{"userinfo":{"n":{"value":"\\ud800"}}}',
        '{"userinfo":{"n":{"value":"\\u0000"}}}',
        '{"userinfo":{"n":{"value":' + "9" * 5000 + "}}}",
    ],
)
def test_claims_that_are_no_use_are_refused(claims: str) -> None:
    with pytest.raises(InvalidRequest):
        read(claims=claims)


def test_claims_keep_what_is_understood() -> None:
    request = read(claims='{"userinfo":{"name":null},"id_token":{"acr":{"essential":true,"value":"phr"}},"x":{"y":1}}')
    assert request.claims == {"userinfo": {"name": None}, "id_token": {"acr": {"essential": True, "value": "phr"}}}
    assert request.required_acrs == ("phr",)
    assert read(claims='{"id_token":{"acr":{"values":["phr"]}}}').required_acrs == ()


def test_a_public_client_cannot_go_without_pkce() -> None:
    relaxed = client(require_pkce=False)
    assert read(relaxed, code_challenge="", code_challenge_method="").code_challenge == ""
    public = client(require_pkce=False, token_endpoint_auth_method=ClientAuthMethod.NONE)
    with pytest.raises(InvalidRequest, match="PKCE"):
        read(public, code_challenge="", code_challenge_method="")


def test_the_default_max_age_is_the_clients() -> None:
    assert read(client(default_max_age=60 * 1_000_000)).max_age == 60
    assert read(client(default_max_age=60 * 1_000_000), max_age="5").max_age == 5
    assert read(max_age="9" * 400).max_age == 10**9


@pytest.mark.parametrize(
    ("response_type", "response_mode", "mode"),
    [
        ("code", "", ResponseMode.QUERY),
        ("", "", ResponseMode.QUERY),
        ("id_token token", "", ResponseMode.FRAGMENT),
        ("token", "query", ResponseMode.QUERY),
        ("code", "form_post", ResponseMode.FORM_POST),
        ("code", "nonsense", ResponseMode.QUERY),
    ],
)
def test_errors_go_where_their_senders_look(response_type: str, response_mode: str, mode: ResponseMode) -> None:
    pairs = [("redirect_uri", URI), ("response_type", response_type), ("response_mode", response_mode)]
    assert target_of(parameters_of(pairs), client()).mode is mode


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        (URI, "https://shop.example.com"),
        ("http://127.0.0.1:9/x", "http://127.0.0.1:9"),
        ("com.example.app:/callback", "com.example.app:"),
    ],
)
def test_the_source_of_a_target_for_the_policy(uri: str, source: str) -> None:
    assert ResponseTarget(uri, ResponseMode.QUERY).source == source


@pytest.mark.parametrize(
    ("uri", "joined"), [("a:/b", "a:/b?code=1"), ("a:/b?", "a:/b?code=1"), ("a:/b?c=", "a:/b?c=&code=1")]
)
def test_the_query_of_a_redirect_uri_stays(uri: str, joined: str) -> None:
    assert ResponseTarget(uri, ResponseMode.QUERY).url({"code": "1"}) == joined


def test_state_is_left_out_when_it_came_twice() -> None:
    pairs = [("redirect_uri", URI), ("state", "a"), ("state", "b")]
    target = target_of(parameters_of(pairs), client())
    assert target.answer("https://issuer.example", {"error": "x"}) == {"error": "x", "iss": "https://issuer.example"}
