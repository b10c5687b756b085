"""Two running authorities, one the other's provider behind TLS; and clients that are told when a session ends."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import async_playwright

from keybearer.formats import jws
from tests.e2e.shop import Shop
from tests.support.authority import ADMIN_EMAIL, ADMIN_PASSWORD, Authority
from tests.support.authorizing import VERIFIER, challenge_of
from tests.support.browser import Browser, Page
from tests.support.chromium import find_chromium
from tests.support.https import HttpsServer, Received, Reply, https_server

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Scene:
    """``here`` and ``there``, what the TLS server in front of ``there`` heard of logouts, and two browser windows."""

    here: Authority
    there: Authority
    shop: Shop
    front: HttpsServer
    logouts: list[str]
    ours: Browser
    theirs: Browser

    def run(self, *arguments: str, stdin: str = "") -> Any:
        """The command line against ``here``."""
        more = {"KEYBEARER_URL": self.here.url, "KEYBEARER_KEY": self.here.root_key}
        done = Authority(self.here.data, self.here.logs, environment=more).run(*arguments, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    async def sign_in_there(self, location: str) -> Page:
        """Go through the provider's pages, to the answer that it sends away."""
        parts = urlsplit(location)
        page = await self.theirs.get(f"{parts.path}?{parts.query}")
        if page.status == 200:
            page = await self.theirs.send(page, {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}, action="/sign-in")
        return page


@pytest.fixture
async def scene(anyio_backend: str, authority: Callable[..., Authority], tmp_path: Path) -> AsyncIterator[Scene]:
    logouts: list[str] = []
    behind: dict[str, str] = {}

    async def handle(request: Received) -> Reply:
        if request.target == "/logged-out":
            logouts.append(request.form["logout_token"])
            return Reply()
        return await passed_on(behind["url"], request)

    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(https_server(tmp_path, handle))
        reach = {"KEYBEARER_FETCH_NETWORKS": "127.0.0.0/8", "KEYBEARER_FETCH_CA": str(front.ca)}
        there = await asyncio.to_thread(lambda: authority(environment={"KEYBEARER_ISSUER": front.url}))
        here = await asyncio.to_thread(lambda: authority(environment=reach))
        behind["url"] = there.url
        ours = httpx.AsyncClient(base_url=here.url, trust_env=False)
        # The browser speaks to the provider through its TLS front.
        context = ssl.create_default_context(cafile=front.ca)
        theirs = httpx.AsyncClient(base_url=front.url, trust_env=False, verify=context)
        await stack.enter_async_context(ours)
        await stack.enter_async_context(theirs)
        shop = await asyncio.to_thread(Shop, here)
        yield Scene(here, there, shop, front, logouts, Browser(ours), Browser(theirs))


async def passed_on(url: str, request: Received) -> Reply:
    """What the server behind a TLS front answers, with every header field of it."""
    async with httpx.AsyncClient(trust_env=False) as http:
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        answer = await http.request(request.method, url + request.target, content=request.body, headers=headers)
    own = ("content-length", "connection", "transfer-encoding")
    fields = tuple((name, value) for name, value in answer.headers.multi_items() if name not in own)
    return Reply(answer.status_code, answer.content, more=fields)


async def until(what: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.05)


