"""Anything at all is sent to every page, signed in and not, with tokens and without: nothing breaks, nothing leaks."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from keybearer.core.clients import Client
from tests.support.authorizing import REDIRECT_URI, asking, browsing, make_api, make_client, signed_in
from tests.support.browser import Browser
from tests.support.embedded import embedded
from tests.support.people import PASSWORD, give_mailbox, make_user

pytestmark = pytest.mark.anyio

REQUESTS = 400
PATHS = (
    *("/oauth/authorize", "/oauth/continue", "/oauth/logout", "/oauth/par", "/sign-in", "/sign-in/second-factor"),
    *("/sign-in/passkey", "/sign-in/link", "/sign-in/cancel", "/choose-account", "/consent", "/sign-out", "/register"),
    *("/forgot-password", "/reset-password", "/invitation", "/verify-email", "/account", "/account/name"),
    *("/account/sessions", "/account/applications", "/account/applications/grant_x", "/account/applications/\1"),
    *("/account/password", "/account/email", "/account/authenticator", "/account/recovery-codes", "/device"),
    *("/account/passkeys", "/static/pages.css", "/static/..", "/static/x"),
)
NAMES = (
    *("client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "prompt", "max_age"),
    *("claims", "acr_values", "resource", "authorization_details", "code_challenge", "code_challenge_method"),
    *("dpop_jkt", "id_token_hint", "login_hint", "request", "request_uri", "registration", "flow", "to", "link"),
    *("methods", "user_code", "form_token", "decision", "choice", "email", "password", "code", "recovery_code"),
    *("response", "challenge", "session", "which", "change", "allow.openid", "post_logout_redirect_uri", "name"),
    *("new", "current", "passkey", "again", "step"),
)
ODD = (
    *("", "none", "login consent", "{}", "[]", "[{}]", '{"id_token":{"sub":{"value":1}}}', '{"userinfo":[]}', "[[[["),
    *("-1", "9" * 50, "null", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJFUzI1NiJ9.e30.AA", "https://x/", "kb_ml_x"),
    *("urn:ietf:params:oauth:request_uri:kb_pr_x", "\\", "%", "é", "\0", "\ud800", "x" * 20_000, "\r\nLocation: x"),
)


class Chance:
    """Makes requests up, some of them nearly right."""

    def __init__(self, seed: int, right: dict[str, str], tokens: dict[str, str]) -> None:
        self.random = random.Random(seed)
        self._right = right
        self._tokens = tokens

    def value(self, name: str) -> str:
        if name in self._right and self.random.random() < 0.5:
            return self._right[name]
        if self.random.random() < 0.5:
            return self.random.choice(ODD)
        return "".join(chr(self.random.randrange(0x250)) for _ in range(self.random.randrange(12)))

    def fields(self, path: str) -> str:
        fields = {name: self.value(name) for name in self.random.sample(NAMES, self.random.randrange(9))}
        if path == "/oauth/authorize" and self.random.random() < 0.7:
            fields = {**self._right, **fields}
        if path in self._tokens and self.random.random() < 0.8:
            fields["form_token"] = self._tokens[path]
        encoded = urlencode(fields, errors="surrogatepass")
        if self.random.random() < 0.1:
            encoded = encoded[: self.random.randrange(len(encoded) + 1)] + self.random.choice(
                ("%zz", "%", "&&", "%ff%fe")
            )
        return encoded


async def _tokens(browser: Browser, client: Client) -> tuple[dict[str, str], str]:
    """The form tokens of this browser's pages, and a flow that is open."""
    page = await browser.get(asking(client))
    flow, tokens = page.form("/consent").fields["flow"], {}
    pages = [page, await browser.get("/sign-in?again=1")]
    pages += [await browser.get(quote(path)) for path in PATHS if path.startswith(("/account", "/device", "/sign-out"))]
    for one in pages:
        tokens |= {form.action: form.fields.get("form_token", "") for form in one.forms}
    return tokens, flow


@pytest.mark.parametrize("seed", range(4))
async def test_no_request_breaks_a_page(seed: int) -> None:
    async with embedded(open_registration=True) as world:
        give_mailbox(world.authority)
        client = await make_client(world, await make_api(world))
        ada = await make_user(world)
        async with browsing(world) as browser:
            await signed_in(browser, ada)
            tokens, flow = await _tokens(browser, client)
            cookies = dict(browser.http.cookies)
            right = {
                "client_id": client.id,
                "redirect_uri": REDIRECT_URI,
                "response_type": "code",
                "scope": "openid",
                "code_challenge": "a" * 43,
                "code_challenge_method": "S256",
                "flow": flow,
                "decision": "allow",
                "email": ada.email,
                "step": "find",
                "change": "begin",
            }
            chance = Chance(seed, right, tokens)
            seen: Counter[int] = Counter()
            for _ in range(REQUESTS):
                seen[await _ask(browser, chance, cookies)] += 1
        # Each kind of answer was reached, so that the requests were not all turned away at the door.
        assert {200, 303, 400, 403, 405} <= set(seen)


async def _ask(browser: Browser, chance: Chance, cookies: dict[str, str]) -> int:
    path, fields = chance.random.choice(PATHS), ""
    fields = chance.fields(path)
    browser.http.cookies.clear()
    kept = {name: value for name, value in cookies.items() if chance.random.random() < 0.95}
    browser.http.cookies.update(kept)
    options: dict[str, Any] = {"headers": {"content-type": "application/x-www-form-urlencoded"}}
    method = chance.random.choice(("GET", "POST", "POST", "HEAD"))
    url = quote(path, safe="/")
    if method == "POST":
        options["content"] = fields
    else:
        url += "?" + fields.replace("#", "%23")
    answer = await browser.http.request(method, url, **options)
    assert answer.status_code < 500, (method, url, fields[:500])
    assert PASSWORD not in answer.text
    location = answer.headers.get("location", "/")
    assert location.startswith(("/", REDIRECT_URI)), location
    assert not location.startswith("//")
    return answer.status_code
