"""Attacks on the pages: forged and empty forms, framing, a hostile Host, planted cookies, open redirects, injection."""

from __future__ import annotations

import pytest

from keybearer.core import redirect_uri
from keybearer.core.authorization_request import parameters_of, target_of
from keybearer.core.clients import Client
from keybearer.core.grants import Grant
from keybearer.core.oauth_error import OAuthError
from keybearer.core.records import Permission
from keybearer.core.sessions import Session
from keybearer.core.users import User
from keybearer.ports import Query
from tests.support.authorizing import (
    REDIRECT_URI,
    asking,
    browsing,
    changed,
    code_of,
    make_api,
    make_client,
    sign_in_at,
    signed_in,
)
from tests.support.browser import Browser, Page
from tests.support.embedded import Embedded, embedded
from tests.support.people import PASSWORD, add_totp, make_user
from tests.support.people import sign_in as sign_in_directly

pytestmark = pytest.mark.anyio

PAGES = ("/sign-in", "/forgot-password", "/sign-out", "/oauth/authorize", "/oauth/logout?state=1&state=2")
FORMS = (
    "/sign-in",
    "/sign-in/second-factor",
    "/sign-in/passkey",
    "/sign-in/link",
    "/sign-in/cancel",
    "/choose-account",
    "/consent",
    "/sign-out",
    "/forgot-password",
    "/reset-password",
    "/invitation",
    "/verify-email",
)
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
)


@pytest.fixture
async def client(world: Embedded) -> Client:
    return await make_client(world, await make_api(world))


@pytest.fixture
async def ada(world: Embedded) -> User:
    return await make_user(world, name="Ada")


# Redirects


def _mutations() -> list[str]:
    base = REDIRECT_URI
    return [
        base + "/",
        base + "x",
        base[:-1],
        base + "?",
        base + "?a=b",
        base + "#",
        base + "#x",
        base + "/../evil",
        base + "/..;/evil",
        base + "..;/",
        base.replace("/callback", "/x/..;/callback"),
        base.replace("/callback", "/./callback"),
        base.replace("/callback", "//callback"),
        base.replace("/callback", "/%63allback"),
        base.replace("/callback", "\\callback"),
        base.replace("/callback", "/callback%00"),
        base.replace("/callback", "/callback%0d%0aLocation:x"),
        base.replace("shop.", "SHOP."),
        base.replace("shop.example.com", "shop.example.com."),
        base.replace("shop.example.com", "shop.example.com:443"),
        base.replace("shop.example.com", "shop.example.com:8443"),
        base.replace("shop.example.com", "shop.example.com@evil.example.com"),
        base.replace("shop.example.com", "evil.example.com"),
        base.replace("shop.example.com", "shop.example.com.evil.example.com"),
        base.replace("shop.example.com", "evilshop.example.com"),
        base.replace("https://", "http://"),
        base.replace("https://", "HTTPS://"),
        base.replace("https://", "https:///"),
        base.replace("https://", "//"),
        base.replace("https:", "javascript:"),
        base.replace("shop", "ѕhop"),  # a Cyrillic letter
        " " + base,
        base + " ",
        "\t" + base,
        base + "\n",
        "*",
        "https://*",
        "",
    ]


@pytest.mark.parametrize("presented", _mutations())
@pytest.mark.spec("RFC 9700", "2.1", "MUST")
async def test_no_mutation_of_a_redirect_uri_is_followed(world: Embedded, client: Client, presented: str) -> None:
    async with browsing(world) as browser:
        page = await browser.get(asking(client, redirect_uri=presented))
        assert page.status == 400
        assert "location" not in page.headers
    parameters = parameters_of([("redirect_uri", presented), ("scope", "openid")])
    with pytest.raises(OAuthError):
        target_of(parameters, client)


