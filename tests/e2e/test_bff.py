"""A backend for a browser front end: the gateway keeps the tokens of who signed in, and the browser holds a cookie.

Everything speaks TLS, as ``__Host-`` cookies demand.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.e2e.shop import API, Shop
from tests.support.authority import ADMIN_EMAIL, ADMIN_PASSWORD, Authority
from tests.support.certificates import make
from tests.support.chromium import find_chromium, running
from tests.support.ports import free_port
from tests.support.upstream import Upstream, plain
from tests.support.visitor import Visitor

COOKIE = "__Host-kb_bff_app"
MAPS_KEY = "third-party-maps-key-0123456789"
PAGE = b"""<!doctype html><title>App</title><p id=who>nobody</p><p id=tile></p><script>
fetch("/bff/user").then(r => r.ok ? r.json() : {}).then(u => {
  document.getElementById("who").textContent = u.sub ? "signed in" : "nobody";
  return fetch("/maps/tile", {method: "POST", body: "x"});
}).then(r => r.text()).then(t => document.getElementById("tile").textContent = t);
</script>"""
ROUTES = """
[[routes]]
name = "app"
upstream = "{upstream}"
path = "/api"
api = "{api}"
permissions = "pages:read"
bff = {{ client_id = "@CLIENT@", secret = "app-client", scopes = ["openid", "pages:read"], home = "/app" }}

[[routes]]
name = "maps"
upstream = "{upstream}"
path = "/maps"
api = "{api}"
session = "app"
identity_headers = false
inject = [{{ secret = "maps-key", place = "query", name = "key" }}]

[[routes]]
name = "other"
upstream = "{upstream}"
path = "/other"
api = "{api}"
bff = {{ client_id = "@CLIENT@", secret = "app-client", path = "/other-bff" }}

