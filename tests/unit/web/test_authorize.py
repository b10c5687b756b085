"""The authorization endpoint through a browser: sign-in, consent, the answers, and their exact places."""

from __future__ import annotations

import pytest

from keybearer.core.clients import Client, ClientAuthMethod, ClientOrigin, GrantType
from keybearer.core.grants import Grant
from keybearer.core.instant import HOUR
from keybearer.core.lifecycle import Change, change, touch
from keybearer.core.records import Api
from keybearer.core.users import User
from keybearer.ports import Query, UnitOfWork
from tests.support.authorizing import (
    REDIRECT_URI,
    asking,
    browsing,
    code_of,
    make_api,
    make_client,
    sign_in_at,
    signed_in,
)
from tests.support.embedded import Embedded
from tests.support.people import make_user

pytestmark = pytest.mark.anyio


class Scene:
    """An API, a client and a user."""

    def __init__(self, world: Embedded, api: Api, client: Client, user: User) -> None:
        self.world, self.api, self.client, self.user = world, api, client, user

    async def with_client(self, **changes: object) -> Client:
        async def work(uow: UnitOfWork) -> Client:
            changed = touch(await uow.get(Client, self.client.id), self.world.clock.now(), **changes)
            await uow.update(changed)
            return changed

        self.client = await self.world.store.transact(work)
        return self.client

    async def grants(self) -> tuple[Grant, ...]:
        return await self.world.store.page(Grant, Query({"user_id": self.user.id}))


@pytest.fixture
async def scene(world: Embedded) -> Scene:
    api = await make_api(world)
    return Scene(world, api, await make_client(world, api), await make_user(world, name="Ada"))


@pytest.mark.spec("RFC 6749", "4.1.2", "MUST")
@pytest.mark.spec("RFC 9207", "2", "MUST")
async def test_a_user_signs_in_agrees_and_the_client_gets_a_code(scene: Scene) -> None:
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client, nonce="n1"))
        assert page.status == 200
        assert "to go on to <strong>Shop</strong>" in page.text
        page = await sign_in_at(browser, page, scene.user)
        assert 'Allow <span class="name">Shop</span>?' in page.text
        assert "shop.example.com" in page.text
        assert "See your orders" in page.text
        assert "while you are signed in here, for 30 days at most" in page.words
        page = await browser.send(page, button="allow")
        assert page.status == 303
        assert page.location.startswith(REDIRECT_URI + "?code=kb_ac_")
        assert page.answer["state"] == "s&t=1"
        assert page.answer["iss"] == scene.world.authority.settings.issuer_url
        code = await code_of(scene.world, scene.client, page)
        assert code.scopes == ("openid", "orders:read")
        assert code.nonce == "n1"
        assert code.resources == (scene.api.id,)
        assert code.redirect_uri == REDIRECT_URI
        [grant] = await scene.grants()
        assert grant.id == code.grant_id
        assert not any(name.startswith("kb_flow") for name in browser.http.cookies)
        # Once agreed, it need not be asked again.
        again = await browser.get(asking(scene.client))
        assert again.location.startswith(REDIRECT_URI)
        assert (await code_of(scene.world, scene.client, again)).grant_id == grant.id


async def test_nothing_is_stored_before_the_user_has_signed_in(scene: Scene) -> None:
    before = scene.world.store.head_now()
    async with browsing(scene.world) as browser:
        for _ in range(5):
            assert (await browser.get(asking(scene.client))).status == 200
    assert scene.world.store.head_now() == before
    assert await scene.grants() == ()


async def test_saying_no_is_access_denied(scene: Scene) -> None:
    async with browsing(scene.world) as browser:
        page = await sign_in_at(browser, await browser.get(asking(scene.client)), scene.user)
        page = await browser.send(page, button="deny")
        assert page.answer["error"] == "access_denied"
        assert page.answer["state"] == "s&t=1"
        assert page.answer["iss"] == scene.world.authority.settings.issuer_url
        scene.world.clock.move(1)
        page = await browser.get(asking(scene.client, prompt="login"))
        page = await browser.send(page, action="/sign-in/cancel")
        assert page.answer["error"] == "access_denied"
    assert await scene.grants() == ()


