"""The account through a browser: connected applications, sessions, and how one signs in."""

from __future__ import annotations

import html
import json
import re

import pytest

from keybearer.core.artefacts import ArtefactKind
from keybearer.core.clients import Client
from keybearer.core.grants import Grant
from keybearer.core.records import Api
from keybearer.core.sessions import Session
from keybearer.core.users import User
from keybearer.ports import Query
from keybearer.services import mail_links
from tests.support.authorizing import (
    asking,
    at_back_channel,
    browsing,
    give_secret,
    make_api,
    make_client,
    sign_in_at,
    signed_in,
    tokens_for,
)
from tests.support.browser import Browser
from tests.support.embedded import Embedded, embedded
from tests.support.people import OTHER_PASSWORD, PASSWORD, Authenticator, code_of, give_mailbox, make_user

pytestmark = pytest.mark.anyio

SCOPE = "openid orders:read orders:write offline_access"


@pytest.fixture
async def api(world: Embedded) -> Api:
    return await make_api(world)


@pytest.fixture
async def client(world: Embedded, api: Api) -> Client:
    return await make_client(world, api)


@pytest.fixture
async def ada(world: Embedded) -> User:
    return await make_user(world, name="Ada")


async def _connected(
    world: Embedded, client: Client, user: User, browser: Browser, scope: str = SCOPE
) -> dict[str, str]:
    """Tokens that the user agreed to."""
    secret = await give_secret(world, client)
    page = await browser.get(asking(client, scope=scope))
    if page.forms and page.form().action == "/sign-in":
        page = await sign_in_at(browser, page, user)
    page = await browser.send(page, button="allow")
    return await tokens_for(world, client, secret, page)


async def test_narrowing_and_disconnecting_reach_tokens_that_are_out(
    world: Embedded, api: Api, client: Client, ada: User
) -> None:
    async with browsing(world) as browser:
        tokens = await _connected(world, client, ada, browser)
        both = {"api": api.identifier, "permissions": ["orders:read", "orders:write"]}
        assert (await world.verify(tokens["access_token"], **both))["code"] == "VALID"
        page = await browser.get("/account/applications")
        assert "Shop" in page.text
        [grant] = await world.store.page(Grant, Query({"user_id": ada.id}))
        page = await browser.get(f"/account/applications/{grant.id}")
        assert "Place orders for you" in page.text
        page = await browser.send(page, {"allow.orders:write": None}, button="narrow")
        assert "Place orders for you" not in page.text
        after = await world.verify(tokens["access_token"], **both)
        assert after["code"] == "INSUFFICIENT_PERMISSIONS"
        assert (await world.verify(tokens["access_token"], api=api.identifier))["permissions"] == ["orders:read"]
        page = await browser.send(page, button="disconnect")
        assert "No application may do anything for you" in page.text
        assert (await world.verify(tokens["access_token"], api=api.identifier))["code"] == "REVOKED"
    assert [entry.draft.action for entry in await world.audit() if entry.draft.target == grant.id] == [
        "grant.create",
        "grant.update",
        "grant.revoke",
    ]


async def test_authorization_details_are_taken_away_too(world: Embedded, ada: User) -> None:
    types = {"authorization_details_types": {"payment": "Start a payment"}}
    bank = await make_api(world, "https://bank.example.com", name="Bank", metadata=types)
    client = await make_client(world, bank)
    details = [{"type": "payment", "amount": amount} for amount in ("1.00", "2.00")]
    async with browsing(world) as browser:
        secret = await give_secret(world, client)
        url = asking(client, scope="openid offline_access", authorization_details=json.dumps(details))
        page = await sign_in_at(browser, await browser.get(url), ada)
        tokens = await tokens_for(world, client, secret, await browser.send(page, button="allow"))
        assert tokens["authorization_details"] == details
        [grant] = await world.store.page(Grant, Query({"user_id": ada.id}))
        page = await browser.get(f"/account/applications/{grant.id}")
        boxes = [box for box in page.form().boxes if box.startswith("detail.")]
        assert len(boxes) == 2
        assert page.text.index("1.00") < page.text.index("2.00")
        page = await browser.send(page, {boxes[0]: None}, button="narrow")
        assert "1.00" not in page.text
    left = details[1:]
    assert (await world.verify(tokens["access_token"]))["authorization_details"] == left
    told = await at_back_channel(world, client, secret, "/oauth/introspect", {"token": tokens["access_token"]})
    assert told.json()["authorization_details"] == left
    fields = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    renewed = await at_back_channel(world, client, secret, "/oauth/token", fields)
    assert renewed.json()["authorization_details"] == left