@pytest.mark.parametrize("presented", ["http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", "http://127.0.0.1/cb"])
@pytest.mark.spec("RFC 8252", "7.3", "MUST")
def test_only_the_port_of_a_loopback_address_may_differ(presented: str) -> None:
    assert redirect_uri.matches("http://127.0.0.1/cb", presented)
    for wrong in ("http://127.0.0.1/cb2", "http://127.0.0.2/cb", "http://localhost/cb", "https://127.0.0.1/cb"):
        assert not redirect_uri.matches(wrong, presented)


@pytest.mark.parametrize(
    "to",
    ["https://evil.example.com/", "//evil.example.com", "/\\evil.example.com", "/account/../x", "/device?x=1", "x"],
)
async def test_a_sign_in_leads_to_our_own_pages_only(world: Embedded, ada: User, to: str) -> None:
    async with browsing(world) as browser:
        page = await browser.get("/sign-in", params={"to": to})
        page = await browser.send(page, {"email": ada.email, "password": PASSWORD, "to": to}, follow=False)
        assert page.location == "/account"


# Forged forms


async def _consent_page(browser: Browser, client: Client, user: User) -> Page:
    return await sign_in_at(browser, await browser.get(asking(client)), user)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example.com"},
    ],
)
async def test_forms_of_other_sites_are_refused(
    world: Embedded, client: Client, ada: User, headers: dict[str, str]
) -> None:
    async with browsing(world) as browser:
        page = await _consent_page(browser, client, ada)
        fields = {**page.form("/consent").fields, "decision": "allow"}
        refused = await browser.post("/consent", fields, headers=headers)
        assert refused.status == 403
        assert await world.store.page(Grant, Query({"user_id": ada.id})) == ()
        accepted = await browser.post("/consent", fields, headers={"sec-fetch-site": "same-origin"})
        assert accepted.answer["code"]


async def test_a_form_token_is_good_for_one_form_one_browser_and_one_session(
    world: Embedded, client: Client, ada: User
) -> None:
    eve = await make_user(world, "eve@example.com")
    async with browsing(world) as browser, browsing(world) as other:
        before = (await browser.get("/sign-in")).form().fields["form_token"]
        page = await _consent_page(browser, client, ada)
        fields = {**page.form("/consent").fields, "decision": "allow"}
        await signed_in(other, eve)
        foreign = (await other.get("/account")).form("/account/name").fields["form_token"]
        elsewhere = (await browser.get("/account")).form("/account/name").fields["form_token"]
        genuine = fields["form_token"]
        tampered = ("A" if genuine[0] != "A" else "B") + genuine[1:]
        for token in (before, foreign, elsewhere, tampered, genuine[:-1], "", "é", "x" * 10_000):
            refused = await browser.post("/consent", {**fields, "form_token": token})
            assert refused.status == 403, token[:20]
        world.clock.move(12 * 3600)
        assert (await browser.post("/consent", fields)).status in (400, 403)
        assert await world.store.page(Grant, Query({"user_id": ada.id})) == ()


async def test_a_form_that_one_user_was_shown_is_not_sent_by_the_next(world: Embedded, ada: User) -> None:
    """The same browser, and the same form: whoever signed in meanwhile did not mean it."""
    eve = await make_user(world, "eve@example.com")
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        fields = {**(await browser.get("/account")).form("/account/name").fields, "name": "Changed"}
        await sign_in_at(browser, await browser.get("/sign-in?again=1"), eve)
        assert (await browser.post("/account/name", fields)).status == 403
        fresh = (await browser.get("/account")).form("/account/name").fields
        assert (await browser.post("/account/name", {**fresh, "name": "Eve"})).status == 200


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("body", ["", "form_token=", "form_token=x&x=y", "&&&", "=&=", "%", "a=1&a=2"])
async def test_an_empty_or_partial_form_passes_no_step(world: Embedded, ada: User, path: str, body: str) -> None:
    """authentik CVE-2026-49443: an empty POST skipped a step."""
    async with browsing(world) as browser:
        await browser.get("/sign-in")
        page = await browser.post(path, body)
        assert page.status in (400, 403)
        assert "kb_session" not in browser.http.cookies


