"""Browser keys in a real Chromium: pages of several sites call an API behind a real nginx and a real Caddy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keybearer.guards import Guard
from keybearer.guards.asgi import GuardMiddleware
from keybearer.guards.cors import CorsMiddleware, CorsPolicy
from tests.e2e.browser_pages import Pages
from tests.e2e.curl import curl
from tests.e2e.gated import gated
from tests.e2e.guarded import DEPLOY, Scene, guarded_site
from tests.support.asgi_server import serving
from tests.support.caddy import Caddy, find_caddy
from tests.support.chromium import Chromium, find_chromium, running
from tests.support.nginx import Nginx, find_nginx
from tests.support.upstream import Upstream, plain

SCRIPT = "document.title = 'The map is here';"
ALLOWED, REFUSED = "The map is here", "Page"
FONT = "fonts/maps.woff2"
NGINX_ORIGIN = '    # "https://shop.example" "https://shop.example";'
PAGE_FETCH = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options);
        const names = ["www-authenticate", "retry-after", "ratelimit", "cache-control", "content-type"];
        return {
            status: answer.status,
            body: await answer.text(),
            headers: Object.fromEntries(names.map((name) => [name, answer.headers.get(name)])),
        };
    } catch (error) {
        return {blocked: error.name};
    }
}"""


@dataclass(frozen=True)
class Served:
    """What stands where a proxy does otherwise."""

    url: str


@dataclass
class World:
    """The guarded API, the pages of many sites, and the browser that shows them."""

    scene: Scene[Any]
    pages: Pages
    chromium: Chromium

    @property
    def api(self) -> str:
        return str(self.scene.proxy.url)

    @property
    def log(self) -> str:
        return str((self.scene.proxy.prefix / "keybearer.log").read_text())

    def key(self, **restrictions: list[str]) -> str:
        """A new browser key."""
        return self.scene.shop.key("pages:read", kind="publishable_key", restrictions=restrictions)[1]

    @contextmanager
    def page(self, site: str, path: str = "/") -> Iterator[Page]:
        """A page of a site in a fresh profile."""
        with self.chromium.profile() as profile:
            page = profile.new_page()
            page.goto(self.pages.origin(site) + path, wait_until="load")
            yield page

    def title(self, site: str, body: str, path: str = "/") -> str:
        """What the title of a page with this body became, once all that it names was loaded or refused."""
        self.pages.write(path, body)
        with self.page(site, path) as page:
            return page.title()

    def fetch(self, site: str, path: str, **options: Any) -> Any:
        """What a script of a site's page gets to see of an answer."""
        self.pages.write("/empty", "")
        with self.page(site, "/empty") as page:
            return page.evaluate(PAGE_FETCH, [self.api + path, options])


def script(url: str, attributes: str = "") -> str:
    return f'<script src="{url}" {attributes}></script>'


def configured(kind: str, origin: str, home: Path) -> Path:
    """The configuration of deploy/ with CORS switched on for an origin, or for everybody, as its comments say."""
    if kind == "nginx":
        text = (DEPLOY / "nginx/keybearer.conf").read_text()
        everybody = text.replace('    default "";\n' + NGINX_ORIGIN, '    default "*";')
        changed = everybody if origin == "*" else text.replace(NGINX_ORIGIN, f'    "{origin}" "{origin}";')
    else:
        text = (DEPLOY / "caddy/keybearer.caddy").read_text()
        changed = text.replace("https://none.invalid", origin)
    assert changed != text
    path = home / "configuration"
    path.write_text(changed)
    return path