async def test_what_is_optional_can_be_deselected_and_everything_deselected_is_access_denied(scene: Scene) -> None:
    await scene.with_client(optional_scopes=("orders:read", "orders:write"))
    async with browsing(scene.world) as browser:
        request = asking(scene.client, scope="orders:read orders:write")
        page = await sign_in_at(browser, await browser.get(request), scene.user)
        assert page.form("/consent").boxes == ["allow.orders:read", "allow.orders:write"]
        nothing = await browser.send(page, {"allow.orders:read": None, "allow.orders:write": None}, button="allow")
        assert nothing.answer["error"] == "access_denied"
        page = await browser.get(request)
        page = await browser.send(page, {"allow.orders:write": None}, button="allow")
        assert (await code_of(scene.world, scene.client, page)).scopes == ("orders:read",)
        [grant] = await scene.grants()
        assert grant.scopes == ("orders:read",)


async def test_deselecting_what_is_required_changes_nothing(scene: Scene) -> None:
    async with browsing(scene.world) as browser:
        page = await sign_in_at(browser, await browser.get(asking(scene.client)), scene.user)
        page = await browser.send(page, {"allow.refunds:write": "on", "allow.orders:write": "on"}, button="allow")
        assert (await code_of(scene.world, scene.client, page)).scopes == ("openid", "orders:read")


async def test_deselecting_what_was_granted_before_takes_it_out_of_the_grant(scene: Scene) -> None:
    await scene.with_client(optional_scopes=("orders:write",))
    async with browsing(scene.world) as browser:
        request = asking(scene.client, scope="orders:read orders:write", prompt="consent")
        page = await sign_in_at(browser, await browser.get(request), scene.user)
        await browser.send(page, button="allow")
        page = await browser.get(request)
        await browser.send(page, {"allow.orders:write": None}, button="allow")
        [grant] = await scene.grants()
        assert grant.scopes == ("orders:read",)


@pytest.mark.spec("RFC 6749", "3.3", "MAY")
async def test_a_restricted_permission_is_granted_only_by_those_who_hold_it(scene: Scene) -> None:
    async with browsing(scene.world) as browser:
        request = asking(scene.client, scope="orders:read refunds:write")
        page = await sign_in_at(browser, await browser.get(request), scene.user)
        assert "Refund orders" not in page.text
        page = await browser.send(page, button="allow")
        assert (await code_of(scene.world, scene.client, page)).scopes == ("orders:read",)
        page = await browser.get(asking(scene.client, scope="refunds:write"))
        assert page.answer["error"] == "access_denied"
    refunder = await make_user(scene.world, "eve@example.com", permissions=["refunds:write"])
    async with browsing(scene.world) as browser:
        page = await sign_in_at(browser, await browser.get(request), refunder)
        assert "Refund orders" in page.text


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"scope": "orders:read admin:all"}, "invalid_scope", "admin:all"),
        ({"scope": "orders:read  orders:write"}, "invalid_scope", "single spaces"),
        ({"response_type": None}, "invalid_request", "response_type is missing"),
        ({"response_type": "token"}, "unsupported_response_type", "must be 'code'"),
        ({"response_type": "code id_token"}, "unsupported_response_type", "must be 'code'"),
        ({"response_mode": "carrier_pigeon"}, "invalid_request", "response_mode"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request", "must use PKCE"),
        ({"code_challenge_method": "plain"}, "invalid_request", "must be S256"),
        ({"code_challenge_method": None}, "invalid_request", "must be S256"),
        ({"code_challenge": "short"}, "invalid_request", "43 characters"),
        ({"prompt": "none login"}, "invalid_request", "cannot be combined"),
        ({"prompt": "shout"}, "invalid_request", "prompt must be"),
        ({"max_age": "-1"}, "invalid_request", "max_age"),
        ({"resource": "https://elsewhere.example.com"}, "invalid_target", "elsewhere"),
        ({"resource": "not-a-uri"}, "invalid_target", "absolute URI"),
        ({"authorization_details": "{}"}, "invalid_authorization_details", "list"),
        ({"authorization_details": '[{"type":"payment"}]'}, "invalid_authorization_details", "understands"),
        ({"request": "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported", "signed"),
        ({"request": "e30.e30.AA"}, "invalid_request_object", "signed JWT"),
        ({"request_uri": "https://shop.example.com/request"}, "request_uri_not_supported", "pushed"),
        ({"registration": "{}"}, "registration_not_supported", "beforehand"),
        ({"claims": "[1]"}, "invalid_request", "claims"),
        ({"claims": '{"id_token":{"a":1,"a":2}}'}, "invalid_request", "claims"),
        ({"dpop_jkt": "x"}, "invalid_request", "thumbprint"),
        ({"id_token_hint": "e30.e30.e30"}, "invalid_request", "id_token_hint"),
        ({"prompt": "none"}, "login_required", "Nobody is signed in"),
        ({"nonce": "a\0b"}, "invalid_request", "control characters"),
    ],
)
@pytest.mark.spec("RFC 6749", "4.1.2.1", "MUST")
@pytest.mark.spec("RFC 9207", "2", "MUST")
@pytest.mark.spec("RFC 7636", "4.4.1", "MUST")
@pytest.mark.spec("RFC 8707", "2", "SHOULD")
async def test_errors_travel_to_the_client_with_their_exact_code(
    scene: Scene, changes: dict[str, str | None], error: str, says: str
) -> None:
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client, **changes))
        assert page.status == 303
        assert page.location.startswith(REDIRECT_URI)
        assert page.answer["error"] == error
        assert says in page.answer["error_description"]
        assert page.answer["state"] == "s&t=1"
        assert page.answer["iss"] == scene.world.authority.settings.issuer_url


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": None}, "invalid_request"),
        ({"client_id": "client_0000000000000000"}, "unauthorized_client"),
        ({"client_id": "client_\0"}, "unauthorized_client"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"redirect_uri": "https://evil.example.com/"}, "invalid_request"),
        ({"request_uri": "urn:ietf:params:oauth:request_uri:kb_pr_nothing"}, "invalid_request_uri"),
    ],
)
@pytest.mark.spec("RFC 6749", "4.1.2.1", "MUST NOT")
async def test_what_cannot_be_trusted_ends_on_a_page(scene: Scene, changes: dict[str, str | None], error: str) -> None:
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client, **changes))
        assert page.status == 400
        assert "location" not in page.headers
        assert f'<code id="error-code">{error}</code>' in page.text
        assert "Nothing was sent to the application" in page.text


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
@pytest.mark.spec("RFC 6749", "3.1", "MUST NOT")
async def test_a_repeated_client_or_redirect_uri_ends_on_a_page(scene: Scene, name: str) -> None:
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client) + f"&{name}=x")
        assert page.status == 400
        assert "location" not in page.headers


