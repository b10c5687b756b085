"""The pages in a real Chromium: with and without scripts, on a phone and on a desk, by keyboard, and with a passkey."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page

from keybearer.core.pkce import challenge_of
from tests.support.authority import ADMIN_EMAIL, ADMIN_PASSWORD, Authority
from tests.support.chromium import DESK, PHONE, Chromium, find_chromium, running
from tests.support.ports import free_port

VERIFIER = "v" * 43
OWN_PAGES = (
    "/account",
    "/account/applications",
    "/account/sessions",
    "/account/password",
    "/account/email",
    "/account/authenticator",
    "/account/recovery-codes",
    "/account/passkeys",
    "/device",
    "/sign-out",
    "/forgot-password",
)
SIZES = pytest.mark.parametrize(("viewport", "scripts"), [(PHONE, True), (PHONE, False), (DESK, True), (DESK, False)])

UNLABELLED = """() => [...document.querySelectorAll("input:not([type=hidden]):not([hidden]), button, a")]
    .filter((one) => !(one.labels?.length || one.textContent.trim() || one.getAttribute("aria-label")))
    .map((one) => one.outerHTML)"""
TOO_WIDE = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


@dataclass
class Application:
    """A web application on this machine: what comes to its redirect URI, by GET or POST."""

    port: int = field(default_factory=free_port)
    answers: list[dict[str, str]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)

    @property
    def redirect_uri(self) -> str:
        return f"http://127.0.0.1:{self.port}/callback"

    def start(self) -> HTTPServer:
        application = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._take(urlsplit(self.path).query)

            def do_POST(self) -> None:
                self._take(self.rfile.read(int(self.headers["content-length"])).decode())

            def _take(self, text: str) -> None:
                if self.path.startswith("/callback"):
                    application.methods.append(self.command)
                    application.answers.append(dict(parse_qsl(text)))
                body = b"<!doctype html><title>Shop</title><p>Thank you." + application.frame.encode()
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    frame: str = ""


@dataclass
class Scene:
    """The three of them: the authority, the application, the browser."""

    node: Authority
    application: Application
    chromium: Chromium
    client: dict[str, str]

    def asking(self, **changes: str) -> str:
        parameters = {
            "client_id": self.client["id"],
            "redirect_uri": self.application.redirect_uri,
            "response_type": "code",
            "scope": "openid orders:read orders:write",
            "state": "a b&c",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
            **changes,
        }
        return f"{self.node.issuer}/oauth/authorize?{urlencode(parameters)}"

    def redeem(self, code: str) -> dict[str, Any]:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.application.redirect_uri,
            "code_verifier": VERIFIER,
        }
        answer = httpx.post(
            f"{self.node.url}/oauth/token", data=fields, auth=(self.client["id"], self.client["secret"])
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One of each for all of this module. Passkeys need a name, so the issuer is at localhost."""
    program = find_chromium()
    if program is None:
        pytest.skip("Chromium is not installed")
    home, port = tmp_path_factory.mktemp("pages"), free_port()
    node = _node(home, port)
    application = Application()
    server = application.start()
    try:
        with running(program) as chromium:
            yield Scene(node, application, chromium, _client(node, application))
    finally:
        server.shutdown()
        server.server_close()
        node.stop()


def _node(home: Path, port: int) -> Authority:
    environment = {"KEYBEARER_ISSUER": f"http://localhost:{port}", "KEYBEARER_BRAND_NAME": "Acme"}
    node = Authority(home / "data", home / "logs", port=port, environment=environment)
    node.init()
    node.start()
    return node


def _client(node: Authority, application: Application) -> dict[str, str]:
    with httpx.Client(base_url=node.url, headers={"authorization": f"Bearer {node.root_key}"}) as http:

        def make(path: str, body: dict[str, Any]) -> dict[str, Any]:
            answer = http.post(path, json=body)
            assert answer.status_code == 201, answer.text
            return dict(answer.json())

        permissions = [
            {"name": "orders:read", "description": "See your orders"},
            {"name": "orders:write", "description": "Place orders for you"},
        ]
        api = make(
            "/v1/apis", {"identifier": "https://orders.example.com", "name": "Orders", "permissions": permissions}
        )
        project = make("/v1/projects", {"name": "Shop", "enabled_apis": [api["id"]]})
        made = make(
            "/v1/clients",
            {
                "project_id": project["id"],
                "name": "Corner Shop",
                "redirect_uris": [application.redirect_uri],
                "scopes": ["orders:read", "orders:write"],
                "optional_scopes": ["orders:write"],
            },
        )
        return {"id": made["client"]["id"], "secret": made["client_secret"]}


@pytest.fixture(autouse=True)
def _nothing_complains(scene: Scene) -> Iterator[None]:
    scene.chromium.complaints.clear()
    yield
    assert scene.chromium.complaints == []


def _sign_in(page: Page) -> None:
    page.fill("#email", ADMIN_EMAIL)
    page.fill("#password", ADMIN_PASSWORD)
    page.click("#submit")