def installed(kind: str, prefix: Path) -> Any:
    """The proxy, not started yet."""
    program = find_nginx() if kind == "nginx" else find_caddy()
    if program is None:
        pytest.skip(f"{kind} is not installed")
    prefix.mkdir(parents=True)
    return Nginx(program, prefix) if kind == "nginx" else Caddy(program, prefix)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    program = find_chromium()
    if program is None:
        pytest.skip("Chromium is not installed")
    with running(program) as chromium:
        yield chromium


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def world(
    request: pytest.FixtureRequest, browser: Chromium, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    kind = request.param
    home = tmp_path_factory.mktemp(kind)
    proxy = installed(kind, home / "prefix")
    with ExitStack() as stack:
        pages = Pages()
        stack.callback(pages.stop)
        configuration = configured(kind, pages.origin("shop"), home)
        scene = stack.enter_context(guarded_site(home, proxy, configuration, f"/var/log/{kind}/"))
        (home / "site/maps.js").write_text(SCRIPT)
        (home / "site/fonts").mkdir()
        (home / "site" / FONT).write_bytes(b"")
        yield World(scene, pages, browser)


def test_a_script_with_a_key_loads_from_its_own_site_only(world: World) -> None:
    shop = world.pages.origin("shop")
    for key in (world.key(referrers=[shop + "/*"]), world.key(origins=[shop])):
        tag = script(f"{world.api}/maps.js?key={key}")
        assert world.title("shop", tag) == ALLOWED
        assert world.title("thief", tag) == REFUSED
        assert world.title("shop.thief", tag) == REFUSED
        assert world.title("shop", tag, "/deep/page") == ALLOWED
        assert key not in world.log


@pytest.mark.parametrize(
    ("hiding", "showing"),
    [
        ("<meta name=referrer content=no-referrer>{}", "<meta name=referrer content=origin>{}"),
        ("<iframe sandbox=allow-scripts srcdoc='{}'></iframe>", "<iframe srcdoc='{}'></iframe>"),
        ("<iframe sandbox=allow-scripts src=/framed></iframe>{:.0}", "<iframe src=/framed></iframe>{:.0}"),
    ],
    ids=["no-referrer", "sandboxed-srcdoc", "sandboxed-page"],
)
def test_a_page_that_hides_where_it_is_gets_nothing(world: World, hiding: str, showing: str) -> None:
    shop = world.pages.origin("shop")
    key = world.key(origins=[shop], referrers=[shop])
    tag = script(f"{world.api}/maps.js?key={key}") + f'<img src="{world.api}/index.html?key={key}" alt="">'
    world.pages.write("/framed", tag)
    for body, targets in ((hiding, set()), (showing, {"/maps.js", "/index.html"})):
        world.scene.site.forget()
        world.title("shop", body.format(tag))
        assert {target.partition("?")[0] for target, _ in world.scene.site.requests} == targets


def test_a_script_in_a_sandbox_asks_as_nobody(world: World) -> None:
    shop = world.pages.origin("shop")
    key = world.key(origins=[shop], referrers=[shop])
    fetching = f'<script>fetch("{world.api}/maps.js?key={key}").finally(() => parent.postMessage("done", "*"))</script>'
    listening = "<script>addEventListener('message', () => document.title = 'Heard')</script>"
    world.pages.write("/fetching", fetching)
    for sandbox, arrives in (("sandbox=allow-scripts", False), ("", True)):
        world.scene.site.forget()
        world.pages.write("/", f"{listening}<iframe {sandbox} src=/fetching></iframe>")
        with world.page("shop") as page:
            page.wait_for_function("document.title === 'Heard'")
        assert bool(world.scene.site.requests) is arrives


def test_what_the_query_claims_is_not_believed(world: World) -> None:
    shop = world.pages.origin("shop")
    key = world.key(referrers=[shop])
    claims = f"&origin={shop}&referer={shop}/&referrer={shop}/&Origin={shop}"
    assert world.title("thief", script(f"{world.api}/maps.js?key={key}{claims}")) == REFUSED
    assert world.title("shop", script(f"{world.api}/maps.js?key={key}{claims}")) == ALLOWED
    for twice in (f"?key={key}&key={key}", f"?key={key}&api_key={key}", f"?k%65y={key}&token=x"):
        assert world.title("shop", script(world.api + "/maps.js" + twice)) == REFUSED
    # In the address bar nobody sends the page along.
    with world.chromium.profile() as profile:
        answer = profile.new_page().goto(f"{world.api}/maps.js?key={key}")
        assert answer is not None
        assert answer.status == 401


def test_origin_and_referrer_that_contradict_each_other_are_nobodys(world: World) -> None:
    shop, thief = world.pages.origin("shop"), world.pages.origin("thief")
    key = world.key(origins=[shop], referrers=[shop])
    url = f"{world.api}/maps.js?key={key}"
    for origin, referrer, status in (
        (shop, f"{shop}/page", 200),
        (shop, thief, 401),
        (thief, shop, 401),
        ("null", shop, 401),
        (shop + "/", shop, 401),
    ):
        assert curl(url, "-H", f"Origin: {origin}", "-H", f"Referer: {referrer}").status == status, (origin, referrer)


def test_a_path_needs_a_page_that_tells_it(world: World) -> None:
    """By default browsers tell other sites no more than the origin (Referrer Policy §3.7)."""
    key = world.key(referrers=[world.pages.origin("shop") + "/maps/*"])
    url = f"{world.api}/maps.js?key={key}"
    assert world.title("shop", script(url), "/maps/here") == REFUSED
    telling = 'referrerpolicy="no-referrer-when-downgrade"'
    assert world.title("shop", script(url, telling), "/maps/here") == ALLOWED
    assert world.title("shop", script(url, telling), "/elsewhere") == REFUSED


def test_whatever_a_page_loads_counts_alike(world: World) -> None:
    key = world.key(origins=[world.pages.origin("shop")])
    url = f"{world.api}/maps.js?key={key}"
    assert world.title("shop", script(url, "crossorigin")) == ALLOWED
    assert world.title("thief", script(url, "crossorigin")) == REFUSED
    assert world.title("shop", script(url, 'type="module"')) == ALLOWED
    font = f"{world.api}/{FONT}?key={key}"
    style = f"<style>@font-face {{font-family: M; src: url('{font}')}} p {{font-family: M}}</style><p>Map"
    image = f'<img src="{world.api}/index.html?key={key}" alt="">'
    for site, arrives in (("shop", True), ("thief", False)):
        world.scene.site.forget()
        world.title(site, style + image)
        asked = {target.partition("?")[0] for target, _ in world.scene.site.requests}
        assert asked == ({"/" + FONT, "/index.html"} if arrives else set()), site


def test_a_secret_key_in_a_url_is_refused_and_the_answer_says_why(world: World) -> None:
    _, secret = world.scene.shop.key("pages:read")
    seen = world.fetch("shop", f"/maps.js?key={secret}")
    assert seen["status"] == 401
    assert "Credentials in a URL end up in logs and are refused" in seen["headers"]["www-authenticate"]
    assert "Rotate the one you sent" in seen["headers"]["www-authenticate"]
    assert secret not in str(seen)
    assert secret not in world.log + world.scene.shop.node.output
    elsewhere = world.key(origins=["https://elsewhere.example"])
    assert "URL" not in world.fetch("shop", f"/maps.js?key={elsewhere}")["headers"]["www-authenticate"]


def test_what_a_url_with_a_key_gave_is_kept_by_nobody(world: World) -> None:
    shop = world.pages.origin("shop")
    key = world.key(origins=[shop])
    answer = curl(f"{world.api}/maps.js?key={key}", "-H", f"Origin: {shop}")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    answer = curl(f"{world.api}/maps.js", "-H", f"Origin: {shop}", "-H", f"X-Api-Key: {key}")
    assert answer.status == 200
    assert "no-store" not in answer.headers.get("cache-control", "")
    forged = ("-H", "X-Keybearer-Carried: query")
    answer = curl(f"{world.api}/maps.js", "-H", f"Origin: {shop}", "-H", f"X-Api-Key: {key}", *forged)
    assert "no-store" not in answer.headers.get("cache-control", "")


def test_scripts_of_the_site_read_answers_and_refusals_with_keys_and_tokens(world: World) -> None:
    shop = world.pages.origin("shop")
    limited = {"kind": "publishable_key", "restrictions": {"origins": [shop]}}
    limited["limits"] = [{"name": "requests", "limit": 1, "period_in": 3600}]
    _, key = world.scene.shop.key("pages:read", **limited)
    seen = [world.fetch("shop", "/maps.js", headers={"X-Api-Key": key}) for _ in range(2)]
    assert [one["status"] for one in seen] == [200, 429]
    assert seen[0]["body"] == SCRIPT
    assert seen[0]["headers"]["ratelimit"].startswith('"requests";r=0')
    assert 0 < int(seen[1]["headers"]["retry-after"]) <= 3600
    wrong = world.fetch("shop", "/maps.js", headers={"Authorization": "Bearer kb_at_nobody"})
    assert wrong["status"] == 401
    assert wrong["headers"]["www-authenticate"].startswith('Bearer error="invalid_token", scope="pages:read"')
    assert world.fetch("shop", "/maps.js")["headers"]["www-authenticate"].startswith('Bearer scope="pages:read"')
    for scope, status in (("pages:read", 200), ("pages:write", 403)):
        token = _token(world, scope)
        seen_by_token = world.fetch("shop", "/maps.js", headers={"Authorization": f"Bearer {token}"})
        assert seen_by_token["status"] == status
    assert 'error="insufficient_scope"' in seen_by_token["headers"]["www-authenticate"]


def test_scripts_of_other_sites_read_nothing_even_with_a_good_token(world: World) -> None:
    token = _token(world, "pages:read")
    world.scene.site.forget()
    assert world.fetch("thief", "/maps.js", headers={"Authorization": f"Bearer {token}"}) == {"blocked": "TypeError"}
    assert world.fetch("thief", "/maps.js") == {"blocked": "TypeError"}
    assert not world.scene.site.requests  # the preflight ended it


def test_a_preflight_needs_no_credential_and_reaches_nobody(world: World) -> None:
    asks = ("-X", "OPTIONS", "-H", "Access-Control-Request-Method: PUT")
    world.scene.site.forget()
    shop = world.pages.origin("shop")
    answer = curl(f"{world.api}/maps.js", *asks, "-H", f"Origin: {shop}")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == shop
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    for origin in (world.pages.origin("thief"), "null", shop + ".thief.example"):
        answer = curl(f"{world.api}/maps.js", *asks, "-H", f"Origin: {origin}")
        assert answer.status == 401, origin
        assert "access-control-allow-origin" not in answer.headers
        assert "Origin" in answer.headers["vary"]
    # An OPTIONS that is no preflight is a request like any other.
    assert curl(f"{world.api}/maps.js", "-X", "OPTIONS", "-H", f"Origin: {shop}").status == 401
    assert not world.scene.site.requests


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_an_api_for_everybodys_pages_lets_all_read_and_cookies_count_for_none(kind: str, tmp_path: Path) -> None:
    proxy = installed(kind, tmp_path / "prefix")
    with guarded_site(tmp_path, proxy, configured(kind, "*", tmp_path), f"/var/log/{kind}/") as scene:
        _, key = scene.shop.key("pages:read")
        origin = ("-H", "Origin: https://anybody.example")
        asks = scene.get("-X", "OPTIONS", *origin, "-H", "Access-Control-Request-Method: GET")
        answers = [asks, scene.get(*origin, "-H", f"X-Api-Key: {key}"), scene.get(*origin)]
    assert [answer.status for answer in answers] == [204, 200, 401]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] in ("*", "https://anybody.example")
        assert "access-control-allow-credentials" not in answer.headers