@pytest.mark.parametrize("name", ["scope", "state", "nonce", "code_challenge", "response_mode", "whatever"])
@pytest.mark.spec("RFC 6749", "3.1", "MUST NOT")
async def test_any_other_repeated_parameter_is_refused(scene: Scene, name: str) -> None:
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client, whatever="1", nonce="1") + f"&{name}=x&{name}=y")
        assert page.answer["error"] == "invalid_request"
        assert name in page.answer["error_description"]
        assert ("state" in page.answer) == (name != "state")


@pytest.mark.spec("RFC 6749", "3.1", "MUST")
@pytest.mark.spec("OIDC Core", "3.1.2.1", "MUST")
async def test_unknown_parameters_are_ignored(scene: Scene) -> None:
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client, extra="1", display="popup", ui_locales="se", claims_locales="se"))
        assert page.status == 200
        assert page.form("/sign-in")


async def test_a_client_that_is_switched_off_or_whose_project_is_gets_nothing(scene: Scene) -> None:
    async def work(uow: UnitOfWork) -> None:
        now = scene.world.clock.now()
        await uow.update(change(await uow.get(Client, scene.client.id), Change.DISABLE, now))

    await scene.world.store.transact(work)
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client))
        assert page.status == 400
        assert "switched off" in page.text


async def test_a_client_without_the_grant_type_is_unauthorized(scene: Scene) -> None:
    await scene.with_client(grant_types=(GrantType.CLIENT_CREDENTIALS,))
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client))
        assert page.answer["error"] == "unauthorized_client"


@pytest.mark.spec("OAuth Form Post Response Mode", "2", "MUST")
async def test_the_answer_travels_in_the_fragment_or_by_a_form_where_that_is_asked_for(scene: Scene) -> None:
    await scene.with_client(is_first_party=True)
    async with browsing(scene.world) as browser:
        await signed_in(browser, scene.user)
        page = await browser.get(asking(scene.client, response_mode="fragment"))
        assert page.location.startswith(REDIRECT_URI + "#code=")
        assert page.answer["iss"]
        page = await browser.get(asking(scene.client, response_mode="form_post", state='"><script>'))
        assert page.status == 200
        assert page.form().action == REDIRECT_URI
        assert page.form().fields["state"] == '"><script>'
        assert page.form().fields["code"].startswith("kb_ac_")
        assert "form-action 'self' https:;" in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"
        page = await browser.get(asking(scene.client, response_mode="form_post", scope="nope"))
        assert page.form().fields["error"] == "invalid_scope"


