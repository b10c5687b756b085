"""A token in a cookie at forward-auth: browsers add it by themselves, so another site's requests must not count.

Spec: CWE-352 (CSRF), CWE-1385 (WebSockets), W3C Fetch Metadata §2.3, RFC 6265 §5.4.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from tests.support.door import Door, is_known, known
from tests.support.oauth import API, OAuth, oauth_world

pytestmark = pytest.mark.anyio

NAME = "__Host-token"
TARGET = f"/forward-auth?api={API}&permissions=orders:read"


@dataclass
class Site:
    """An API that takes its tokens in a cookie, and a token."""

    oauth: OAuth
    http: httpx.AsyncClient
    token: str

    async def status(self, method: str = "GET", *, cookie: str | None = None, **said: str) -> int:
        headers = {"x-forwarded-method": method, "x-forwarded-uri": "/orders"}
        headers |= {name.replace("_", "-"): text for name, text in said.items()}
        headers["cookie"] = f"theme=dark; {NAME}={self.token}" if cookie is None else cookie
        answer = await self.http.get(TARGET, headers={name: text.encode() for name, text in headers.items()})
        assert (answer.status_code == 200) is ("x-keybearer-token" in answer.headers)
        assert self.token not in str(answer.headers) + answer.text
        return answer.status_code


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with oauth_world(trusted_proxies=("192.0.2.1",)) as oauth, oauth.world.http("") as http:
        await oauth.change(oauth.api, token_cookie=NAME)
        token = (await (await oauth.client()).tokens())["access_token"]
        yield Site(oauth, http, token)


async def test_a_cookie_reads_and_only_the_very_site_changes(site: Site) -> None:
    assert await site.status() == 200
    for method in ("POST", "PUT", "PATCH", "DELETE", "get-and-more", ""):
        assert await site.status(method) == 403, method
        for other in ("cross-site", "same-site", "none", "same-origin, cross-site"):
            assert await site.status(method, sec_fetch_site=other, origin="https://shop.example") == 403, other
        assert await site.status(method, sec_fetch_site="same-origin") == 200, method
    for field in ("upgrade", "sec_websocket_key", "sec_websocket_version"):
        assert await site.status(**{field: "any"}) == 403, field
    assert await site.status(upgrade="websocket", sec_fetch_site="same-origin") == 200
    assert await site.status(x_http_method_override="DELETE") == 403


async def test_the_origin_is_compared_with_what_the_browser_asked_for(site: Site) -> None:
    """Proxies ask under a name of their own, and say in ``X-Forwarded-Host`` what the browser's was."""
    asked = {"host": "keybearer", "x_forwarded_host": "shop.example"}
    assert await site.status("POST", origin="https://shop.example", **asked) == 200
    assert await site.status("POST", origin="https://shop.example", host="shop.example") == 200
    for origin in ("https://evil.example", "https://keybearer", "http://shop.example", "null", ""):
        assert await site.status("POST", origin=origin, **asked) == 403, origin


async def test_two_words_about_where_it_came_from_are_none(site: Site) -> None:
    for said in (["cross-site", "same-origin"], ["same-origin", "cross-site"]):
        headers = [("sec-fetch-site", one) for one in said]
        headers += [("x-forwarded-method", "POST"), ("cookie", f"{NAME}={site.token}")]
        assert (await site.http.get(TARGET, headers=headers)).status_code == 401


async def test_one_cookie_of_the_very_name_with_a_token(site: Site) -> None:
    good = f"{NAME}={site.token}"
    for cookie in (
        f"{good}; {good}",
        f"{NAME}=x; {good}",
        f'{NAME}="{site.token}"',
        f"__host-token={site.token}",
        f"{NAME} ={site.token}",
        f"$Version=1, {good}",
        f"\u2000{good}",
        f"token={site.token}",
        site.token,
        f"{NAME}={site.oauth.world.root_key}",
    ):
        assert await site.status(cookie=cookie) == 401, cookie
    assert await site.status(cookie=good, authorization=f"Bearer {site.token}") == 401
    await site.oauth.change(site.oauth.api, token_cookie="")
    assert await site.status() == 401


async def test_a_request_that_is_known_by_its_bytes_tells_sites_apart(site: Site) -> None:
    door = Door(site.oauth.world)
    connection = door.connect()

    def raw(method: str, fetched_from: str) -> bytes:
        return (
            f"GET {TARGET} HTTP/1.1\r\nhost: keybearer\r\nx-forwarded-method: {method}\r\nx-forwarded-uri: /orders\r\n"
            f"sec-fetch-site: {fetched_from}\r\ncookie: {NAME}={site.token}\r\n\r\n"
        ).encode()

    await known(connection, raw("POST", "same-origin"))
    assert not await is_known(connection, raw("POST", "cross-site"))
    assert (await connection.ask(raw("POST", "cross-site")))[0] == 403
    assert (await connection.ask(raw("GET", "cross-site")))[0] == 200