def test_a_page_gets_its_tokens_at_the_authority_and_gives_them_back(world: World) -> None:
    """A public client is a page of any site: it reads what the token endpoint says, in good and in bad."""
    node = world.scene.shop.node
    world.pages.write("/empty", "")
    form = {"method": "POST", "headers": {"Content-Type": "application/x-www-form-urlencoded", "DPoP": "x"}}
    with world.page("shop", "/empty") as page:
        for path, body in (("/oauth/token", "grant_type=authorization_code&client_id=x"), ("/oauth/revoke", "token=x")):
            seen = page.evaluate(PAGE_FETCH, [node.url + path, {**form, "body": body}])
            assert seen["status"] in (400, 401), seen
            assert '"error":' in seen["body"]
        with_cookies = {**form, "body": "token=x", "credentials": "include"}
        assert page.evaluate(PAGE_FETCH, [node.url + "/oauth/revoke", with_cookies]) == {"blocked": "TypeError"}
        assert page.evaluate(PAGE_FETCH, [node.url + "/oauth/userinfo", {}])["status"] == 401
        for closed in ("/oauth/authorize?client_id=x", "/sign-in", "/v1/keys"):
            assert page.evaluate(PAGE_FETCH, [node.url + closed, {}]) == {"blocked": "TypeError"}, closed