@pytest.mark.spec("RFC 6749", "3.1.2", "MUST")
async def test_the_query_of_a_redirect_uri_is_kept(scene: Scene) -> None:
    uri = REDIRECT_URI + "?shop=1"
    await scene.with_client(is_first_party=True, redirect_uris=(uri,))
    async with browsing(scene.world) as browser:
        await signed_in(browser, scene.user)
        page = await browser.get(asking(scene.client))
        assert page.location.startswith(uri + "&code=")


@pytest.mark.spec("OIDC Core", "3.1.2.1", "MUST")
async def test_a_request_by_post_goes_on_by_a_redirect_that_carries_the_cookies(scene: Scene) -> None:
    await scene.with_client(is_first_party=True)
    async with browsing(scene.world) as browser:
        await signed_in(browser, scene.user)
        body = asking(scene.client).partition("?")[2]
        # As browsers do for a form of another site: without our cookies.
        session = dict(browser.http.cookies)
        browser.http.cookies.clear()
        page = await browser.post("/oauth/authorize", body, follow=False, headers={"sec-fetch-site": "cross-site"})
        assert page.status == 303
        assert page.location.startswith("/oauth/continue?flow=")
        browser.http.cookies.update(session)
        page = await browser.get(page.location)
        assert page.answer["code"]
        page = await browser.post("/oauth/authorize", body + "&redirect_uri=https://evil.example.com")
        assert page.status == 400


@pytest.mark.spec("OIDC Core", "3.1.2.1", "MUST NOT")
@pytest.mark.spec("OIDC Core", "3.1.2.6", "MUST")
async def test_prompt_none_never_asks(scene: Scene) -> None:
    async with browsing(scene.world) as browser:
        await signed_in(browser, scene.user)
        page = await browser.get(asking(scene.client, prompt="none"))
        assert page.answer["error"] == "consent_required"
        page = await browser.get(asking(scene.client))
        await browser.send(page, button="allow")
        page = await browser.get(asking(scene.client, prompt="none"))
        assert page.answer["code"]
        page = await browser.get(asking(scene.client, prompt="none", scope="orders:read orders:write"))
        assert page.answer["error"] == "consent_required"


@pytest.mark.spec("OIDC Core", "3.1.2.1", "SHOULD")
async def test_prompt_login_and_max_age_need_a_fresh_sign_in(scene: Scene) -> None:
    await scene.with_client(is_first_party=True)
    async with browsing(scene.world) as browser:
        await signed_in(browser, scene.user)
        first = await code_of(scene.world, scene.client, await browser.get(asking(scene.client)))
        for changes in ({"prompt": "login"}, {"max_age": "99"}, {"max_age": "0"}):
            scene.world.clock.move(100)
            page = await browser.get(asking(scene.client, **changes))
            assert page.form("/sign-in").fields["email"] == scene.user.email
            # Going on without signing in does not help.
            stuck = await browser.get("/oauth/continue?flow=" + page.form("/sign-in").fields["flow"])
            assert stuck.form("/sign-in")
            page = await sign_in_at(browser, page, scene.user)
            code = await code_of(scene.world, scene.client, page)
            assert code.authenticated_at > first.authenticated_at
        scene.world.clock.move(50)
        assert (await browser.get(asking(scene.client, max_age="99"))).answer["code"]
        scene.world.clock.move(50)
        page = await browser.get(asking(scene.client, max_age="99", prompt="none"))
        assert page.answer["error"] == "login_required"


async def test_a_flow_is_over_after_an_hour_and_belongs_to_one_browser(scene: Scene) -> None:
    async with browsing(scene.world) as browser, browsing(scene.world) as other:
        page = await browser.get(asking(scene.client))
        flow = page.form("/sign-in").fields["flow"]
        assert (await other.get(f"/oauth/continue?flow={flow}")).status == 400
        scene.world.clock.move(HOUR / 1_000_000)
        page = await browser.get(f"/oauth/continue?flow={flow}")
        assert page.status == 400
        assert "This request is over" in page.text