async def test_a_grant_cannot_be_widened_or_emptied_here(world: Embedded, client: Client, ada: User) -> None:
    async with browsing(world) as browser:
        await _connected(world, client, ada, browser, "openid orders:read")
        [grant] = await world.store.page(Grant, Query({"user_id": ada.id}))
        page = await browser.get(f"/account/applications/{grant.id}")
        await browser.send(page, {"allow.orders:write": "on", "allow.refunds:write": "on"}, button="narrow")
        page = await browser.get(f"/account/applications/{grant.id}")
        page = await browser.send(page, {"allow.openid": None, "allow.orders:read": None}, button="narrow")
        assert page.status == 400
        assert "disconnect the application" in page.text
        page = await browser.send(page, {"change": "nonsense"}, button="none such")
        assert (await world.store.get(Grant, grant.id)).scopes == ("openid", "orders:read")


async def test_nobody_sees_or_changes_the_grants_and_sessions_of_others(
    world: Embedded, client: Client, ada: User
) -> None:
    eve = await make_user(world, "eve@example.com")
    async with browsing(world) as hers, browsing(world) as other:
        await _connected(world, client, ada, hers)
        [grant] = await world.store.page(Grant, Query({"user_id": ada.id}))
        [session] = await world.store.page(Session, Query({"user_id": ada.id}))
        await signed_in(other, eve)
        page = await other.get(f"/account/applications/{grant.id}")
        assert page.status == 404
        mine = await other.get("/account/sessions")
        token = mine.form("/account/sessions").fields["form_token"]
        await other.post("/account/sessions", {"form_token": token, "session": session.id})
        assert (await hers.get("/account")).status == 200
        assert (await world.store.get(Grant, grant.id)).revoked_at is None


async def test_sessions_are_listed_and_ended(world: Embedded, ada: User) -> None:
    phone = {"user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1"}
    async with browsing(world) as browser, browsing(world, headers=phone) as other:
        await signed_in(browser, ada)
        world.clock.move(1)
        await signed_in(other, ada)
        page = await browser.get("/account/sessions")
        assert "Safari on iOS" in page.text
        assert page.text.count(">this one<") == 1
        await browser.send(page, button="others")
        assert (await other.get("/account")).form("/sign-in")
        page = await browser.get("/account/sessions")
        page = await browser.send(page)
        assert page.form("/sign-in")
        assert (await browser.get("/account")).form("/sign-in")


async def test_ending_a_session_ends_what_hangs_on_it_and_not_offline_access(
    world: Embedded, api: Api, client: Client, ada: User
) -> None:
    other = await make_client(world, api)
    async with browsing(world) as browser:
        bound = await _connected(world, client, ada, browser, "openid orders:read")
        offline = await _connected(world, other, ada, browser, "openid orders:read offline_access")
        page = await browser.get("/sign-out")
        page = await browser.send(page, button="sign-out")
        assert "You are signed out" in page.text
    assert (await world.verify(bound["access_token"], api=api.identifier))["code"] != "VALID"
    assert (await world.verify(offline["access_token"], api=api.identifier))["code"] == "VALID"


async def test_signing_out_can_be_declined(world: Embedded, ada: User) -> None:
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.send(await browser.get("/sign-out"), button="stay")
        assert "Ada" in page.text


async def test_the_password_is_changed_after_a_recent_sign_in(world: Embedded, ada: User) -> None:
    give_mailbox(world.authority)
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.get("/account/password")
        wrong = await browser.send(page, {"current": "wrong", "new": OTHER_PASSWORD})
        assert "current password is not right" in wrong.text
        short = await browser.send(page, {"current": PASSWORD, "new": "short"})
        assert short.status == 400
        assert "The password must have 15 characters at least." in short.text
        page = await browser.send(page, {"current": PASSWORD, "new": OTHER_PASSWORD})
        assert "Your password is changed" in page.text
        world.clock.move(601)
        page = await browser.get("/account/password")
        assert page.form("/sign-in").fields["email"] == ada.email
        page = await sign_in_at(browser, page, ada, OTHER_PASSWORD)
        assert page.form("/account/password")


