"""Requests and answers as signed JWTs, through the authorization endpoint and a browser."""

from __future__ import annotations

from typing import Any

import pytest

from keybearer.core.clients import Client, ClientAuthMethod
from tests.support.authorizing import (
    REDIRECT_URI,
    asking,
    browsing,
    changed,
    make_api,
    make_client,
    sign_in_at,
    signed_in,
)
from tests.support.embedded import Embedded
from tests.support.oauth import claims_in, new_key, public_of, signed
from tests.support.people import make_user

pytestmark = pytest.mark.anyio
KEY, OTHER = new_key(), new_key()


@pytest.fixture
async def client(world: Embedded) -> Client:
    keys = {"keys": [public_of(KEY, kid="k1")]}
    return await make_client(world, await make_api(world), is_first_party=True, jwks=keys)


def request_of(world: Embedded, client: Client, key: Any = KEY, **changes: Any) -> str:
    """A request object that asks for what ``asking`` does."""
    claims = {
        "iss": client.id,
        "client_id": client.id,
        "aud": world.authority.settings.issuer_url,
        "nbf": world.clock.now() // 1_000_000,
        "exp": world.clock.now() // 1_000_000 + 60,
        "response_type": "code",
        "redirect_uri": REDIRECT_URI,
        "scope": "openid orders:read",
        "state": "signed state",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
        **changes,
    }
    return signed(claims, key, typ="oauth-authz-req+jwt", kid="k1")


BARE = dict.fromkeys(("redirect_uri", "response_type", "scope", "state", "code_challenge", "code_challenge_method"))


@pytest.mark.spec("RFC 9101", "5", "MUST")
async def test_a_signed_request_is_followed_and_what_stands_beside_it_is_not(world: Embedded, client: Client) -> None:
    async with browsing(world) as browser:
        await signed_in(browser, await make_user(world))
        for beside in ({}, {"scope": "orders:write", "state": "other", "nonce": "x", "prompt": "none"}):
            url = asking(client, **{**BARE, **beside}, request=request_of(world, client))
            page = await browser.get(url)
            assert page.answer["state"] == "signed state"
            assert page.answer["code"]


@pytest.mark.spec("RFC 9101", "6.2", "MUST")
async def test_a_request_of_somebody_else_reaches_a_registered_uri_alone(world: Embedded, client: Client) -> None:
    forged = request_of(world, client, OTHER, redirect_uri="https://attacker.example/")
    async with browsing(world) as browser:
        page = await browser.get(asking(client, **BARE, request=forged))
        assert page.location.startswith(REDIRECT_URI + "?error=invalid_request_object")
        page = await browser.get(
            asking(client, **{**BARE, "redirect_uri": "https://attacker.example/"}, request=forged)
        )
        assert page.status == 400
        assert not page.location


async def test_a_client_that_must_sign_its_requests(world: Embedded, client: Client) -> None:
    client = await changed(world, client, require_signed_request_object=True)
    async with browsing(world) as browser:
        await signed_in(browser, await make_user(world))
        page = await browser.get(asking(client))
        assert page.answer["error"] == "invalid_request"
        assert "sign" in page.answer["error_description"]
        page = await browser.get(asking(client, **BARE, request=request_of(world, client)))
        assert page.answer["code"]


@pytest.mark.spec("JARM", "2.3", "MUST")
@pytest.mark.parametrize(("mode", "mark"), [("jwt", "?"), ("query.jwt", "?"), ("fragment.jwt", "#")])
async def test_an_answer_as_a_jwt(world: Embedded, client: Client, mode: str, mark: str) -> None:
    async with browsing(world) as browser:
        await signed_in(browser, await make_user(world))
        page = await browser.get(asking(client, response_mode=mode))
        assert page.location.startswith(f"{REDIRECT_URI}{mark}response=")
        text = page.location.rpartition("response=")[2]
        assert "&" not in text
        claims = claims_in(text)
        assert claims["code"].startswith("kb_ac_")
        assert (claims["state"], claims["aud"]) == ("s&t=1", client.id)
        assert claims["iss"] == world.authority.settings.issuer_url
        assert await world.authority.signing_keys.verify(text, "JWT") == claims
        # Errors travel the same way.
        page = await browser.get(asking(client, response_mode=mode, scope="made:up"))
        assert claims_in(page.location.rpartition("response=")[2])["error"] == "invalid_scope"


async def test_an_answer_as_a_jwt_in_a_form(world: Embedded, client: Client) -> None:
    async with browsing(world) as browser:
        await signed_in(browser, await make_user(world))
        page = await browser.get(asking(client, response_mode="form_post.jwt"))
        assert page.status == 200
        assert 'name="response"' in page.text
        assert 'name="code"' not in page.text


async def test_how_long_ago_a_client_lets_the_sign_in_be(world: Embedded, client: Client) -> None:
    """``default_max_age`` is kept in microseconds like every duration, and asked about in seconds."""
    client = await changed(world, client, default_max_age=300 * 1_000_000)
    async with browsing(world) as browser:
        await signed_in(browser, await make_user(world))
        world.clock.move(299)
        assert (await browser.get(asking(client, prompt="none"))).answer["code"]
        world.clock.move(2)
        assert (await browser.get(asking(client, prompt="none"))).answer["error"] == "login_required"


async def test_a_signed_request_may_be_pushed(world: Embedded, client: Client) -> None:
    client = await changed(
        world,
        client,
        require_signed_request_object=True,
        require_pkce=True,
        token_endpoint_auth_method=ClientAuthMethod.NONE,
    )
    async with world.http("") as http:
        form = {"client_id": client.id, "request": request_of(world, client)}
        answer = await http.post("/oauth/par", data=form)
        assert answer.status_code == 201, answer.text
        refused = await http.post("/oauth/par", data={**form, "request": request_of(world, client, OTHER)})
        assert refused.json()["error"] == "invalid_request_object"
        plain = await http.post("/oauth/par", data={"client_id": client.id, "response_type": "code"})
        assert plain.json()["error"] == "invalid_request"
    async with browsing(world) as browser:
        await signed_in(browser, await make_user(world))
        page = await browser.get(asking(client, **BARE, request_uri=answer.json()["request_uri"]))
        assert page.answer["state"] == "signed state"


async def test_a_request_that_came_in_time_may_take_its_user_a_while(world: Embedded, client: Client) -> None:
    client = await changed(world, client, is_first_party=False, require_signed_request_object=True)
    user = await make_user(world)
    async with browsing(world) as browser:
        page = await browser.get(asking(client, **BARE, request=request_of(world, client)))
        world.clock.move(300)
        client = await changed(world, client, jwks={"keys": [public_of(OTHER, kid="k2")]})
        page = await sign_in_at(browser, page, user)
        page = await browser.send(page, button="allow")
        assert page.answer["code"]
        page = await browser.get(asking(client, **BARE, request=request_of(world, client)))
        assert page.answer["error"] == "invalid_request_object"