async def test_sign_in_with_the_other_and_sign_out_everywhere(scene: Scene) -> None:
    # There, we are a client; here, that is a provider, and its administrator is one of our users.
    provider = await asyncio.to_thread(Shop, scene.there)
    callback = f"{scene.here.url}/sign-in/callback"
    client_id, secret = await asyncio.to_thread(
        lambda: provider.client(callback, scopes=[], is_first_party=True, name="Here")
    )
    [admin] = (await asyncio.to_thread(provider.call, "GET", "/v1/users"))["items"]
    named = ["--name", "There", "--issuer", scene.front.url, "--client-id", client_id, "--client-secret-stdin"]
    upstream = await asyncio.to_thread(lambda: scene.run("upstreams", "create", *named, stdin=secret + "\n"))
    assert upstream["redirect_uri"] == callback
    user = await asyncio.to_thread(scene.run, "users", "create", "--email", "ada@example.com")
    link = ["users", "link", user["id"], "--issuer", scene.front.url, "--subject", admin["id"]]
    await asyncio.to_thread(scene.run, *link)

    # An application here; its user signs in there.
    shop_id, shop_secret = await asyncio.to_thread(
        lambda: scene.shop.client(
            "https://shop.example/callback",
            is_first_party=True,
            backchannel_logout_uri=scene.front.url + "/logged-out",
        )
    )
    asked = {
        "client_id": shop_id,
        "redirect_uri": "https://shop.example/callback",
        "response_type": "code",
        "scope": "openid email",
        "nonce": "n",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }
    page = await scene.ours.get("/oauth/authorize?" + str(httpx.QueryParams(asked)))
    assert "Sign in with There" in page.words
    button = f"/sign-in/with/{upstream['id']}"
    query = page.text.partition(button)[2].partition('"')[0].replace("&amp;", "&")
    away = await scene.ours.get(button + query, follow=False)
    assert away.location.startswith(scene.front.url + "/oauth/authorize?"), away.text
    back = await scene.sign_in_there(away.location)
    assert back.location.startswith(callback + "?"), back.text
    page = await scene.ours.get(back.location.removeprefix(scene.here.url))
    assert page.location.startswith("https://shop.example/callback?"), page.text
    fields = {
        "grant_type": "authorization_code",
        "code": page.answer["code"],
        "redirect_uri": "https://shop.example/callback",
        "code_verifier": VERIFIER,
    }
    answer = await scene.ours.http.post("/oauth/token", data=fields, auth=(shop_id, shop_secret))
    assert answer.status_code == 200, answer.text
    said = jws.parse(answer.json()["id_token"]).unverified_claims
    assert (said["sub"], said["amr"]) == (user["id"], ["fed"])

    # Two nodes follow the log; the application is told once.
    peer = scene.here.peer()
    await asyncio.to_thread(peer.start)
    try:
        await asyncio.to_thread(scene.run, "sessions", "end", said["sid"], "--yes")
        await until(lambda: scene.logouts)
        await asyncio.sleep(2)
        [token] = scene.logouts
    finally:
        await asyncio.to_thread(peer.stop)
    keys = (await scene.ours.http.get("/oauth/jwks")).json()["keys"]
    unverified = jws.parse(token)
    key = next(one for one in keys if one["kid"] == unverified.unverified_header["kid"])
    claims = jws.verify(unverified, key, jws.ASYMMETRIC)
    assert (claims["sid"], claims["sub"], claims["aud"]) == (said["sid"], user["id"], shop_id)
    assert (await scene.ours.get("/account")).text.count("Sign in with There") == 1
    assert secret not in scene.here.output


async def test_a_real_browser_goes_the_whole_way(
    anyio_backend: str, authority: Callable[..., Authority], tmp_path: Path
) -> None:
    """From a form of the provider over our callback to the application: its policy must let all redirects through."""
    program = find_chromium()
    if program is None:
        pytest.skip("Chromium is not installed")
    behind: dict[str, str] = {}

    async def theirs(request: Received) -> Reply:
        return await passed_on(behind["there"], request)

    async def ours(request: Received) -> Reply:
        return await passed_on(behind["here"], request)

    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(https_server(folders[0], theirs))
        own = await stack.enter_async_context(https_server(folders[1], ours))
        application = await stack.enter_async_context(https_server(folders[2]))
        reach = {"KEYBEARER_FETCH_NETWORKS": "127.0.0.0/8", "KEYBEARER_FETCH_CA": str(front.ca)}
        there = await asyncio.to_thread(lambda: authority(environment={"KEYBEARER_ISSUER": front.url}))
        here = await asyncio.to_thread(lambda: authority(environment={**reach, "KEYBEARER_ISSUER": own.url}))
        behind |= {"there": there.url, "here": here.url}
        button, client_id = await asyncio.to_thread(_introduce, here, there, front.url, own.url, application.url)
        asked = {
            "client_id": client_id,
            "redirect_uri": application.url + "/callback",
            "response_type": "code",
            "scope": "openid",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        }
        async with async_playwright() as playwright:
            options = ["--no-sandbox", "--disable-dev-shm-usage"]
            chromium = await playwright.chromium.launch(executable_path=program, args=options)
            page = await chromium.new_page(ignore_https_errors=True, java_script_enabled=False)
            await page.goto(f"{own.url}/oauth/authorize?{httpx.QueryParams(asked)}")
            await page.click(f"text={button}")
            await page.fill("#email", ADMIN_EMAIL)
            await page.fill("#password", ADMIN_PASSWORD)
            await page.click("#submit")
            await until(lambda: any(one.target.startswith("/callback?") for one in application.received))
            await chromium.close()
    [answer] = [one for one in application.received if one.target.startswith("/callback?")]
    assert "code=kb_ac_" in answer.target


def _introduce(here: Authority, there: Authority, issuer: str, own: str, application: str) -> tuple[str, str]:
    """Make all of them known to each other; returns what stands on the button, and the application's id."""
    provider, shop = Shop(there), Shop(here)
    client_id, secret = provider.client(own + "/sign-in/callback", scopes=[], is_first_party=True)
    upstream = {"name": "There", "issuer": issuer, "client_id": client_id, "client_secret": secret}
    shop.call("POST", "/v1/upstreams", upstream)
    [theirs], [ours] = (one.call("GET", "/v1/users")["items"] for one in (provider, shop))
    shop.call("POST", f"/v1/users/{ours['id']}/links", {"issuer": issuer, "subject": theirs["id"]})
    return "Sign in with There", shop.client(application + "/callback", is_first_party=True)[0]