@pytest.mark.parametrize(
    "fields", [{}, {"flow": ""}, {"flow": "x"}, {"email": "ada@example.com"}, {"password": PASSWORD}]
)
async def test_a_sign_in_form_with_something_missing_signs_nobody_in(
    world: Embedded, ada: User, fields: dict[str, str]
) -> None:
    async with browsing(world) as browser:
        token = (await browser.get("/sign-in")).form().fields["form_token"]
        page = await browser.post("/sign-in", {"form_token": token, **fields})
        assert page.status == 400
        assert "kb_session" not in browser.http.cookies


@pytest.mark.parametrize(
    "fields", [{}, {"decision": ""}, {"decision": "maybe"}, {"decision": "allow", "flow": ""}, {"allow.openid": "on"}]
)
async def test_a_consent_form_with_something_missing_grants_nothing(
    world: Embedded, client: Client, ada: User, fields: dict[str, str]
) -> None:
    async with browsing(world) as browser:
        page = await _consent_page(browser, client, ada)
        page = await browser.post("/consent", {**page.form("/consent").fields, **fields})
        assert page.status == 400
        assert "location" not in page.headers
        assert await world.store.page(Grant, Query({"user_id": ada.id})) == ()


async def test_an_answer_counts_for_what_the_page_showed(world: Embedded, client: Client, ada: User) -> None:
    """A client that describes itself could add scopes while its user reads what it had."""
    client = await changed(world, client, scopes=("orders:read",), redirect_uris=(REDIRECT_URI,))
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.get(asking(client, scope=None))
        assert "Place orders for you" not in page.text
        await changed(world, client, scopes=("orders:read", "orders:write"))
        page = await browser.send(page, button="allow")
        assert "Place orders for you" in page.text
        assert await world.store.page(Grant, Query({"user_id": ada.id})) == ()
        page = await browser.send(page, button="allow")
        assert (await code_of(world, client, page)).scopes == ("orders:read", "orders:write")


async def test_the_second_factor_cannot_be_skipped(world: Embedded, client: Client, ada: User) -> None:
    await add_totp(world, await sign_in_directly(world))
    async with browsing(world) as browser:
        page = await browser.get(asking(client))
        flow = page.form("/sign-in").fields["flow"]
        page = await sign_in_at(browser, page, ada)
        assert "One more step" in page.text
        for path in (f"/oauth/continue?flow={flow}", f"/consent?flow={flow}", "/account"):
            assert (await browser.get(path)).form("/sign-in")
        fields = page.form("/sign-in/second-factor").fields
        for code in ("", " ", "0", "000000"):
            refused = await browser.post("/sign-in/second-factor", {**fields, "code": code})
            assert refused.status == 400
        token = page.form("/sign-in/second-factor").fields["form_token"]
        consent = await browser.post("/consent", {"form_token": token, "flow": flow, "decision": "allow"})
        assert consent.status == 403
        assert "kb_session" not in browser.http.cookies


async def test_a_consent_form_cannot_skip_a_sign_in_that_was_asked_for(
    world: Embedded, client: Client, ada: User
) -> None:
    async with browsing(world) as browser:
        page = await _consent_page(browser, client, ada)
        fields = page.form("/consent").fields
        world.clock.move(60)
        page = await browser.get(asking(client, prompt="login"))
        flow = page.form("/sign-in").fields["flow"]
        page = await browser.post("/consent", {**fields, "flow": flow, "decision": "allow"})
        assert page.form("/sign-in")


# Sessions


async def test_the_session_is_renewed_at_sign_in(world: Embedded, client: Client, ada: User) -> None:
    async with browsing(world) as browser:
        browser.http.cookies.set("kb_session", "kb_ss_planted", domain="127.0.0.1", path="/")
        await signed_in(browser, ada)
        first = browser.http.cookies["kb_session"]
        assert first != "kb_ss_planted"
        world.clock.move(60)
        page = await browser.get(asking(client, prompt="login"))
        await sign_in_at(browser, page, ada)
        second = browser.http.cookies["kb_session"]
        assert second != first
        live = [one for one in await world.store.page(Session, Query({"user_id": ada.id})) if one.revoked_at is None]
        assert len(live) == 1


