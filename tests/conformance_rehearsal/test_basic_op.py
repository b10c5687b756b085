"""The plan ``oidcc-basic-certification-test-plan``, module by module. A test's name is the module's."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest

from keybearer.core.pkce import challenge_of
from tests.conformance_rehearsal.party import CALLBACK, CLAIMS, KEY, Party, Rehearsal
from tests.support.authorizing import browsing
from tests.support.oauth import error_of, public_of, signed

pytestmark = pytest.mark.anyio

SCOPE_CLAIMS = {
    "profile": {"name", "updated_at", *(name for name in CLAIMS if not name.startswith(("phone", "address")))},
    "email": {"email", "email_verified"},
    "address": {"address"},
    "phone": {"phone_number", "phone_number_verified"},
}


@pytest.fixture
async def party(suite: Rehearsal) -> Party:
    return await suite.register()


async def test_oidcc_server(suite: Rehearsal, party: Party) -> None:
    tokens = await party.tokens(await party.authorize())
    assert "name" not in tokens["claims"]
    assert "refresh_token" not in tokens  # the client did not register for it
    assert (await party.userinfo(tokens["access_token"])) == {"sub": tokens["claims"]["sub"]}
    await party.unregister()


@pytest.mark.spec("OIDC Core", "3.1.2.6", "MUST")
async def test_oidcc_response_type_missing(party: Party) -> None:
    page = await party.authorize(response_type=None)
    assert page.answer["error"] == "invalid_request"
    assert page.answer["state"] == party.asked["state"]


@pytest.mark.spec("OIDC Core", "10.1", "MUST")
@pytest.mark.spec("OIDC Core", "15.1", "MUST")
async def test_oidcc_idtoken_signature(party: Party) -> None:
    # ``Party.id_token`` finds the one key by ``kid`` and looks at the algorithm that the registration said.
    assert party.registration["id_token_signed_response_alg"] == "RS256"
    await party.tokens(await party.authorize())


async def test_oidcc_idtoken_unsigned_is_skipped(suite: Rehearsal) -> None:
    assert "none" not in (await suite.metadata())["id_token_signing_alg_values_supported"]
    refused = await suite.register(id_token_signed_response_alg="none", status=400)
    assert refused.registration["error"] == "invalid_client_metadata"


@pytest.mark.spec("OIDC Core", "5.3.1", "MUST")
async def test_oidcc_userinfo_get_post_header_and_post_body(suite: Rehearsal, party: Party) -> None:
    tokens = await party.tokens(await party.authorize(scope="openid email"))
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    form = {"access_token": tokens["access_token"]}
    for answer in (
        await suite.http("GET", "/oauth/userinfo", headers=headers),
        await suite.http("POST", "/oauth/userinfo", headers=headers),
        await suite.http("POST", "/oauth/userinfo", data=form),
    ):
        assert answer.status_code == 200
        assert answer.json()["sub"] == tokens["claims"]["sub"]
        assert answer.json()["email"] == "ada@example.com"


@pytest.mark.spec("OIDC Core", "3.1.2.1", "OPTIONAL")
async def test_oidcc_ensure_request_without_nonce_succeeds_for_code_flow(party: Party) -> None:
    tokens = await party.tokens(await party.authorize(nonce=None))
    assert "nonce" not in tokens["claims"]


@pytest.mark.spec("OIDC Core", "5.4", "MUST")
@pytest.mark.parametrize("scopes", ["profile", "email", "address", "phone", "address email phone profile"])
async def test_oidcc_scope(party: Party, scopes: str) -> None:
    page = await party.authorize(scope=f"openid {scopes}")
    tokens = await party.tokens(page)
    told = await party.userinfo(tokens["access_token"])
    expected = {"sub"}.union(*(SCOPE_CLAIMS[scope] for scope in scopes.split()))
    assert set(told) == expected
    assert isinstance(told.get("updated_at", 1), int)
    assert isinstance(told.get("address", {}), dict)
    assert isinstance(told.get("phone_number_verified", True), bool)
    assert set(tokens["claims"]).isdisjoint(expected - {"sub"})


async def test_oidcc_ensure_other_scope_order_succeeds(party: Party) -> None:
    assert "id_token" in await party.tokens(await party.authorize(scope="email openid"))


@pytest.mark.spec("OIDC Core", "15.1", "MUST")
@pytest.mark.parametrize(
    "more",
    [
        {"display": "page"},
        {"display": "popup"},
        {"ui_locales": "se"},
        {"claims_locales": "se"},
        {"extra": "foobar"},
        {"login_hint": "buffy@example.com"},
    ],
    ids=str,
)
async def test_parameters_that_must_do_no_harm(party: Party, more: dict[str, str]) -> None:
    """``display-page``, ``display-popup``, ``ui-locales``, ``claims-locales``, unknown parameters, ``login-hint``."""
    assert "id_token" in await party.tokens(await party.authorize(**more))


@pytest.mark.spec("OIDC Core", "3.1.2.1", "SHOULD")
async def test_oidcc_login_hint_is_filled_in(suite: Rehearsal, party: Party) -> None:
    page = await suite.browser.get(party.request(login_hint="ada@example.com"))
    assert page.form("/sign-in").fields["email"] == "ada@example.com"


@pytest.mark.spec("OIDC Core", "3.1.2.1", "MUST")
async def test_oidcc_prompt_login(suite: Rehearsal, party: Party) -> None:
    first = await party.tokens(await party.authorize())
    suite.world.clock.move(2)
    page = await suite.browser.get(party.request(prompt="login"))
    assert page.form("/sign-in"), "the page that is photographed"
    second = await party.tokens(await party.through(suite.browser, page))
    assert second["claims"]["auth_time"] > first["claims"]["auth_time"]


@pytest.mark.spec("OIDC Core", "3.1.2.1", "MUST")
async def test_oidcc_prompt_none_not_logged_in(party: Party) -> None:
    page = await party.authorize(prompt="none")
    assert page.answer["error"] == "login_required"
    assert page.answer["state"] == party.asked["state"]
    assert set(page.answer) == {"error", "error_description", "state", "iss"}


@pytest.mark.spec("OIDC Core", "3.1.2.1", "MUST")
@pytest.mark.parametrize("more", [{"prompt": "none"}, {"max_age": "10000"}, {"hint": True, "prompt": "none"}], ids=str)
async def test_oidcc_the_same_sign_in_twice(suite: Rehearsal, party: Party, more: dict[str, Any]) -> None:
    """``prompt-none-logged-in``, ``max-age-10000`` and ``id-token-hint``: nobody is asked the second time."""
    first = await party.tokens(await party.authorize(max_age="15000"))
    suite.world.clock.move(2)
    if more.pop("hint", False):
        more["id_token_hint"] = first["id_token"]
    page = await suite.browser.get(party.request(**more))
    second = await party.tokens(page)
    for name in ("sub", "auth_time"):
        assert second["claims"][name] == first["claims"][name]


@pytest.mark.spec("OIDC Core", "3.1.2.1", "MUST")
async def test_oidcc_max_age_1(suite: Rehearsal, party: Party) -> None:
    first = await party.tokens(await party.authorize())
    suite.world.clock.move(2)
    page = await suite.browser.get(party.request(max_age="1"))
    assert page.form("/sign-in"), "the page that is photographed"
    second = await party.tokens(await party.through(suite.browser, page))
    assert second["claims"]["auth_time"] > first["claims"]["auth_time"]
    assert suite.now - second["claims"]["auth_time"] <= 1


@pytest.mark.spec("OIDC Core", "15.1", "MUST")
async def test_oidcc_ensure_request_with_acr_values_succeeds(suite: Rehearsal, party: Party) -> None:
    supported = (await suite.metadata())["acr_values_supported"]
    tokens = await party.tokens(await party.authorize(acr_values=" ".join(supported)))
    assert tokens["claims"]["acr"] in supported


@pytest.mark.spec("RFC 6749", "4.1.2", "MUST")
@pytest.mark.parametrize("later", [0, 30])
async def test_oidcc_codereuse(suite: Rehearsal, party: Party, later: int) -> None:
    page = await party.authorize()
    tokens = await party.tokens(page)
    suite.world.clock.move(later)
    again = await party.redeem(page.answer["code"])
    assert error_of(again) == (400, "invalid_grant")
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    refused = await suite.http("GET", "/oauth/userinfo", headers=headers)
    assert refused.status_code == 401


@pytest.mark.spec("OIDC Core", "3.1.2.1", "MUST")
async def test_oidcc_ensure_registered_redirect_uri(party: Party) -> None:
    page = await party.authorize(redirect_uri=CALLBACK + secrets.token_hex(4))
    assert page.status == 400
    assert not page.location
    assert "redirect_uri is not one of those that this client registered" in page.words


@pytest.mark.spec("OIDC Core", "3.1.2.1", "MUST")
async def test_oidcc_ensure_post_request_succeeds(suite: Rehearsal, party: Party) -> None:
    path, _, query = party.request().partition("?")
    page = await party.through(suite.browser, await suite.browser.post(path, query))
    assert "id_token" in await party.tokens(page)


async def test_oidcc_server_client_secret_post(suite: Rehearsal) -> None:
    party = await suite.register(token_endpoint_auth_method="client_secret_post")
    assert "id_token" in await party.tokens(await party.authorize())


@pytest.mark.spec("OIDC Core", "3.1.2.6", "MUST")
async def test_oidcc_unsigned_request_objects_are_skipped_and_refused_exactly(suite: Rehearsal, party: Party) -> None:
    """``unsigned-request-object-…-or-rejected-as-unsupported``, and ``ensure-request-object-with-redirect-uri``."""
    assert "none" not in (await suite.metadata())["request_object_signing_alg_values_supported"]
    party.request()
    claims = {**party.asked, "iss": party.id, "aud": "https://op.example.com"}
    unsigned = signed(claims, KEY, "RS256").split(".")
    unsigned[0], unsigned[2] = "eyJhbGciOiJub25lIn0", ""
    async with browsing(suite.world) as browser:
        page = await party.authorize(browser, request=".".join(unsigned))
        assert page.answer["error"] == "request_not_supported"
        page = await party.authorize(browser, redirect_uri=CALLBACK + "x", request=".".join(unsigned))
        assert page.status == 400
        assert not page.location


@pytest.mark.spec("OIDC Core", "6", "MUST")
async def test_oidcc_request_uris_of_others_are_refused_exactly(party: Party) -> None:
    page = await party.authorize(request_uri="https://suite.example.net/test/a/keybearer/requests/1")
    assert page.answer["error"] == "request_uri_not_supported"
    assert page.answer["state"] == party.asked["state"]


@pytest.mark.spec("OIDC Core", "5.5", "MUST")
async def test_oidcc_claims_essential(party: Party) -> None:
    tokens = await party.tokens(await party.authorize(claims={"userinfo": {"name": {"essential": True}}}))
    assert (await party.userinfo(tokens["access_token"]))["name"] == "Ada Lovelace"
    assert "name" not in tokens["claims"]


@pytest.mark.spec("OIDC Core", "5.5", "MUST")
async def test_claims_in_every_form_and_in_places_that_nobody_knows(suite: Rehearsal, party: Party) -> None:
    standard = ["name", "email", "email_verified", "updated_at", *CLAIMS]
    forms = [None, {"essential": True}, {"essential": False}, {"essential": False, "unheard": "of"}]
    asked = {name: forms[index % 4] for index, name in enumerate(standard)}
    claims = {"userinfo": asked, "id_token": asked, "elsewhere9": {"nothing7": {"essential": True}}}
    assert set((await suite.metadata())["claims_supported"]) >= set(standard)
    tokens = await party.tokens(await party.authorize(claims=claims))
    told = await party.userinfo(tokens["access_token"])
    assert set(told) == {"sub", *standard}
    assert {name: told[name] for name in standard} == {name: tokens["claims"][name] for name in standard}


@pytest.mark.spec("OIDC Core", "12.2", "MUST")
async def test_oidcc_refresh_token(suite: Rehearsal) -> None:
    grants = ["authorization_code", "refresh_token"]
    first = await suite.register(grant_types=grants)
    other = await suite.register(grant_types=grants)
    before = await first.tokens(await first.authorize())
    suite.world.clock.move(1)
    fields = {"grant_type": "refresh_token", "refresh_token": before["refresh_token"], "scope": "openid"}
    after = await first.checked(await first.post("/oauth/token", fields), is_renewal=True)
    assert after["access_token"] != before["access_token"]
    for name in ("iss", "sub", "aud", "auth_time"):
        assert after["claims"][name] == before["claims"][name]
    assert "azp" not in after["claims"]
    assert after["claims"]["iat"] > before["claims"]["iat"]
    await first.userinfo(after["access_token"])
    others = await other.tokens(await other.authorize())
    fields["refresh_token"] = others["refresh_token"]
    assert error_of(await first.post("/oauth/token", fields)) == (400, "invalid_grant")


@pytest.mark.spec("OIDC Core", "11", "MUST")
@pytest.mark.parametrize("prompt", ["consent", None])
async def test_offline_access_comes_with_the_users_own_consent(suite: Rehearsal, prompt: str | None) -> None:
    party = await suite.register(grant_types=["authorization_code", "refresh_token"])
    page = await suite.browser.get(party.request(scope="openid offline_access", prompt=prompt))
    page = await party.through(suite.browser, page)
    tokens = await party.tokens(page)
    assert tokens["refresh_token"]


@pytest.mark.spec("RFC 7636", "4.6", "MUST")
async def test_oidcc_ensure_request_with_valid_pkce_succeeds(party: Party) -> None:
    verifier = secrets.token_urlsafe(48)
    page = await party.authorize(code_challenge=challenge_of(verifier), code_challenge_method="S256")
    assert error_of(await party.redeem(page.answer["code"])) == (400, "invalid_request")
    assert "id_token" in await party.tokens(page, code_verifier=verifier)


async def test_a_client_with_keys_and_a_secret_is_registered_with_both(party: Party) -> None:
    assert party.registration["jwks"] == {"keys": [public_of(KEY, use="sig", alg="RS256")]}
    assert party.registration["client_secret_expires_at"] == 0
    assert json.dumps(party.registration)