async def test_people_who_type_an_address_see_pages(world: Embedded) -> None:
    async with browsing(world) as browser:
        assert (await browser.get("/")).response.url.path == "/sign-in"
        async with world.http() as http:
            page = await http.get("/nowhere", headers={"accept": "text/html,*/*;q=0.8"})
            problem = await http.get("/nowhere")
    assert (page.status_code, problem.status_code) == (404, 404)
    assert "There is nothing here" in page.text
    assert problem.json()["detail"].startswith("There is nothing at")


async def test_an_authenticator_app_and_recovery_codes(world: Embedded, ada: User) -> None:
    give_mailbox(world.authority)
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        assert not (await browser.get("/account/recovery-codes")).forms, "a button that could only fail"
        page = await browser.send(await browser.get("/account/authenticator"), button="begin")
        found = re.search(r'<code id="secret">([A-Z2-7 ]+)</code>', page.text)
        assert found
        secret = found[1].replace(" ", "")
        wrong = await browser.send(page, {"code": "000000"}, button="confirm")
        assert "not the code of this moment" in wrong.text
        assert f'<code id="secret">{found[1]}</code>' in wrong.text, "whoever mistyped the key must see it once more"
        page = await browser.send(wrong, {"code": code_of(world, secret)}, button="confirm")
        codes = re.findall(r"<li><code>([^<]+)</code>", page.text)
        assert len(codes) == 10
        world.clock.move(30)
        page = await browser.send(await browser.get("/sign-out"), button="sign-out")
        page = await sign_in_at(browser, await browser.get("/sign-in"), ada)
        assert "One more step" in page.text
        assert (await browser.get("/account")).form("/sign-in")
        wrong = await browser.send(page, {"code": "000000"})
        assert wrong.status == 400
        assert "That code is not right" in wrong.text
        page = await browser.send(page, {"code": code_of(world, secret)})
        assert "recovery" in page.words.lower()
        assert page.response.url.path == "/account"
        await browser.send(await browser.get("/sign-out"), button="sign-out")
        page = await sign_in_at(browser, await browser.get("/sign-in"), ada)
        recovery = next(form for form in page.forms if "recovery_code" in form.fields)
        page = await browser.post("/sign-in/second-factor", {**recovery.fields, "recovery_code": codes[0]})
        assert page.response.url.path == "/account"
        page = await browser.send(await browser.get("/account/recovery-codes"))
        assert len(re.findall(r"<li><code>([^<]+)</code>", page.text)) == 10
        await browser.send(await browser.get("/account/authenticator"), button="remove")
        assert '<span>Authenticator app</span><span class="count">off' in (await browser.get("/account")).text


async def test_passkeys_are_added_used_and_removed() -> None:
    async with embedded(issuer="https://auth.example.com") as world:
        ada = await make_user(world)
        give_mailbox(world.authority)
        device = Authenticator("https://auth.example.com", "auth.example.com")
        async with browsing(world) as browser:
            await signed_in(browser, ada)
            page = await browser.get("/account/passkeys")
            assert "script-src 'self'" in page.headers["content-security-policy"]
            adding = next(form for form in page.forms if "challenge" in form.fields)
            answer = device.create(_options(page.text))
            page = await browser.post("/account/passkeys", {**adding.fields, "response": answer, "name": "Phone"})
            assert "<strong>Phone</strong>" in page.text
            await browser.send(await browser.get("/sign-out"), button="sign-out")
            page = await browser.get("/sign-in/passkey")
            answer = device.get(_options(page.text))
            page = await browser.post("/sign-in/passkey", {**page.form("/sign-in/passkey").fields, "response": answer})
            assert page.response.url.path == "/account"
            again = await browser.get("/sign-in/passkey")
            page = await browser.post("/sign-in/passkey", {**again.form("/sign-in/passkey").fields, "response": answer})
            assert page.status == 400
            # After a password the passkey is the second step.
            await browser.send(await browser.get("/sign-out"), button="sign-out")
            page = await sign_in_at(browser, await browser.get("/sign-in"), ada)
            answer = device.get(_options(page.text))
            page = await browser.post("/sign-in/passkey", {**page.form("/sign-in/passkey").fields, "response": answer})
            assert page.response.url.path == "/account"
            page = await browser.get("/account/passkeys")
            page = await browser.send(page, button="remove")
            assert "<strong>Phone</strong>" not in page.text


