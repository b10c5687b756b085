"""Step-up: an API that wants a stronger or a more recent sign-in says so, and the client knows what to ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from keybearer.core.assurance import ONE_FACTOR, PHISHING_RESISTANT, TWO_FACTORS
from keybearer.services import keys
from keybearer.wire.keys import CreateKey
from tests.support.oauth import API, OAuth, oauth_world

pytestmark = pytest.mark.anyio
PEER = ("127.0.0.1", 4711)


@pytest.fixture
async def oauth(anyio_backend: str) -> AsyncIterator[OAuth]:
    async with oauth_world(trusted_proxies=("127.0.0.0/8",)) as world:
        yield world


async def token_at(oauth: OAuth, acr: str) -> str:
    consent = await oauth.consent(await oauth.client())
    return str((await consent.tokens(acr=acr, scopes=("orders:read",)))["access_token"])


async def code_of(oauth: OAuth, token: str, **asked: Any) -> str:
    return str((await oauth.world.verify(token, api=API, **asked))["code"])


async def test_how_surely_a_user_signed_in(oauth: OAuth) -> None:
    token = await token_at(oauth, TWO_FACTORS)
    assert await code_of(oauth, token, acr_values=[ONE_FACTOR]) == "VALID"
    assert await code_of(oauth, token, acr_values=[TWO_FACTORS]) == "VALID"
    assert await code_of(oauth, token, acr_values=[PHISHING_RESISTANT]) == "INSUFFICIENT_AUTHENTICATION"
    assert await code_of(oauth, token, acr_values=[PHISHING_RESISTANT, TWO_FACTORS]) == "VALID"
    assert await code_of(oauth, token, acr_values=["made:up"]) == "INSUFFICIENT_AUTHENTICATION"


async def test_how_lately_a_user_signed_in(oauth: OAuth) -> None:
    token = await token_at(oauth, ONE_FACTOR)
    for _ in range(3):  # also once the request is known
        assert await code_of(oauth, token, max_age=60) == "VALID"
    oauth.move(61)
    assert await code_of(oauth, token, max_age=60) == "INSUFFICIENT_AUTHENTICATION"
    assert await code_of(oauth, token, max_age=120) == "VALID"
    assert await code_of(oauth, token, max_age=0) == "INSUFFICIENT_AUTHENTICATION"


async def test_what_knows_no_user_is_not_enough(oauth: OAuth) -> None:
    machine = (await (await oauth.client()).tokens(scope="orders:read"))["access_token"]
    assert await code_of(oauth, machine) == "VALID"
    assert await code_of(oauth, machine, max_age=60) == "INSUFFICIENT_AUTHENTICATION"
    body = CreateKey(oauth.project.id, "k", permissions=["orders:read"])
    key = (await keys.create(oauth.world.authority, oauth.world.root, body)).credential
    assert await code_of(oauth, key) == "VALID"
    assert await code_of(oauth, key, acr_values=[ONE_FACTOR]) == "INSUFFICIENT_AUTHENTICATION"
    assert await code_of(oauth, key, max_age=60) == "INSUFFICIENT_AUTHENTICATION"


@pytest.mark.spec("RFC 9470", "3", "MUST")
@pytest.mark.spec("RFC 9728", "5.1", "MUST")
async def test_the_challenge_says_what_to_ask_for(oauth: OAuth) -> None:
    token = await token_at(oauth, ONE_FACTOR)
    oauth.move(61)

    async def ask(**door: str) -> Any:
        headers = {"authorization": f"Bearer {token}", "x-forwarded-uri": "/", "x-forwarded-method": "GET"}
        async with oauth.world.http("", client=PEER) as http:
            return await http.get("/forward-auth", params={"api": API, **door}, headers=headers)

    assert (await ask()).status_code == 200
    refused = await ask(acr_values=f"{TWO_FACTORS} {PHISHING_RESISTANT}", max_age="60")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == (
        f'Bearer error="insufficient_user_authentication", acr_values="{TWO_FACTORS} {PHISHING_RESISTANT}", '
        f'max_age="60", resource_metadata="https://auth.example/oauth/resources/{API}"'
    )
    assert (await ask(max_age="soon")).status_code == 400
    assert (await ask(max_age="")).status_code == 400
