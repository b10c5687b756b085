"""RP-initiated logout: what ends without a question, what asks first, and what is never followed.

Spec: OpenID Connect RP-Initiated Logout 1.0.
"""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from keybearer.core.clients import Client
from keybearer.core.users import User
from tests.support.authorizing import asking, browsing, give_secret, make_api, make_client, signed_in, tokens_for
from tests.support.browser import Browser
from tests.support.embedded import Embedded
from tests.support.people import make_user

pytestmark = pytest.mark.anyio

AFTER = "https://shop.example.com/bye?x=1"


@pytest.fixture
async def client(world: Embedded) -> Client:
    api = await make_api(world)
    return await make_client(world, api, is_first_party=True, post_logout_redirect_uris=(AFTER,))


@pytest.fixture
async def ada(world: Embedded) -> User:
    return await make_user(world)


def _asking(**parameters: str) -> str:
    return "/oauth/logout?" + urlencode(parameters)


async def _id_token(world: Embedded, client: Client, browser: Browser) -> str:
    secret = await give_secret(world, client)
    return str((await tokens_for(world, client, secret, await browser.get(asking(client))))["id_token"])


async def _is_signed_in(browser: Browser) -> bool:
    return not (await browser.get("/account", follow=False)).location


@pytest.mark.spec("OIDC RP-Initiated Logout", "2", "SHOULD")
@pytest.mark.spec("OIDC RP-Initiated Logout", "3", "MUST")
async def test_a_hint_of_this_session_signs_out_without_a_question(world: Embedded, client: Client, ada: User) -> None:
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        hint = await _id_token(world, client, browser)
        world.clock.move(7200)  # the ID token is long over
        page = await browser.get(_asking(id_token_hint=hint, post_logout_redirect_uri=AFTER, state="a&b"))
        assert page.status == 303
        assert page.location == AFTER + "&state=a%26b"
        assert not await _is_signed_in(browser)
        page = await browser.get(_asking(id_token_hint=hint, post_logout_redirect_uri=AFTER))
        assert page.location == AFTER


async def test_a_hint_of_another_session_asks_first(world: Embedded, client: Client, ada: User) -> None:
    async with browsing(world) as browser, browsing(world) as other:
        await signed_in(browser, ada)
        await signed_in(other, ada)
        hint = await _id_token(world, client, other)
        page = await browser.get(_asking(id_token_hint=hint, post_logout_redirect_uri=AFTER))
        assert "<strong>Shop</strong> asks to sign you out" in page.text
        assert await _is_signed_in(browser)
        page = await browser.send(page, button="sign-out")
        assert page.location == AFTER
        assert not await _is_signed_in(browser)
        assert await _is_signed_in(other)


@pytest.mark.spec("OIDC RP-Initiated Logout", "2", "MUST")
async def test_without_a_hint_the_user_is_asked(world: Embedded, client: Client, ada: User) -> None:
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.get("/oauth/logout")
        assert "Sign out?" in page.text
        assert await _is_signed_in(browser)
        page = await browser.send(page, button="sign-out")
        assert "You are signed out" in page.text
        await signed_in(browser, ada)
        page = await browser.get(_asking(client_id=client.id, post_logout_redirect_uri=AFTER, state="s"))
        assert await _is_signed_in(browser)
        page = await browser.send(page, button="sign-out")
        assert page.location == AFTER + "&state=s"


@pytest.mark.parametrize(
    "attack", ["unregistered", "query", "prefix", "no client", "bad hint", "changed hint", "repeated"]
)
@pytest.mark.spec("OIDC RP-Initiated Logout", "3", "MUST NOT")
async def test_what_cannot_be_trusted_ends_on_a_page_and_nobody_is_signed_out(
    world: Embedded, client: Client, ada: User, attack: str
) -> None:
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        hint = await _id_token(world, client, browser)
        head, payload, signature = hint.split(".")
        changed = f"{head}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
        url = {
            "unregistered": _asking(id_token_hint=hint, post_logout_redirect_uri="https://evil.example.com/"),
            "query": _asking(id_token_hint=hint, post_logout_redirect_uri=AFTER + "&y=2"),
            "prefix": _asking(id_token_hint=hint, post_logout_redirect_uri=AFTER[:-1]),
            "no client": _asking(post_logout_redirect_uri=AFTER),
            "bad hint": _asking(id_token_hint="nonsense", post_logout_redirect_uri=AFTER),
            "changed hint": _asking(id_token_hint=changed, post_logout_redirect_uri=AFTER),
            "repeated": _asking(id_token_hint=hint, post_logout_redirect_uri=AFTER) + "&state=a&state=b",
        }[attack]
        page = await browser.get(url)
        assert page.status == 400
        assert "location" not in page.headers
        assert await _is_signed_in(browser)


async def test_an_access_token_is_no_hint(world: Embedded, client: Client, ada: User) -> None:
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        secret = await give_secret(world, client)
        tokens = await tokens_for(world, client, secret, await browser.get(asking(client)))
        page = await browser.get(_asking(id_token_hint=tokens["access_token"]))
        assert page.status == 400


@pytest.mark.spec("OIDC RP-Initiated Logout", "2", "MUST")
async def test_a_form_of_another_site_goes_on_by_a_redirect(world: Embedded, client: Client, ada: User) -> None:
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        hint = await _id_token(world, client, browser)
        kept = dict(browser.http.cookies)
        browser.http.cookies.clear()
        page = await browser.post(
            "/oauth/logout", {"id_token_hint": hint, "post_logout_redirect_uri": AFTER}, follow=False
        )
        assert page.location.startswith("/sign-out?flow=")
        browser.http.cookies.update(kept)
        page = await browser.get(page.location)
        assert page.location == AFTER
        assert not await _is_signed_in(browser)