@pytest.fixture
def application(world: World) -> Iterator[World]:
    """The same API as an application that guards itself with the SDK, CORS around the guard."""
    shop = world.scene.shop
    permissions = ["keybearer:verify", "keybearer:events.read", "keybearer:apis.read"]
    own = shop.call("GET", "/v1/whoami")["project_id"]
    made = shop.call("POST", "/v1/keys", {"project_id": own, "name": "guard", "permissions": permissions})

    async def maps(_request: Request) -> Response:
        return Response(
            SCRIPT, headers={"access-control-allow-origin": "https://own.example"}, media_type="text/javascript"
        )

    with Guard(shop.node.url, key=made["credential"], api="https://site.example") as guard:
        guarded = GuardMiddleware(Starlette(routes=[Route("/maps.js", maps)]), guard, permissions="pages:read")
        app = CorsMiddleware(guarded, CorsPolicy((world.pages.origin("shop"),)))
        with serving(app) as url:
            yield replace(world, scene=replace(world.scene, proxy=Served(url)))


@pytest.mark.parametrize("world", ["nginx"], indirect=True)
def test_an_application_that_guards_itself_does_the_same(application: World) -> None:
    shop = application.pages.origin("shop")
    key = application.key(origins=[shop])
    tag = script(f"{application.api}/maps.js?key={key}")
    assert application.title("shop", tag) == ALLOWED
    assert application.title("thief", tag) == REFUSED
    assert application.title("shop", f"<meta name=referrer content=no-referrer>{tag}") == REFUSED
    answer = curl(f"{application.api}/maps.js?key={key}", "-e", shop + "/")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    assert application.fetch("shop", "/maps.js", headers={"X-Api-Key": key})["body"] == SCRIPT
    refused = application.fetch("shop", "/maps.js", headers={"Authorization": "Bearer kb_at_nobody"})
    assert refused["status"] == 401
    assert refused["headers"]["www-authenticate"].startswith('Bearer error="invalid_token"')
    assert application.fetch("thief", "/maps.js", headers={"X-Api-Key": key}) == {"blocked": "TypeError"}
    _, secret = application.scene.shop.key("pages:read")
    seen = application.fetch("shop", f"/maps.js?key={secret}")
    assert seen["status"] == 401
    assert "Credentials in a URL end up in logs" in seen["headers"]["www-authenticate"]
    assert secret not in str(seen)