@SIZES
def test_sign_in_consent_and_a_code(scene: Scene, viewport: dict[str, int], scripts: bool) -> None:
    with scene.chromium.profile(viewport=viewport, scripts=scripts) as profile:
        page = profile.new_page()
        page.goto(scene.asking(prompt="consent"))
        page.fill("#email", ADMIN_EMAIL)
        page.fill("#password", "wrong")
        page.click("#submit")
        assert "That is not right" in page.inner_text("[role=alert]")
        _sign_in(page)
        assert page.inner_text("h1") == "Allow Corner Shop?"
        assert page.is_visible("text=Place orders for you")
        assert page.is_visible(f"text=127.0.0.1:{scene.application.port}")
        page.uncheck("input[name='allow.orders:write']")
        page.click("#submit")
        page.wait_for_url(f"{scene.application.redirect_uri}?*")
        answer = scene.application.answers.pop()
        assert answer["state"] == "a b&c"
        assert answer["iss"] == scene.node.issuer
        tokens = scene.redeem(answer["code"])
        assert tokens["scope"].split() == ["openid", "orders:read"]


@pytest.mark.parametrize("scripts", [True, False])
def test_an_answer_by_form_post(scene: Scene, scripts: bool) -> None:
    with scene.chromium.profile(scripts=scripts) as profile:
        page = profile.new_page()
        page.goto(scene.asking(prompt="consent", response_mode="form_post"))
        _sign_in(page)
        page.click("#submit")
        if not scripts:
            page.click("#submit")
        page.wait_for_url(scene.application.redirect_uri)
        assert scene.application.methods.pop() == "POST"
        assert scene.redeem(scene.application.answers.pop()["code"])["access_token"]


def test_everything_by_keyboard(scene: Scene) -> None:
    with scene.chromium.profile() as profile:
        page = profile.new_page()
        page.goto(scene.asking(prompt="consent"))
        page.wait_for_selector("#email:focus")  # by itself; browsers see to it a moment after the page is there
        page.keyboard.type(ADMIN_EMAIL)
        page.keyboard.press("Tab")
        page.keyboard.type(ADMIN_PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Allow Corner Shop?")
        page.focus("#submit")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # the button beside it says no
        page.wait_for_url(f"{scene.application.redirect_uri}?*")
        assert scene.application.answers.pop()["error"] == "access_denied"


def _look_over(page: Page) -> None:
    for width in (320, page.viewport_size["width"] if page.viewport_size else 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert not page.evaluate(TOO_WIDE), f"{page.url} is wider than {width}"
    assert page.evaluate(UNLABELLED) == [], page.url
    assert page.locator("h1").count() == 1, page.url
    assert page.title().endswith("Acme")
    assert page.get_attribute("html", "lang") == "en"


def test_every_page_is_readable_and_labelled(scene: Scene) -> None:
    with scene.chromium.profile(viewport=PHONE) as profile:
        page = profile.new_page()
        for request in (scene.asking(prompt="consent"), scene.asking(redirect_uri="https://evil.example.com/")):
            page.goto(request)
            _look_over(page)
        page.goto(scene.asking(prompt="consent"))
        _sign_in(page)
        _look_over(page)
        for path in OWN_PAGES:
            page.goto(scene.node.issuer + path)
            assert "/sign-in" not in page.url
            _look_over(page)


def test_consent_cannot_be_framed(scene: Scene) -> None:
    with scene.chromium.profile() as profile:
        page = profile.new_page()
        page.goto(scene.asking(prompt="consent"))
        _sign_in(page)
        scene.application.frame = f'<iframe src="{page.url}"></iframe>'
        try:
            page.goto(f"http://127.0.0.1:{scene.application.port}/")
            page.wait_for_timeout(500)
            assert [frame for frame in page.frames[1:] if frame.query_selector("#submit")] == []
        finally:
            scene.application.frame = ""
        assert scene.chromium.complaints
        scene.chromium.complaints.clear()


def test_a_passkey_is_made_and_signs_in(scene: Scene) -> None:
    with scene.chromium.profile() as profile:
        page = profile.new_page()
        _virtual_authenticator(profile, page)
        page.goto(scene.node.issuer + "/account/passkeys")
        _sign_in(page)
        page.fill("#name", "My phone")
        page.click("text=Add a passkey")
        page.wait_for_selector("text=My phone")
        page.goto(scene.node.issuer + "/sign-out")
        page.click("#submit")
        page.click("text=Sign in again")
        page.click("text=Use a passkey")
        page.click("button:has-text('Use your passkey')")
        page.wait_for_url("**/account")
        page.goto(scene.node.issuer + "/account/passkeys")
        page.click("text=Remove")
        page.wait_for_selector("text=A passkey signs you in")


def _virtual_authenticator(profile: BrowserContext, page: Page) -> None:
    devtools = profile.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
    }
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