def _options(text: str) -> dict[str, object]:
    found = re.search(r'data-options="([^"]+)"', text)
    assert found
    return dict(json.loads(html.unescape(found[1])))


async def test_registering_resetting_and_inviting_by_letters() -> None:
    async with embedded(open_registration=True) as world:
        mailbox = give_mailbox(world.authority)
        async with browsing(world) as browser:
            page = await browser.send(await browser.get("/register"), {"email": "no address", "name": "Bo"})
            assert page.status == 400
            page = await browser.send(page, {"email": "bo@example.com", "name": "Bo"})
            assert "Look into your mailbox" in page.text
            await world.authority.outbox.settled()
            page = await browser.get(f"/invitation?link={mailbox.link('/invitation')}")
            assert (await browser.send(page, {"password": "short"})).status == 400
            page = await browser.send(page, {"password": PASSWORD})
            assert page.response.url.path == "/account"
            again = await browser.get(f"/invitation?link={mailbox.link('/invitation')}")
            assert "This link is not good any more" in again.text
            await browser.send(await browser.get("/sign-out"), button="sign-out")
            known = await browser.send(await browser.get("/forgot-password"), {"email": "bo@example.com"})
            unknown = await browser.send(await browser.get("/forgot-password"), {"email": "al@example.com"})
            assert known.text.replace("bo@", "al@") == unknown.text
            await world.authority.outbox.settled()
            link = mailbox.link("/reset-password")
            page = await browser.get(f"/reset-password?link={link}")
            page = await browser.get(f"/reset-password?link={link}")  # looking uses nothing up
            page = await browser.send(page, {"password": OTHER_PASSWORD})
            assert "Your password is set" in page.text
            assert "not good any more" in (await browser.get(f"/reset-password?link={link}")).text
            bo = await world.store.page(User, Query({"email": "bo@example.com"}))
            page = await sign_in_at(browser, await browser.get("/sign-in"), bo[0], OTHER_PASSWORD)
            page = await browser.send(await browser.get("/account/email"), {"email": "bo@example.org"})
            await world.authority.outbox.settled()
            page = await browser.get(f"/verify-email?link={mailbox.link('/verify-email')}")
            page = await browser.send(page)
            assert "bo@example.org is yours" in page.text
            page = await browser.send(await browser.get("/account"), {"name": "Bo the Second"}, action="/account/name")
            assert "Bo the Second" in page.text


async def test_registration_is_shut_by_default(world: Embedded) -> None:
    async with browsing(world) as browser:
        assert (await browser.get("/register")).status == 404
        assert "/register" not in (await browser.get("/sign-in")).text


async def test_a_sign_in_link_works_once_and_by_its_button(world: Embedded, ada: User) -> None:
    mailbox = give_mailbox(world.authority)
    await mail_links.send(world.authority, world.root, ada, ArtefactKind.SIGN_IN_LINK)
    await world.authority.outbox.settled()
    link = mailbox.link("/sign-in/link")
    async with browsing(world) as browser:
        for _ in range(2):  # a scanner that looks at it uses nothing up
            page = await browser.get(f"/sign-in/link?link={link}")
            assert ada.email in page.text
        used = page
        page = await browser.send(page)
        assert page.response.url.path == "/account"
        await browser.send(await browser.get("/sign-out"), button="sign-out")
        for dead in (f"/sign-in/link?link={link}", "/sign-in/link?link=x", "/sign-in/link"):
            page = await browser.get(dead)
            assert page.status == 400
            assert "not good any more" in page.text
        page = await browser.send(used)
        assert page.status in (400, 403)
        assert (await browser.get("/account")).form("/sign-in")


async def test_the_address_of_the_issuer_leads_to_the_account(world: Embedded, ada: User) -> None:
    async with browsing(world) as browser:
        page = await browser.get("/")
        page = await sign_in_at(browser, page, ada)
        assert page.response.url.path == "/account"