ROUTE = """
[[routes]]
name = "browser"
upstream = "{upstream}"
path = "/maps.js"
api = "https://site.example"
permissions = "pages:read"
cors = {{ origins = ["{origin}"] }}
"""


def test_the_gateway_does_the_same_and_keeps_the_key_from_its_upstream(browser: Chromium, tmp_path: Path) -> None:
    script_of = plain(200, SCRIPT.encode(), "Content-Type: text/javascript", "Cache-Control: public, max-age=60")
    with ExitStack() as stack:
        pages = Pages()
        stack.callback(pages.stop)
        upstream = Upstream({"/maps.js": script_of})
        stack.callback(upstream.stop)
        route = ROUTE.format(upstream=upstream.url, origin=pages.origin("shop"))
        scene = stack.enter_context(gated(tmp_path, upstream, routes=route))
        scene.shop.call("PATCH", f"/v1/apis/{scene.shop.api['id']}", {"allow_publishable_in_query": True})
        world = World(Scene(scene.shop, upstream, Served(scene.url)), pages, browser)  # type: ignore[arg-type]
        key = world.key(origins=[pages.origin("shop")])
        tag = script(f"{world.api}/maps.js?key={key}&v=1")
        assert world.title("shop", tag) == ALLOWED
        assert [asked.target for asked in upstream.asked] == ["/maps.js?v=1"]
        assert key not in str(upstream.asked)
        assert world.title("thief", tag) == REFUSED
        assert world.title("shop", f"<meta name=referrer content=no-referrer>{tag}") == REFUSED
        answer = curl(f"{world.api}/maps.js?key={key}", "-e", pages.origin("shop") + "/")
        assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
        assert answer.headers["referrer-policy"] == "no-referrer"
        _, secret = scene.shop.key("pages:read")
        answer = curl(f"{world.api}/maps.js", "-H", f"X-Api-Key: {secret}")
        assert (answer.status, answer.headers["cache-control"]) == (200, "public, max-age=60")
        seen = world.fetch("shop", f"/maps.js?key={secret}")
        assert "Credentials in a URL end up in logs" in seen["headers"]["www-authenticate"]
        assert secret not in str(seen)
        assert world.fetch("shop", "/maps.js", headers={"X-Api-Key": key})["body"] == SCRIPT
        assert world.fetch("thief", "/maps.js", headers={"X-Api-Key": key}) == {"blocked": "TypeError"}


def _token(world: World, scope: str) -> str:
    client_id, secret = world.scene.shop.client(grant_types=["client_credentials"])
    answer = curl(
        world.scene.shop.node.url + "/oauth/token",
        *("--user", f"{client_id}:{secret}"),
        *("--data", f"grant_type=client_credentials&scope={scope}"),
    )
    return answer.body.partition('"access_token":"')[2].partition('"')[0]