async def test_two_cookies_of_one_name_count_as_none(world: Embedded, ada: User) -> None:
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        cookies = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
        browser.http.cookies.clear()
        for planted in (cookies + "; kb_session=x", "kb_session=x; " + cookies):
            page = await browser.get("/account", headers={"cookie": planted}, follow=False)
            assert page.location.startswith("/sign-in")
        page = await browser.get("/account", headers={"cookie": cookies}, follow=False)
        assert page.status == 200


@pytest.mark.parametrize("issuer", ["https://auth.example.com", "http://127.0.0.1:8080"])
async def test_cookies_are_as_strict_as_the_issuer_allows(issuer: str) -> None:
    async with embedded(issuer=issuer) as world:
        ada = await make_user(world)
        client = await make_client(world, await make_api(world))
        async with browsing(world) as browser:
            set_cookies: list[str] = []
            page = await browser.get(asking(client), follow=False)
            set_cookies += page.headers.get_list("set-cookie")
            page = await browser.get(page.location)
            set_cookies += page.headers.get_list("set-cookie")
            page = await browser.send(page, {"email": ada.email, "password": PASSWORD}, action="/sign-in", follow=False)
            set_cookies += page.headers.get_list("set-cookie")
            assert page.status == 303
        names = {cookie.partition("=")[0] for cookie in set_cookies}
        prefix = "__Host-" if issuer.startswith("https") else ""
        assert {f"{prefix}kb_browser", f"{prefix}kb_session"} <= names
        for cookie in set_cookies:
            assert "; Path=/; HttpOnly; SameSite=Lax" in cookie
            assert cookie.startswith(prefix + "kb_")
            assert ("; Secure" in cookie) == issuer.startswith("https")
            assert "domain" not in cookie.lower()


# Headers


@pytest.mark.spec("RFC 9700", "4.16", "MUST")
async def test_every_page_has_its_headers_and_no_cors(world: Embedded, client: Client, ada: User) -> None:
    async with browsing(world) as browser:
        pages = [await browser.get(path, headers={"origin": "https://evil.example.com"}) for path in PAGES]
        pages.append(await browser.get(asking(client)))
        pages.append(await sign_in_at(browser, pages[-1], ada))
        pages += [await browser.get(path) for path in OWN_PAGES]
        for page in pages:
            policy = page.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'")
            assert "frame-ancestors 'none'" in policy
            assert "base-uri 'none'" in policy
            assert "unsafe" not in policy
            assert page.headers["x-frame-options"] == "DENY"
            assert page.headers["x-content-type-options"] == "nosniff"
            assert page.headers["cache-control"] == "no-store"
            assert page.headers["referrer-policy"] == "same-origin"
            assert "access-control-allow-origin" not in page.headers
            assert "<script>" not in page.text
            assert " style=" not in page.text
            assert " onclick" not in page.text
            if "script-src" not in policy:
                assert "<script" not in page.text
        assert "form-action 'self' https:;" in pages[len(PAGES)].headers["content-security-policy"]


@pytest.mark.spec("RFC 9700", "2.6", "MUST NOT")
async def test_a_preflight_gets_no_leave(world: Embedded) -> None:
    async with browsing(world) as browser:
        answer = await browser.http.options("/oauth/authorize", headers={"origin": "https://evil.example.com"})
        assert answer.status_code == 405
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["/#@", "evil.example.com", "127.0.0.1:8080/#@evil.example.com", "a b"])
async def test_a_hostile_host_is_nowhere_in_an_answer(world: Embedded, client: Client, ada: User, host: str) -> None:
    """LiteLLM CVE-2026-49468, ZITADEL CVE-2025-64101."""
    more = {"host": host, "x-forwarded-host": "evil.example.com", "forwarded": "host=evil.example.com"}
    async with browsing(world) as browser:
        page = await browser.get(asking(client), headers=more, follow=False)
        assert page.status in (303, 400)
        assert page.location.startswith("/sign-in?flow=") or page.status == 400
        page = await browser.get("/account", headers=more, follow=False)
        assert page.location in ("", "/sign-in?to=%2Faccount")
        assert host not in page.text
        assert "evil" not in page.text


