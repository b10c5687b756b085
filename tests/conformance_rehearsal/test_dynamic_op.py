"""The plan ``oidcc-dynamic-certification-test-plan``: its modules beyond those of the basic plan."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest

from keybearer.core.clients import Client
from keybearer.core.lifecycle import touch
from keybearer.services import key_rotation
from keybearer.wire.signing_keys import RotateSigningKey
from tests.conformance_rehearsal.party import CALLBACK, ISSUER, KEY, OTHER_KEY, Rehearsal
from tests.support.authorizing import browsing, sign_in_at
from tests.support.https import HttpsServer, Received, Reply
from tests.support.oauth import error_of, public_of

pytestmark = pytest.mark.anyio
ASSERTING: dict[str, Any] = {"token_endpoint_auth_method": "private_key_jwt"}


def publishing(documents: dict[str, Any]) -> Any:
    """The handler of a site that has these JSON documents."""

    async def handle(request: Received) -> Reply:
        if request.target not in documents:
            return Reply(404)
        return Reply(200, json.dumps(documents[request.target]).encode(), {"content-type": "application/json"})

    return handle


@pytest.mark.spec("OIDC Core", "9", "MUST")
async def test_oidcc_idtoken_rs256(suite: Rehearsal) -> None:
    party = await suite.register(**ASSERTING, id_token_signed_response_alg="RS256")
    await party.tokens(await party.authorize())


@pytest.mark.spec("OIDC Core", "5.3.2", "MUST")
async def test_oidcc_userinfo_rs256(suite: Rehearsal) -> None:
    assert "RS256" in (await suite.metadata())["userinfo_signing_alg_values_supported"]
    party = await suite.register(**ASSERTING, userinfo_signed_response_alg="RS256")
    tokens = await party.tokens(await party.authorize())
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    answer = await suite.http("GET", "/oauth/userinfo", headers=headers)
    assert answer.headers["content-type"] == "application/jwt"
    claims = await suite.verified(answer.text)
    assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER, party.id, tokens["claims"]["sub"])
    assert "nonce" not in claims


@pytest.mark.spec("OIDC Core", "3.1.2.1", "MUST")
async def test_oidcc_ensure_redirect_uri_in_authorization_request(suite: Rehearsal) -> None:
    party = await suite.register(**ASSERTING)
    page = await party.authorize(redirect_uri=None)
    assert page.status == 400
    assert not page.location
    assert "redirect_uri is missing" in page.words


async def test_oidcc_redirect_uri_query_ok(suite: Rehearsal) -> None:
    uri = CALLBACK + "?foo=bar"
    party = await suite.register(**ASSERTING, redirect_uris=[uri])
    page = await party.authorize(redirect_uri=uri)
    assert page.answer["foo"] == "bar"
    assert "id_token" in await party.tokens(page)


@pytest.mark.spec("OIDC Core", "3.1.2.1", "MUST")
@pytest.mark.parametrize(("registered", "presented"), [("?foo=bar", "?foo=baz"), ("", "?foo=bar")], ids=str)
async def test_oidcc_redirect_uri_query_mismatch_and_added(suite: Rehearsal, registered: str, presented: str) -> None:
    party = await suite.register(**ASSERTING, redirect_uris=[CALLBACK + registered])
    page = await party.authorize(redirect_uri=CALLBACK + presented)
    assert page.status == 400
    assert not page.location


@pytest.mark.spec("RFC 6749", "3.1.2", "MUST NOT")
async def test_oidcc_redirect_uri_regfrag(suite: Rehearsal) -> None:
    refused = await suite.register(**ASSERTING, redirect_uris=[CALLBACK + "#foobar"], status=400)
    assert refused.registration["error"] == "invalid_redirect_uri"


@pytest.mark.spec("OIDC Registration", "2", "SHOULD")
async def test_oidcc_registration_logo_uri_policy_uri_and_tos_uri(suite: Rehearsal) -> None:
    """Three modules: on the sign-in page, of which the suite takes a picture, and at consent."""
    about = {
        "logo_uri": "https://suite.example.net/images/logo.png?x=1&y=2",
        "policy_uri": "https://suite.example.net/policy",
        "tos_uri": "https://suite.example.net/tos",
        "client_uri": "https://suite.example.net/",
    }
    party = await suite.register(**ASSERTING, **about)
    assert {name: party.registration[name] for name in about} == about
    page = await suite.browser.get(party.request())
    for _ in range(2):
        assert f'<img src="{about["logo_uri"]}"' in page.words
        assert 'referrerpolicy="no-referrer"' in page.text
        for name in ("policy_uri", "tos_uri", "client_uri"):
            assert f'href="{about[name]}"' in page.words
        [images] = [one for one in page.headers["content-security-policy"].split("; ") if one.startswith("img-src")]
        assert images == "img-src 'self' https://suite.example.net"
        assert "vouches" in page.text
        is_consent = any(form.action == "/consent" for form in page.forms)
        page = await (party.through(suite.browser, page) if is_consent else sign_in_at(suite.browser, page, suite.user))
    assert page.answer["code"]


@pytest.mark.parametrize("logo", ["http://suite.example.net/logo.png", "https://suite.example.net;x/logo.png", ""])
async def test_a_logo_that_is_not_shown(suite: Rehearsal, logo: str) -> None:
    party = await suite.register()
    await _changed(suite, party.id, logo_uri=logo)
    page = await suite.browser.get(party.request())
    assert "client-logo" not in page.text
    assert "img-src 'self';" in page.headers["content-security-policy"]


async def _changed(suite: Rehearsal, client_id: str, **changes: Any) -> None:
    async def work(uow: Any) -> None:
        await uow.update(touch(await uow.get(Client, client_id), suite.world.clock.now(), **changes))

    await suite.world.store.transact(work)


@pytest.mark.spec("OIDC Registration", "2", "MUST")
@pytest.mark.spec("OIDC Core", "10.1.1", "SHOULD")
async def test_oidcc_registration_jwks_uri_and_refresh_token_rp_key_rotation(
    suite: Rehearsal, site: HttpsServer
) -> None:
    documents = {"/jwks": {"keys": [public_of(KEY, kid="one", use="sig", alg="RS256")]}}
    site.handler = publishing(documents)
    grants = ["authorization_code", "refresh_token"]
    party = await suite.register(**ASSERTING, jwks=None, jwks_uri=f"{site.url}/jwks", grant_types=grants)
    page = await party.authorize(scope="openid offline_access", prompt="consent")
    header = {"kid": "one"}
    tokens = await party.tokens(page, client_assertion=party.assertion(header=header), **_type())
    documents["/jwks"] = {"keys": [public_of(OTHER_KEY, kid="two", use="sig", alg="RS256")]}
    suite.world.clock.move(60)
    party.key = OTHER_KEY
    fields = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    fields |= {"client_assertion": party.assertion(header={"kid": "two"}), **_type()}
    renewed = await party.checked(await party.post("/oauth/token", fields), is_renewal=True)
    await party.userinfo(renewed["access_token"])


def _type() -> dict[str, str]:
    return {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}


@pytest.mark.spec("OIDC Registration", "5", "MUST")
async def test_oidcc_registration_sector_uri_and_sector_bad(suite: Rehearsal, site: HttpsServer) -> None:
    site.handler = publishing({"/good.json": [CALLBACK], "/bad.json": [CALLBACK + "/" + secrets.token_hex(4)]})
    pairwise = {**ASSERTING, "subject_type": "pairwise"}
    party = await suite.register(**pairwise, sector_identifier_uri=f"{site.url}/good.json")
    assert party.registration["subject_type"] == "pairwise"
    refused = await suite.register(**pairwise, sector_identifier_uri=f"{site.url}/bad.json", status=400)
    assert refused.registration["error"] == "invalid_client_metadata"
    tokens = await party.tokens(await party.authorize())
    public = await suite.register(**ASSERTING)
    others = await public.tokens(await public.authorize())
    assert tokens["claims"]["sub"] != others["claims"]["sub"]
    assert (await party.userinfo(tokens["access_token"]))["sub"] == tokens["claims"]["sub"]


@pytest.mark.spec("OIDC Core", "10.1.1", "SHOULD")
async def test_oidcc_server_rotate_keys(suite: Rehearsal) -> None:
    party = await suite.register()
    before = await party.tokens(await party.authorize())
    old = {key["kid"] for key in await suite.keys()}
    await key_rotation.rotate(suite.world.authority, suite.world.root, RotateSigningKey(algorithm="RS256"))
    published = await suite.keys()
    assert {key["kid"] for key in published} > old
    assert len({key["kid"] for key in published}) == len(published)
    assert all(key["use"] == "sig" and key["alg"] and "d" not in key for key in published)
    suite.world.clock.move(86_400 + 60)
    await suite.world.authority.signing_keys.advance()
    async with browsing(suite.world) as browser:
        await party.tokens(await party.authorize(browser))
    await suite.verified(before["id_token"])


@pytest.mark.spec("OIDC Core", "9", "SHOULD")
async def test_oidcc_ensure_client_assertion_with_iss_aud_succeeds(suite: Rehearsal) -> None:
    party = await suite.register(**ASSERTING)
    party.audience = ISSUER
    await party.tokens(await party.authorize())


async def test_assertions_for_other_places_are_refused(suite: Rehearsal) -> None:
    party = await suite.register(**ASSERTING)
    page = await party.authorize()
    code = party.code_in(page)
    for audience in (ISSUER + "/oauth/par", ISSUER + "/", "https://suite.example.net", [ISSUER, "https://b.example"]):
        answer = await party.redeem(code, client_assertion=party.assertion(aud=audience), **_type())
        assert error_of(answer) == (401, "invalid_client")
    once = party.assertion()
    await party.checked(await party.redeem(code, client_assertion=once, **_type()))
    assert error_of(await party.redeem(code, client_assertion=once, **_type())) == (401, "invalid_client")