async def test_select_account_asks_which(scene: Scene) -> None:
    await scene.with_client(is_first_party=True)
    other = await make_user(scene.world, "eve@example.com")
    async with browsing(scene.world) as browser:
        await signed_in(browser, scene.user)
        scene.world.clock.move(1)
        page = await browser.get(asking(scene.client, prompt="select_account"))
        page = await browser.send(page, action="/choose-account", button="this")
        assert (await code_of(scene.world, scene.client, page)).user_id == scene.user.id
        scene.world.clock.move(1)
        page = await browser.get(asking(scene.client, prompt="select_account"))
        page = await browser.send(page, action="/choose-account", button="other")
        page = await sign_in_at(browser, page, other)
        assert (await code_of(scene.world, scene.client, page)).user_id == other.id


@pytest.mark.spec("OIDC Core", "5.5.1", "MUST")
async def test_the_claims_parameter_may_insist_on_one_user(scene: Scene) -> None:
    await scene.with_client(is_first_party=True)
    claims = '{"id_token":{"sub":{"value":"%s"}}}'
    async with browsing(scene.world) as browser:
        await signed_in(browser, scene.user)
        page = await browser.get(asking(scene.client, prompt="none", claims=claims % scene.user.id))
        assert page.answer["code"]
        page = await browser.get(asking(scene.client, prompt="none", claims=claims % "user_somebody_else"))
        assert page.answer["error"] == "login_required"


@pytest.mark.spec("OIDC Core", "5.5.1.1", "MUST")
async def test_an_acr_that_is_essential_must_be_met(scene: Scene) -> None:
    await scene.with_client(is_first_party=True)
    claims = '{"id_token":{"acr":{"essential":true,"values":["phr"]}}}'
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client, claims=claims))
        page = await sign_in_at(browser, page, scene.user)
        assert page.answer["error"] == "unmet_authentication_requirements"


async def test_claims_asked_for_one_by_one_are_shown(scene: Scene) -> None:
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client, claims='{"userinfo":{"phone_number":null}}'))
        page = await sign_in_at(browser, page, scene.user)
        assert "See your phone number" in page.text


async def test_login_hint_fills_in_the_address(scene: Scene) -> None:
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client, login_hint='eve@example.com"><script>'))
        assert page.form("/sign-in").fields["email"] == 'eve@example.com"><script>'
        assert "<script>" not in page.text


async def test_resources_narrow_what_scopes_can_be_asked_for(scene: Scene) -> None:
    bills = await make_api(scene.world, "https://bills.example.com", name="Bills")
    client = await make_client(scene.world, scene.api, bills, scopes=("orders:read", "bills:read"))
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(client, scope="bills:read"))
        assert page.answer["error"] == "invalid_scope"
        page = await browser.get(asking(client, resource="https://bills.example.com"))
        page = await sign_in_at(browser, page, scene.user)
        page = await browser.send(page, button="allow")
        assert (await code_of(scene.world, client, page)).resources == (bills.id,)


@pytest.mark.spec("RFC 9396", "3", "MUST")
async def test_authorization_details_are_shown_in_the_words_of_the_api(scene: Scene) -> None:
    types = {"authorization_details_types": {"payment": "Start a payment"}}
    bank = await make_api(scene.world, "https://bank.example.com", name="Bank", metadata=types)
    client = await make_client(scene.world, bank, scopes=())
    details = '[{"type":"payment","amount":{"currency":"EUR","value":"12.50"},"actions":["initiate"]}]'
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(client, scope="openid", authorization_details=details))
        page = await sign_in_at(browser, page, scene.user)
        assert "<h3>Start a payment</h3>" in page.text
        assert "currency: EUR; value: 12.50" in page.text
        page = await browser.send(page, button="allow")
        code = await code_of(scene.world, client, page)
        assert code.authorization_details[0]["actions"] == ["initiate"]
        assert code.resources == (bank.id,)


@pytest.mark.spec("RFC 8252", "8.6", "SHOULD NOT")
@pytest.mark.spec("RFC 8252", "7.3", "MUST")
async def test_a_public_client_on_this_machine_is_always_asked_for(scene: Scene) -> None:
    await scene.with_client(
        token_endpoint_auth_method=ClientAuthMethod.NONE, redirect_uris=("http://127.0.0.1/callback",)
    )
    async with browsing(scene.world) as browser:
        request = asking(scene.client, redirect_uri="http://127.0.0.1:51234/callback")
        page = await sign_in_at(browser, await browser.get(request), scene.user)
        page = await browser.send(page, button="allow")
        assert page.location.startswith("http://127.0.0.1:51234/callback?code=")
        page = await browser.get(request)
        assert page.form("/consent")