@pytest.mark.spec("RFC 9700", "4.12", "MUST NOT")
async def test_an_answer_after_credentials_is_a_303(world: Embedded, client: Client, ada: User) -> None:
    async with browsing(world) as browser:
        page = await browser.get(asking(client))
        page = await browser.send(page, {"email": ada.email, "password": PASSWORD}, action="/sign-in", follow=False)
        assert page.status == 303
        page = await browser.get(page.location)
        page = await browser.send(page, button="allow", follow=False)
        assert page.status == 303
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"


async def test_below_an_issuer_with_a_path_all_links_and_forms_have_it() -> None:
    """A proxy takes the path away before requests come here."""
    async with embedded(issuer="https://example.com/auth") as world:
        ada = await make_user(world)
        client = await make_client(world, await make_api(world), is_first_party=True)
        async with browsing(world, base_url="https://example.com") as browser:
            page = await browser.get(asking(client), follow=False)
            assert page.location.startswith("/auth/sign-in?flow=")
            page = await browser.get(page.location.removeprefix("/auth"))
            assert {form.action for form in page.forms} == {"/auth/sign-in", "/auth/sign-in/cancel"}
            assert '"/auth/static/pages.css?v=' in page.text
            fields = {**page.form("/auth/sign-in").fields, "email": ada.email, "password": PASSWORD}
            page = await browser.post("/sign-in", fields, follow=False)
            page = await browser.get(page.location.removeprefix("/auth"), follow=False)
            assert page.answer["iss"] == "https://example.com/auth"
            page = await browser.get("/account/applications", follow=False)
            assert 'href="/auth/account"' in page.text


# Injection


async def test_what_others_wrote_is_only_text(world: Embedded, ada: User) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}'
    api = await make_api(world, name=evil, permissions=(Permission("orders:read", evil),))
    client = await make_client(world, api, name=evil, scopes=("orders:read",))
    async with browsing(world) as browser:
        page = await browser.get(asking(client, login_hint=evil, state=evil, response_mode="form_post"))
        for seen in (page, await sign_in_at(browser, page, ada)):
            assert "<script>alert" not in seen.text
            assert "<img src=x" not in seen.text
            assert "49" not in seen.text.partition("<h1>")[2].partition("</h1>")[0]
        page = await browser.send(
            await browser.get(asking(client, state=evil, response_mode="form_post")), button="allow"
        )
        assert "<script>alert" not in page.text
        assert page.form().fields["state"] == evil


async def test_a_redirect_host_cannot_add_to_the_policy(world: Embedded, ada: User) -> None:
    uri = "https://shop.example.com;script-src/callback"
    client = await make_client(world, await make_api(world), redirect_uris=(uri,))
    async with browsing(world) as browser:
        page = await browser.get(asking(client))
        assert "script-src" not in page.headers["content-security-policy"]


async def test_nothing_tells_whether_an_address_has_an_account(world: Embedded, ada: User) -> None:
    async with browsing(world) as browser:
        page = await browser.get("/sign-in")
        wrong = await browser.send(page, {"email": ada.email, "password": "wrong"})
        unknown = await browser.send(page, {"email": "nobody@example.com", "password": "wrong"})
        assert wrong.status == unknown.status == 400
        assert _bare(wrong, ada.email) == _bare(unknown, "nobody@example.com")


def _bare(page: Page, email: str) -> str:
    text = page.text.replace(email, "EMAIL")
    for form in page.forms:
        text = text.replace(form.fields["form_token"], "TOKEN")
    return text
