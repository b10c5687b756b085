"""Resource indicators: a token is for one API, which the request may choose and can only narrow."""

from __future__ import annotations

import pytest

from tests.support.oauth import API, OAuth, error_of

pytestmark = pytest.mark.anyio
OTHER = "https://stock.example"


@pytest.mark.spec("RFC 8707", "2.2", "MUST")
async def test_a_token_is_for_the_resource_that_is_asked_for(oauth: OAuth) -> None:
    await oauth.another_api(OTHER, "stock:read", "orders:read")
    application = await oauth.client(scopes=("orders:read", "stock:read"))
    for resource, scope in ((API, "orders:read"), (OTHER, "orders:read stock:read")):
        said = await application.tokens(resource=resource)
        assert said["scope"] == scope
        assert (await oauth.introspect(said["access_token"]))["aud"] == resource
        api = (await oauth.world.verify(said["access_token"], api=resource))["code"]
        assert api == "VALID"
    wrong = (await application.tokens(resource=API))["access_token"]
    assert (await oauth.world.verify(wrong, api=OTHER))["code"] == "API_NOT_ALLOWED"


@pytest.mark.spec("RFC 8707", "2", "MUST")
@pytest.mark.parametrize("resource", ["https://unknown.example", "orders", API + "/", API + "#x", API.upper()])
async def test_a_resource_that_the_client_may_not_ask_for_is_an_invalid_target(oauth: OAuth, resource: str) -> None:
    application = await oauth.client()
    assert error_of(await application.token(resource=resource)) == (400, "invalid_target")


async def test_an_api_that_the_project_may_not_call_is_no_target(oauth: OAuth) -> None:
    other = await oauth.another_api(OTHER, "stock:read")
    application = await oauth.client(scopes=("stock:read",))
    assert (await application.tokens(resource=OTHER))["scope"] == "stock:read"
    await oauth.change(oauth.project, enabled_apis=(oauth.api.id,))
    assert error_of(await application.token(resource=OTHER)) == (400, "invalid_target")
    await oauth.change(other, state="disabled")


async def test_one_resource_at_a_time(oauth: OAuth) -> None:
    await oauth.another_api(OTHER, "orders:read")
    application = await oauth.client()
    assert error_of(await application.token(resource=[API, OTHER])) == (400, "invalid_target")
    # Two APIs understand the scope, so that the client has to say which.
    assert error_of(await application.token(scope="orders:read")) == (400, "invalid_target")
    assert (await application.tokens(scope="orders:write"))["scope"] == "orders:write"


@pytest.mark.spec("RFC 8707", "2.2", "MUST")
async def test_a_code_and_its_refresh_tokens_reach_what_the_user_agreed_to(oauth: OAuth) -> None:
    other = await oauth.another_api(OTHER, "stock:read")
    third = await oauth.another_api("https://third.example", "third:read")
    application = await oauth.client(scopes=("openid", "orders:read", "stock:read", "third:read"))
    consent = await oauth.consent(application)
    code = await consent.code(scopes=("orders:read", "stock:read"), resources=(oauth.api.id, other.id))
    assert error_of(await application.redeem(code, resource=third.identifier)) == (400, "invalid_target")
    assert error_of(await application.redeem(code)) == (400, "invalid_target")  # it must choose
    said = (await application.redeem(code, resource=API)).json()
    assert said["scope"] == "orders:read"
    renewed = (await application.refresh(said["refresh_token"], resource=OTHER)).json()
    assert renewed["scope"] == "stock:read"
    assert (await oauth.introspect(renewed["access_token"]))["aud"] == OTHER
    refused = await application.refresh(renewed["refresh_token"], resource=third.identifier)
    assert error_of(refused) == (400, "invalid_target")
    assert (await application.refresh(renewed["refresh_token"], resource=API)).json()["scope"] == "orders:read"


async def test_a_token_for_no_api_says_only_who_the_user_is(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    said = await consent.tokens(scopes=("openid", "profile"))
    assert said["scope"] == "openid profile"
    assert "aud" not in await oauth.introspect(said["access_token"])
    assert (await oauth.world.verify(said["access_token"], api=API))["code"] == "API_NOT_ALLOWED"
