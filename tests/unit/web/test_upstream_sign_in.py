"""Signing in with an upstream provider that is another Keybearer, over TLS, through every page of both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keybearer.core.sessions import Session
from keybearer.core.upstreams import Upstream
from keybearer.core.users import Link, User
from keybearer.ports import Query
from keybearer.services import upstreams, user_links
from keybearer.wire.upstreams import UpdateUpstream
from keybearer.wire.users import LinkSpec
from tests.support.authorizing import (
    asking,
    browsing,
    give_secret,
    make_api,
    make_client,
    sign_in_at,
    tokens_for,
)
from tests.support.browser import Browser, Page
from tests.support.embedded import Embedded, TestClock, embedded
from tests.support.https import give_fetcher, https_server
from tests.support.people import make_user
from tests.support.provider import forwarded_to, make_upstream

pytestmark = pytest.mark.anyio
OURS = "https://keys.example.com"


@dataclass
class Two:
    """Our authority and the one that is its provider, each with a browser window of the same person."""

    here: Embedded
    there: Embedded
    upstream: Upstream
    person: User
    ours: Browser
    theirs: Browser

    async def through(self, page: Page) -> Page:
        """From a page of ours with the button to the provider, through its pages, and back to ours."""
        button = f"/sign-in/with/{self.upstream.id}"
        assert button in page.text
        query = page.text.partition(button)[2].partition('"')[0].replace("&amp;", "&")
        away = await self.ours.get(button + query, follow=False)
        assert away.status == 303
        parts = urlsplit(away.location)
        assert f"{parts.scheme}://{parts.netloc}" == self.there.authority.settings.issuer_url
        page = await self.theirs.get(f"{parts.path}?{parts.query}")
        if page.status == 200:
            page = await sign_in_at(self.theirs, page, self.person)
        if page.status == 200:
            page = await self.theirs.send(page, button="allow")
        assert page.location.startswith(OURS + "/sign-in/callback?"), page.text
        assert page.answer["iss"] == self.upstream.issuer
        return await self.ours.get(page.location)


@pytest.fixture
async def two(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Two]:
    clock = TestClock()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(https_server(tmp_path))
        here = await stack.enter_async_context(embedded(clock=clock, issuer=OURS))
        there = await stack.enter_async_context(embedded(clock=clock, issuer=server.url))
        server.handler = forwarded_to(there.web)
        give_fetcher(here.authority, server.fetcher())
        client = await make_client(there, name="Ours", scopes=(), redirect_uris=(OURS + "/sign-in/callback",))
        secret = await give_secret(there, client)
        upstream = await make_upstream(here, server.url, name="Theirs", client_id=client.id, client_secret=secret)
        person = await make_user(there, "ada@example.org", name="Ada", email_verified=True)
        ours = await stack.enter_async_context(browsing(here))
        theirs = await stack.enter_async_context(browsing(there))
        yield Two(here, there, upstream, person, ours, theirs)


async def test_a_linked_user(two: Two) -> None:
    user = await make_user(two.here, "ada@example.com")
    spec = LinkSpec(two.upstream.issuer, two.person.id)
    await user_links.add(two.here.authority, two.here.root, user.id, spec)
    page = await two.through(await two.ours.get("/sign-in?to=/account/sessions"))
    assert page.status == 200
    assert str(page.response.url).endswith("/account/sessions")
    [session] = await two.here.store.page(Session, Query({"user_id": user.id}))
    assert session.amr == ("fed",)


async def test_a_new_user_on_the_way_to_an_application(two: Two) -> None:
    """An application here asks; its user comes from there, and what they agree to here is a code for it."""
    api = await make_api(two.here)
    shop = await make_client(two.here, api)
    secret = await give_secret(two.here, shop)
    root = two.here.root
    await upstreams.update(two.here.authority, root, two.upstream.id, UpdateUpstream(creates_users=True))
    page = await two.through(await two.ours.get(asking(shop)))
    assert "See your orders" in page.words
    page = await two.ours.send(page, button="allow")
    assert page.location.startswith(shop.redirect_uris[0])
    tokens = await tokens_for(two.here, shop, secret, page)
    [user] = await two.here.store.page(User, Query({"email": "ada@example.org"}))
    assert (user.name, user.email_verified) == ("Ada", True)
    verified = await two.here.verify(tokens["access_token"])
    assert verified["valid"]
    assert verified["principal"]["user_id"] == user.id
    [link] = await two.here.store.page(Link, Query({"user_id": user.id}))
    assert (link.issuer, link.subject) == (two.upstream.issuer, two.person.id)


async def test_an_unknown_person_comes_no_further(two: Two) -> None:
    page = await two.through(await two.ours.get("/sign-in"))
    assert page.status == 400
    assert "Nobody here belongs to that account." in page.words
    assert two.ours.http.cookies.get("__Host-kb_session") is None


async def test_saying_no_there(two: Two) -> None:
    page = await two.ours.get(f"/sign-in/with/{two.upstream.id}", follow=False)
    parts = urlsplit(page.location)
    page = await two.theirs.get(f"{parts.path}?{parts.query}")
    page = await two.theirs.send(page, action="/sign-in/cancel")
    assert page.answer["error"] == "access_denied"
    page = await two.ours.get(page.location)
    assert page.status == 400
    assert "You did not finish signing in there." in page.words