async def test_a_request_too_large_for_a_cookie_must_be_pushed(scene: Scene) -> None:
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client, nonce="n" * 4000))
        assert page.answer["error"] == "invalid_request"
        assert "push it" in page.answer["error_description"]


async def test_many_tabs_crowd_the_oldest_out(scene: Scene) -> None:
    async with browsing(scene.world) as browser:
        flows = []
        for _ in range(12):
            scene.world.clock.move(1)
            page = await browser.get(asking(scene.client, nonce="n" * 500))
            flows.append(page.form("/sign-in").fields["flow"])
        assert (await browser.get(f"/oauth/continue?flow={flows[0]}")).status == 400
        assert (await browser.get(f"/oauth/continue?flow={flows[-1]}")).form("/sign-in")
        cookies = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
        assert len(cookies) < 8000


async def test_a_client_that_must_push_is_told_so(scene: Scene) -> None:
    await scene.with_client(require_pushed_authorization_requests=True)
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client))
        assert page.answer["error"] == "invalid_request"
        assert "push" in page.answer["error_description"]


@pytest.mark.spec("OIDC Core", "11", "MUST")
async def test_offline_access_is_asked_for_in_words(scene: Scene) -> None:
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client, scope="openid offline_access"))
        page = await sign_in_at(browser, page, scene.user)
        assert "Stay connected while you are away" in page.text
        assert "until you withdraw it, for 30 days at most, or until it is not used for 14 days" in page.words
        page = await browser.send(page, button="allow")
        assert (await code_of(scene.world, scene.client, page)).offline
    await scene.with_client(grant_types=(GrantType.AUTHORIZATION_CODE,))
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(scene.client, scope="openid offline_access"))
        page = await sign_in_at(browser, page, scene.user)
        page = await browser.send(page, button="allow") if not page.location else page
        assert not (await code_of(scene.world, scene.client, page)).offline


async def test_head_starts_nothing(scene: Scene) -> None:
    async with browsing(scene.world) as browser:
        answer = await browser.http.head(asking(scene.client))
        assert answer.status_code == 405


async def test_a_client_that_named_itself_is_shown_as_such(scene: Scene) -> None:
    await scene.with_client(
        origin=ClientOrigin.REGISTERED, policy_uri="javascript:alert(1)", tos_uri="https://shop.example.com/terms"
    )
    async with browsing(scene.world) as browser:
        page = await sign_in_at(browser, await browser.get(asking(scene.client)), scene.user)
        assert "Nobody here vouches for its name" in page.text
        assert "javascript:" not in page.text
        assert 'href="https://shop.example.com/terms"' in page.text


@pytest.mark.spec("RFC 6749", "3.3", "MUST")
async def test_without_a_scope_all_that_the_client_may_ask_for_is_meant(scene: Scene) -> None:
    await scene.with_client(is_first_party=True)
    async with browsing(scene.world) as browser:
        await signed_in(browser, scene.user)
        code = await code_of(scene.world, scene.client, await browser.get(asking(scene.client, scope=None)))
        assert code.scopes == ("orders:read", "orders:write")  # the third is restricted
    bare = await make_client(scene.world, scene.api, scopes=())
    async with browsing(scene.world) as browser:
        page = await browser.get(asking(bare, scope=None))
        assert page.answer["error"] == "invalid_scope"


@pytest.mark.spec("RFC 6749", "3.1.2.3", "MUST")
async def test_the_only_redirect_uri_may_be_left_out_without_openid(scene: Scene) -> None:
    await scene.with_client(is_first_party=True)
    async with browsing(scene.world) as browser:
        await signed_in(browser, scene.user)
        page = await browser.get(asking(scene.client, redirect_uri=None, scope="orders:read"))
        assert page.location.startswith(REDIRECT_URI)
        assert (await code_of(scene.world, scene.client, page)).redirect_uri is None
        await scene.with_client(redirect_uris=(REDIRECT_URI, "https://shop.example.com/other"))
        page = await browser.get(asking(scene.client, redirect_uri=None, scope="orders:read"))
        assert page.status == 400