[[routes]]
name = "assets"
upstream = "{upstream}"
path = "/app"
public = true
"""


@dataclass
class Scene:
    """The gateway, what is behind it, and a way to be a browser."""

    node: Authority
    shop: Shop
    upstream: Upstream
    url: str
    client: str
    visitors: list[Visitor] = field(default_factory=list)

    def visitor(self) -> Visitor:
        one = Visitor()
        one.http.close()
        one.http = httpx.Client(trust_env=False, timeout=30, verify=False)
        self.visitors.append(one)
        return one

    def signed_in(self) -> Visitor:
        one = self.visitor()
        page = one.through(f"{self.url}/bff/login?return_to=/app/start", until=f"{self.url}/app/start")
        assert page.location == "/app/start", page.text
        return one

    def own(self, one: Visitor, method: str, path: str, **options: Any) -> httpx.Response:
        """A request of a page of the site itself."""
        headers = {"sec-fetch-site": "same-origin", **options.pop("headers", {})}
        return one.http.request(method, self.url + path, headers=headers, **options)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home, port = tmp_path_factory.mktemp("bff"), free_port()
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    pair = make("localhost", at=datetime.now(UTC), names=names, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    (home / "server.pem").write_bytes(pair.pem)
    (home / "server.key").write_bytes(pair.key_pem)
    upstream = Upstream({"/app/start": plain(200, PAGE, "Content-Type: text/html"), "/app": plain()})
    file = home / "routes.toml"
    text = ROUTES.format(upstream=upstream.url, api=API)
    file.write_text(text.replace("@CLIENT@", "client_later"))
    settings = {
        "KEYBEARER_TLS_CERTIFICATE": str(home / "server.pem"),
        "KEYBEARER_TLS_KEY": str(home / "server.key"),
        "KEYBEARER_GATEWAY_PORT": str(port),
        "KEYBEARER_GATEWAY_ROUTES": str(file),
        "KEYBEARER_FAILURES_PER_MINUTE": "0",
        "KEYBEARER_FETCH_NETWORKS": "127.0.0.0/8,::1/128",
        "KEYBEARER_FETCH_CA": str(home / "server.pem"),
    }
    node = Authority(home / "data", home / "logs", environment=settings)
    node.init()
    node.start()
    try:
        shop = Shop(node, token_in=34)
        url = f"https://localhost:{port}"
        told = {"post_logout_redirect_uris": [f"{url}/app"], "backchannel_logout_uri": f"{url}/bff/backchannel-logout"}
        client, secret = shop.client(f"{url}/bff/callback", **told)
        shop.call("POST", "/v1/secrets", {"name": "app-client", "value": secret})
        shop.call("POST", "/v1/secrets", {"name": "maps-key", "value": MAPS_KEY})
        file.write_text(text.replace("@CLIENT@", client))
        node.restart()
        made = Scene(node, shop, upstream, url, client)
        yield made
        for one in made.visitors:
            one.http.close()
    finally:
        node.stop()
        upstream.stop()


def _no_token_in(seen: str) -> None:
    assert re.search(r"kb_(at|rt)_|eyJ", seen) is None, seen


def test_the_browser_holds_a_cookie_and_the_upstream_learns_who_it_is(scene: Scene) -> None:
    one = scene.signed_in()
    user = scene.own(one, "GET", "/bff/user")
    assert user.json()["sub"]
    _no_token_in(user.text + str(user.headers) + str(dict(one.http.cookies)))
    scene.upstream.forget()
    answer = scene.own(one, "GET", "/api/things")
    assert answer.status_code == 200
    asked = scene.upstream.asked[-1]
    assert asked.field("x-keybearer-kind") == "access_token"
    assert asked.field("x-keybearer-client") == scene.client
    assert asked.field("cookie") is None
    _no_token_in(answer.text)


def test_the_cookie_is_as_strict_as_cookies_get(scene: Scene) -> None:
    one = scene.visitor()
    login = one.http.get(f"{scene.url}/bff/login")
    asked = parse_qs(urlsplit(login.headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["nonce"]
    assert asked["state"]
    flow = login.headers["set-cookie"]
    assert flow.startswith("__Host-kb_bff_app.flow=")
    for attribute in ("Path=/", "Secure", "HttpOnly", "SameSite=Lax"):
        assert attribute in flow
    assert "Domain" not in flow


def test_without_a_session_nobody_passes(scene: Scene) -> None:
    one = scene.visitor()
    assert scene.own(one, "GET", "/bff/user").status_code == 401
    assert scene.own(one, "GET", "/api/things").status_code == 401
    for forged in ("x", "a.b", "0" * 16 + "." + "A" * 43):
        answer = scene.own(one, "GET", "/api/things", headers={"cookie": f"{COOKIE}={forged}"})
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"origin": "@OWN@"}, 200),
    ],
)
def test_a_page_of_another_site_changes_nothing(scene: Scene, headers: dict[str, str], status: int) -> None:
    one = scene.signed_in()
    sent = {name: value.replace("@OWN@", scene.url) for name, value in headers.items()}
    assert one.http.post(f"{scene.url}/api/things", headers=sent).status_code == status
    if status == 403:
        assert one.http.post(f"{scene.url}/bff/logout", headers=sent).status_code == 403
        assert scene.own(one, "GET", "/bff/user").status_code == 200


def test_a_sign_in_that_another_browser_began_is_none_here(scene: Scene) -> None:
    """Login CSRF. Spec: RFC 9700 §4.7."""
    attacker, victim = scene.visitor(), scene.visitor()
    page = attacker.through(f"{scene.url}/bff/login", until=f"{scene.url}/bff/callback")
    answer = victim.http.get(page.location)
    assert answer.status_code == 400
    assert COOKIE not in victim.http.cookies
    # The state of one's own sign-in does not fit the code of another one.
    victim.http.get(f"{scene.url}/bff/login")
    mixed = victim.http.get(page.location)
    assert mixed.status_code == 400
    # It is the state that says so, before the code is tried: PKCE and the nonce would refuse it later.
    assert "not begun here" in mixed.text
    victim.http.get(f"{scene.url}/bff/login")
    assert victim.http.get(re.sub(r"state=[^&]*", "state=", page.location)).status_code == 400
    # None of that touched the code: whoever it is for can still use it.
    assert attacker.http.get(page.location).status_code == 303


def test_an_answer_of_another_authority_is_refused(scene: Scene) -> None:
    one = scene.visitor()
    page = one.through(f"{scene.url}/bff/login", until=f"{scene.url}/bff/callback")
    mixed = re.sub(r"iss=[^&]*", "iss=https%3A%2F%2Fevil.example", page.location)
    assert one.http.get(mixed).status_code == 400
    assert COOKIE not in one.http.cookies


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/%2fevil.example",
        "/x/../..//evil",
        "javascript:x",
    ],
)
def test_nobody_is_lured_elsewhere(scene: Scene, wanted: str) -> None:
    one = scene.visitor()
    login = one.http.get(f"{scene.url}/bff/login", params={"return_to": wanted})
    page = one.through(login.headers["location"], until=f"{scene.url}/bff/callback")
    assert one.http.get(page.location).headers["location"] == "/app"


def test_a_session_of_one_application_is_none_at_another(scene: Scene) -> None:
    cookie = scene.signed_in().http.cookies[COOKIE]
    with httpx.Client(base_url=scene.url, verify=False) as client:
        assert client.get("/bff/user", headers={"cookie": f"{COOKIE}={cookie}"}).status_code == 200
        moved = {"cookie": f"{COOKIE.replace('app', 'other')}={cookie}"}
        assert client.get("/other-bff/user", headers=moved).status_code == 401
        assert client.get("/other/x", headers=moved).status_code == 401


def test_each_sign_in_makes_a_new_session_and_ends_the_one_before(scene: Scene) -> None:
    one = scene.signed_in()
    before = one.http.cookies[COOKIE]
    page = one.through(f"{scene.url}/bff/login?return_to=/app/start", until=f"{scene.url}/app/start")
    assert page.location == "/app/start"
    assert one.http.cookies[COOKIE] != before
    stale = httpx.get(f"{scene.url}/bff/user", headers={"cookie": f"{COOKIE}={before}"}, verify=False)
    assert stale.status_code == 401


def test_tokens_are_renewed_once_however_many_ask(scene: Scene) -> None:
    one = scene.signed_in()
    time.sleep(5)  # a token that ends within 30 seconds is renewed
    cookies = dict(one.http.cookies)

    def ask(number: int) -> int:
        headers = {"cookie": f"{COOKIE}={cookies[COOKIE]}"}
        return httpx.get(f"{scene.url}/api/{number}", headers=headers, verify=False).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(16))) == {200}
    log = scene.shop.call("GET", "/v1/audit?limit=200")["items"]
    assert not [entry for entry in log if "reuse" in entry["action"]]


def test_signing_out_ends_the_session_and_its_tokens(scene: Scene) -> None:
    one = scene.signed_in()
    cookie, sign_in = one.http.cookies[COOKIE], scene.own(one, "GET", "/bff/user").json()["sid"]
    answer = scene.own(one, "POST", "/bff/logout")
    assert answer.status_code == 303
    onward = answer.headers["location"]
    assert onward.startswith(f"{scene.node.issuer}/oauth/logout?")
    assert set(parse_qs(urlsplit(onward).query)) == {"client_id", "post_logout_redirect_uri"}
    assert COOKIE not in one.http.cookies
    again = httpx.get(f"{scene.url}/api/x", headers={"cookie": f"{COOKIE}={cookie}"}, verify=False)
    assert again.status_code == 401
    assert scene.shop.call("GET", f"/v1/sessions/{sign_in}")["state"] == "revoked"
    # The authority has nothing to ask about, and sends the browser home.
    assert one.http.get(onward).headers["location"] == f"{scene.url}/app"


def test_a_sign_in_that_ends_at_the_authority_ends_the_session(scene: Scene) -> None:
    one = scene.signed_in()
    assert scene.own(one, "GET", "/api/x").status_code == 200
    sessions = scene.shop.call("GET", "/v1/sessions?limit=200")["items"]
    for session in sessions:
        scene.shop.call("POST", f"/v1/sessions/{session['id']}/end")
    assert scene.own(one, "GET", "/api/x").status_code == 401
    # The gateway is told of it, too (OIDC Back-Channel Logout): what lies in the store is gone.
    until = time.monotonic() + 10
    while scene.own(one, "GET", "/bff/user").status_code != 401:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_logout_token_that_is_none_ends_nothing(scene: Scene) -> None:
    one = scene.signed_in()
    for text in ("", "x", "eyJhbGciOiJub25lIn0.e30."):
        answer = one.http.post(f"{scene.url}/bff/backchannel-logout", data={"logout_token": text})
        assert answer.status_code == 400
    assert scene.own(one, "GET", "/bff/user").status_code == 200


def test_tokens_lie_sealed_in_the_store(scene: Scene) -> None:
    scene.signed_in()
    stored = b"".join(path.read_bytes() for path in Path(scene.node.data).glob("keybearer.db*"))
    assert re.search(rb"kb_(at|rt)_[0-9A-Za-z]{12,}_[0-9A-Za-z]{30}", stored) is None


@pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")
def test_a_page_uses_a_third_party_with_its_users_session_and_never_sees_the_key(scene: Scene) -> None:
    scene.upstream.forget()
    program = find_chromium()
    assert program is not None
    with running(program) as chromium, chromium.profile(ignore_https_errors=True) as context:
        page = context.new_page()
        seen: list[str] = []
        page.on("response", lambda answer: seen.append(str(answer.all_headers())))
        page.goto(f"{scene.url}/bff/login?return_to=/app/start")
        page.fill("input[name=email]", ADMIN_EMAIL)
        page.fill("input[name=password]", ADMIN_PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "/consent" in url or url.endswith("/app/start"))
        if "/consent" in page.url or page.locator("form[action$='/consent']").count():
            page.locator("form[action$='/consent'] button").first.click()
        page.wait_for_url(f"{scene.url}/app/start")
        page.wait_for_function("document.getElementById('tile').textContent !== ''")
        assert page.text_content("#who") == "signed in"
        told = json.loads(page.text_content("#tile") or "")
        assert told["method"] == "POST"
        cookie = next(one for one in context.cookies() if one["name"] == COOKIE)
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (True, True, "Lax", "/")
        assert page.evaluate("document.cookie") == ""
        everything = page.content() + "".join(seen) + json.dumps(told)
        assert MAPS_KEY not in everything
        _no_token_in(re.sub(r"id_token_hint=[^&]*", "", page.content()))
    asked = [one for one in scene.upstream.asked if one.target.startswith("/maps/")]
    assert [one.target for one in asked] == [f"/maps/tile?key={MAPS_KEY}"]
