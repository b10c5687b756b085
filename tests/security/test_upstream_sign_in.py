"""Signing in with an upstream provider, attacked at every step: by others, by other providers, by the provider itself.

Spec: OIDC Core §3.1.3.7, RFC 9207, RFC 9700 §4.4-§4.7; the account take-overs that Better Auth, Keycloak, authentik and
others had with unverified addresses and swapped providers.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from joserfc import jwk

from keybearer.core.form import Form
from keybearer.core.lifecycle import Change
from keybearer.core.pkce import challenge_of
from keybearer.core.records import State
from keybearer.core.sessions import Session
from keybearer.core.upstreams import Upstream
from keybearer.core.users import Link, User
from keybearer.limiters.failures import FailureThrottle
from keybearer.ports import Query
from keybearer.services import upstream_sign_in, upstreams, user_links, users
from keybearer.services.providers import Providers
from keybearer.services.sign_in import Done, Visit
from keybearer.services.upstream_sign_in import UpstreamRefused
from keybearer.wire.upstreams import UpdateUpstream
from keybearer.wire.users import LinkSpec, UpdateUser
from tests.support.browser import Page
from tests.support.embedded import Embedded, embedded
from tests.support.https import Received, Reply
from tests.support.people import PASSWORD, add_totp, code_of, make_user, sign_in
from tests.support.provider import CLIENT, BentProvider, Visitor, bent_provider, make_upstream, visiting

pytestmark = pytest.mark.anyio
FAILED = "Signing in there did not work."
UNKNOWN = "Nobody here belongs to that account."


@pytest.fixture
async def world(anyio_backend: str) -> AsyncIterator[Embedded]:
    async with embedded(issuer="https://keys.example.com") as running:
        yield running


@pytest.fixture
async def provider(world: Embedded, tmp_path: Path) -> AsyncIterator[BentProvider]:
    async with bent_provider(world, tmp_path) as running:
        yield running


@pytest.fixture
async def upstream(world: Embedded, provider: BentProvider) -> Upstream:
    return await make_upstream(world, provider.issuer)


@pytest.fixture
async def visitor(world: Embedded, provider: BentProvider, upstream: Upstream) -> AsyncIterator[Visitor]:
    async with visiting(world, provider, upstream) as one:
        yield one


async def linked(world: Embedded, provider: BentProvider, email: str = "ada@example.com", **more: Any) -> User:
    """A user who is known to be the provider's subject-1."""
    user = await make_user(world, email, **more)
    await user_links.add(world.authority, world.root, user.id, LinkSpec(provider.issuer, "subject-1"))
    return user


async def change(world: Embedded, upstream: Upstream, **changes: Any) -> None:
    await upstreams.update(world.authority, world.root, upstream.id, UpdateUpstream(**changes))


async def sessions_of(world: Embedded, user: User) -> tuple[Session, ...]:
    return await world.store.page(Session, Query({"user_id": user.id, "state": State.ENABLED}))


def is_refused(page: Page, visitor: Visitor, text: str = FAILED) -> bool:
    """Whether nobody was signed in, and the page says no more than it may."""
    return page.status == 400 and text in page.words and visitor.session is None


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def links_of(world: Embedded, user: User) -> list[tuple[str, str]]:
    return [(link.issuer, link.subject) for link in await world.store.page(Link, Query({"user_id": user.id}))]


# What it is for


async def test_a_linked_user_signs_in(world: Embedded, provider: BentProvider, visitor: Visitor) -> None:
    user = await linked(world, provider)
    page = await visitor.browser.get("/sign-in")
    assert "Sign in with Elsewhere" in page.words
    assert f'href="/sign-in/with/{visitor.upstream.id}"' in page.text
    asked = await visitor.leave()
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["scope"] == "openid email profile"
    assert asked["redirect_uri"] == "https://keys.example.com/sign-in/callback"
    assert len(asked["state"]) >= 43 <= len(asked["nonce"])
    assert "prompt" not in asked
    page = await visitor.come_back()
    assert (page.status, page.location) == (303, "/account")
    [session] = await sessions_of(world, user)
    assert session.amr == ("fed",)
    assert session.acr == "urn:keybearer:acr:1fa"
    assert "ada@example.com" in (await visitor.browser.get("/account")).words
    [request] = provider.token_requests
    # RFC 6749 §2.3.1: a space and a colon in the halves do not move the colon between them.
    assert request.headers["authorization"] == (
        "Basic a2V5K2JlYXJlcjphK3NlY3JldCUzQSt3aXRoJTJCc3BlY2lhbCUyNmNoYXJhY3RlcnM="
    )
    assert "client_secret" not in request.form
    assert request.form["redirect_uri"] == asked["redirect_uri"]


async def test_the_session_of_another_is_replaced(world: Embedded, provider: BentProvider, visitor: Visitor) -> None:
    user, other = await linked(world, provider), await make_user(world, "bob@example.com")
    page = await visitor.browser.get("/sign-in")
    await visitor.browser.send(page, {"email": other.email, "password": PASSWORD}, action="/sign-in")
    before = visitor.session
    asked = await visitor.leave()
    assert asked["prompt"] == "login"  # somebody is to sign in once more
    assert (await visitor.come_back()).status == 303
    assert visitor.session not in (None, before)
    assert not await sessions_of(world, other)
    assert len(await sessions_of(world, user)) == 1


async def test_an_old_session_there_does_not_count_as_signing_in_again(
    world: Embedded, provider: BentProvider, visitor: Visitor
) -> None:
    user = await linked(world, provider)
    page = await visitor.browser.get("/sign-in")
    await visitor.browser.send(page, {"email": user.email, "password": PASSWORD}, action="/sign-in")
    provider.claims = {"auth_time": world.clock.now() // 1_000_000 - 3600}
    await visitor.leave()
    page = await visitor.come_back()
    assert page.status == 400
    assert FAILED in page.words


async def test_a_session_is_as_old_as_the_sign_in_there(
    world: Embedded, provider: BentProvider, visitor: Visitor
) -> None:
    """Who once signed in there has not proved now who they are: what needs a recent sign-in asks for one."""
    user = await linked(world, provider)
    now = world.clock.now() // 1_000_000
    provider.claims = {"auth_time": now - 3600}
    assert (await visitor.go()).status == 303
    [session] = await sessions_of(world, user)
    assert session.authenticated_at == (now - 3600) * 1_000_000
    assert session.seen_at == world.clock.now()
    page = await visitor.browser.get("/account/password", follow=False)
    assert page.location.startswith("/sign-in?")
    provider.claims = {"auth_time": now - 20}  # a clock that goes a little slow
    assert (await visitor.leave(to="/account/password"))["prompt"] == "login"
    assert (await visitor.come_back()).status == 303
    [session] = await sessions_of(world, user)
    assert session.authenticated_at == world.clock.now()
    assert (await visitor.browser.get("/account/password", follow=False)).status == 200


@pytest.mark.parametrize("secret", ["post", "none"])
async def test_other_ways_to_prove_the_client(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream, secret: str
) -> None:
    await linked(world, provider)
    if secret == "none":
        await change(world, upstream, client_secret=None)
    else:
        provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert (await visitor.go()).status == 303
    [request] = provider.token_requests
    assert "authorization" not in request.headers
    assert request.form["client_id"] == CLIENT
    assert ("client_secret" in request.form) is (secret == "post")


@pytest.mark.spec("OIDC Core", "5.3.2", "MUST")
async def test_an_address_from_userinfo_counts_only_for_the_same_subject(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream
) -> None:
    """OIDC Core §5.3.2."""
    await change(world, upstream, creates_users=True)
    provider.metadata = {"userinfo_endpoint": provider.issuer + "/userinfo"}
    provider.claims = {"email": None, "email_verified": None}
    provider.userinfo = {"sub": "subject-2", "email": "eve@example.com", "email_verified": True}
    assert is_refused(await visitor.go(), visitor, UNKNOWN)
    provider.userinfo = {"sub": "subject-1", "email": "ada@example.com", "email_verified": True}
    assert (await visitor.go()).status == 303
    [user] = await world.store.page(User, Query({"email": "ada@example.com"}))
    assert user.email_verified
    request = next(one for one in provider.server.received if one.target == "/userinfo")
    assert request.headers["authorization"] == "Bearer at-1"


# Others: forged, swapped and repeated answers


async def test_an_answer_needs_the_browser_that_asked(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream
) -> None:
    """Login CSRF: an attacker's answer, sent through the victim's browser, signs nobody in."""
    await linked(world, provider)
    await visitor.leave()
    async with visiting(world, provider, upstream) as victim:
        assert is_refused(await victim.come_back(), victim)
        state = provider.asked["state"]
        await victim.leave()
        assert is_refused(await victim.come_back(state=state), victim)
    assert not provider.token_requests


@pytest.mark.parametrize("state", [None, "", "x", "STATEx", "state"])
async def test_a_wrong_state(world: Embedded, provider: BentProvider, visitor: Visitor, state: str | None) -> None:
    await linked(world, provider)
    asked = await visitor.leave()
    wrong = state and state.replace("STATE", asked["state"])
    assert is_refused(await visitor.come_back(state=wrong), visitor)
    assert not provider.token_requests


async def test_a_parameter_that_comes_twice(world: Embedded, provider: BentProvider, visitor: Visitor) -> None:
    await linked(world, provider)
    asked = await visitor.leave()
    page = await visitor.browser.get(f"/sign-in/callback?code=c&code=d&state={asked['state']}")
    assert is_refused(page, visitor)
    assert not provider.token_requests


async def test_an_answer_is_good_once(world: Embedded, provider: BentProvider, visitor: Visitor) -> None:
    """Also where the browser kept its cookie, and the provider takes the code again."""
    user = await linked(world, provider)
    await visitor.leave()
    kept = visitor.browser.http.cookies.get("__Host-kb_upstream")
    assert kept
    assert (await visitor.come_back()).status == 303
    assert visitor.browser.http.cookies.get("__Host-kb_upstream") is None
    assert (await visitor.come_back()).status == 400
    visitor.browser.http.cookies.set("__Host-kb_upstream", kept, domain="keys.example.com")
    assert (await visitor.come_back()).status == 400
    assert len(await sessions_of(world, user)) == 1


async def test_two_answers_at_once_begin_one_session(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream
) -> None:
    user = await linked(world, provider)
    await visitor.leave()
    pages = await asyncio.gather(*(visitor.come_back() for _ in range(4)))
    assert sorted(page.status for page in pages) == [303, 400, 400, 400]
    assert len(await sessions_of(world, user)) == 1


async def test_it_may_not_take_for_ever(world: Embedded, provider: BentProvider, visitor: Visitor) -> None:
    await linked(world, provider)
    await visitor.leave()
    world.clock.move(15 * 60)
    assert is_refused(await visitor.come_back(), visitor)
    assert not provider.token_requests


@pytest.mark.parametrize("value", ["", "AAAA", "é", "A" * 5000])
async def test_a_cookie_that_was_not_sealed_here(
    world: Embedded, provider: BentProvider, visitor: Visitor, value: str
) -> None:
    await linked(world, provider)
    await visitor.leave()
    visitor.browser.http.cookies.clear()
    header = {"cookie": f"__Host-kb_upstream={value}".encode()}
    page = await visitor.browser.get(f"/sign-in/callback?code=c&state={provider.asked['state']}", headers=header)
    assert is_refused(page, visitor)


async def test_a_form_token_is_no_state(world: Embedded, provider: BentProvider, visitor: Visitor) -> None:
    """What was sealed for another purpose opens here for none."""
    await linked(world, provider)
    page = await visitor.browser.get("/sign-in")
    token = page.form("/sign-in").fields["form_token"]
    visitor.browser.http.cookies.set("__Host-kb_upstream", token, domain="keys.example.com")
    assert is_refused(await visitor.browser.get("/sign-in/callback?code=c&state=s"), visitor)


async def test_a_source_of_refusals_does_not_make_us_ask_the_provider_for_ever(
    world: Embedded, provider: BentProvider, visitor: Visitor
) -> None:
    """Anybody can come back with a code of their own making."""
    await linked(world, provider)
    object.__setattr__(world.authority, "throttle", FailureThrottle(3))
    provider.token_status, provider.answer = 400, {"error": "invalid_grant"}
    for _ in range(10):
        page = await visitor.go()
        assert page.status == 400
    assert 3 <= len(provider.token_requests) < 10
    assert is_refused(page, visitor, "Too many tries from where you are.")


# Other providers: mix-up


@pytest.mark.spec("RFC 9207", "2.4", "MUST")
async def test_the_answer_of_another_provider(
    world: Embedded, provider: BentProvider, visitor: Visitor, tmp_path: Path
) -> None:
    """RFC 9207 §2.4, whatever the metadata says; also when the answer is an error."""
    await linked(world, provider)
    await visitor.leave()
    assert is_refused(await visitor.come_back(iss="https://evil.example"), visitor)
    await visitor.leave()
    page = await visitor.come_back(iss="https://evil.example", code=None, error="access_denied")
    assert is_refused(page, visitor)
    assert not provider.token_requests
    await visitor.leave()
    assert (await visitor.come_back(iss=provider.issuer)).status == 303


@pytest.mark.spec("RFC 9207", "2.4", "MUST")
async def test_a_provider_that_names_itself_always_must(
    world: Embedded, provider: BentProvider, visitor: Visitor
) -> None:
    await linked(world, provider)
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    await visitor.leave()
    assert is_refused(await visitor.come_back(), visitor)
    await visitor.leave()
    assert is_refused(await visitor.come_back(iss=provider.issuer + "/"), visitor)
    assert not provider.token_requests
    await visitor.leave()
    assert (await visitor.come_back(iss=provider.issuer)).status == 303


@pytest.mark.spec("OIDC Discovery", "4.3", "MUST")
async def test_a_provider_cannot_speak_for_another(world: Embedded, provider: BentProvider, visitor: Visitor) -> None:
    """Its metadata names another issuer, or its ID token does: the subject there is somebody else's."""
    user = await make_user(world)
    await user_links.add(world.authority, world.root, user.id, LinkSpec("https://honest.example", "subject-1"))
    provider.claims = {"iss": "https://honest.example"}
    assert is_refused(await visitor.go(), visitor)
    provider.claims = {}
    assert is_refused(await visitor.go(), visitor, UNKNOWN)
    world.clock.move(11 * 60)
    provider.metadata = {"issuer": "https://honest.example"}
    page = await visitor.browser.get(f"/sign-in/with/{visitor.upstream.id}")
    assert is_refused(page, visitor)


async def test_a_provider_that_was_changed_or_switched_off_meanwhile(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream
) -> None:
    await linked(world, provider)
    await visitor.leave()
    await change(world, upstream, client_id="another")
    assert is_refused(await visitor.come_back(), visitor)
    await visitor.leave()
    await upstreams.set_state(world.authority, world.root, upstream.id, Change.DISABLE)
    assert (await visitor.come_back()).status == 400
    assert visitor.session is None
    assert not provider.token_requests
    assert (await visitor.browser.get(f"/sign-in/with/{upstream.id}")).status == 404
    assert "Elsewhere" not in (await visitor.browser.get("/sign-in")).words


# The ID token


@pytest.mark.spec("OIDC Core", "3.1.3.7", "MUST")
@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"nonce": ["x"]},
        {"aud": "another"},
        {"aud": [CLIENT, "another"]},
        {"aud": ["another"]},
        {"aud": []},
        {"aud": None},
        {"aud": [CLIENT, "another"], "azp": CLIENT},
        {"azp": "another"},
        {"iss": None},
        {"iss": "https://localhost"},
        {"exp": None},
        {"exp": 1},
        {"exp": True},
        {"exp": "9999999999"},
        {"iat": None},
        {"iat": 1},
        {"iat": 9999999999},
        {"nbf": 9999999999},
        {"sub": None},
        {"sub": ""},
        {"sub": 1},
        {"sub": "x" * 256},
        {"sub": "subject-1\n"},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
        {"auth_time": "yesterday"},
    ],
    ids=str,
)
async def test_what_an_id_token_must_say(
    world: Embedded, provider: BentProvider, visitor: Visitor, claims: dict[str, Any]
) -> None:
    await linked(world, provider)
    provider.claims = claims
    assert is_refused(await visitor.go(), visitor)
    provider.claims = {"aud": [CLIENT], "azp": CLIENT, "nbf": 1}
    assert (await visitor.go()).status == 303


@pytest.mark.spec("OIDC Core", "3.1.3.7", "MUST")
async def test_a_nonce_of_an_earlier_sign_in(world: Embedded, provider: BentProvider, visitor: Visitor) -> None:
    """A stolen ID token, injected into another sign-in. Spec: RFC 9700 §4.5."""
    await linked(world, provider)
    await visitor.leave()
    provider.written = provider.id_token()
    assert is_refused(await visitor.go(), visitor)


@pytest.mark.spec("OIDC Core", "3.1.3.7", "MUST")
async def test_signatures(world: Embedded, provider: BentProvider, visitor: Visitor) -> None:
    await linked(world, provider)
    await visitor.leave()
    good = provider.id_token()
    head, body, signature = good.split(".")
    unsigned = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    stranger = jwk.ECKey.generate_key("P-256")
    shared = provider.key.as_pem(private=False)  # the public key, taken for a secret
    confused = _b64(b'{"alg":"HS256","kid":"k1"}') + "." + body
    claims = {"iss": provider.issuer, "sub": "subject-1", "aud": CLIENT}
    forged = [
        f"{unsigned}.{body}.",
        f"{unsigned}.{body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        good + ".",
        provider.sign(claims, {"alg": "ES256", "kid": "k1"}, stranger),
        f"{confused}.{_b64(hmac.digest(shared, confused.encode(), 'sha256'))}",
        provider.sign(claims, {"alg": "ES256", "kid": "other"}),
    ]
    for written in forged:
        await visitor.leave()
        provider.written = written
        assert is_refused(await visitor.come_back(), visitor), written
    provider.written = ""
    for typ in ("at+jwt", "logout+jwt", "secevent+jwt"):
        provider.header = {"typ": typ}
        assert is_refused(await visitor.go(), visitor), typ
    provider.header = {"typ": None}
    assert (await visitor.go()).status == 303


async def test_new_keys_of_a_provider_are_found(world: Embedded, provider: BentProvider, visitor: Visitor) -> None:
    await linked(world, provider)
    assert (await visitor.go()).status == 303
    world.clock.move(60)
    provider.key = jwk.ECKey.generate_key("P-256")
    visitor.browser.http.cookies.clear()
    assert (await visitor.go()).status == 303


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"id_token": None}, 200),
        ({"id_token": 1}, 200),
        ({"access_token": None}, 200),
        ({"token_type": "mac"}, 200),
        ({"token_type": None}, 200),
        ({"error": "invalid_grant"}, 400),
        ({}, 302),
    ],
    ids=str,
)
async def test_what_the_token_endpoint_must_answer(
    world: Embedded, provider: BentProvider, visitor: Visitor, answer: dict[str, Any], status: int
) -> None:
    await linked(world, provider)
    provider.answer, provider.token_status = answer, status
    assert is_refused(await visitor.go(), visitor)


async def test_what_went_wrong_there_is_not_shown(world: Embedded, provider: BentProvider, visitor: Visitor) -> None:
    await linked(world, provider)
    await visitor.leave()
    page = await visitor.come_back(code=None, error="server_error", error_description="<script>alert(1)</script>")
    assert is_refused(page, visitor)
    assert "alert(1)" not in page.text
    await visitor.leave()
    page = await visitor.come_back(code=None, error="access_denied")
    assert is_refused(page, visitor, "You did not finish signing in there.")


@pytest.mark.parametrize(
    "metadata",
    [
        {"token_endpoint": "http://localhost/token"},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)//"},
        {"authorization_endpoint": "https://localhost/a#b"},
        {"authorization_endpoint": "https://localhost/\r\nset-cookie: x"},
        {"userinfo_endpoint": 7},
        {"issuer": None},
    ],
    ids=str,
)
async def test_metadata_that_cannot_be_trusted(
    world: Embedded, provider: BentProvider, visitor: Visitor, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    page = await visitor.browser.get(f"/sign-in/with/{visitor.upstream.id}")
    assert is_refused(page, visitor)
    # It is not asked again at once, however often somebody presses the button.
    seen = len(provider.server.received)
    await visitor.browser.get(f"/sign-in/with/{visitor.upstream.id}")
    assert len(provider.server.received) == seen


async def test_endpoints_in_private_networks_are_not_asked(
    world: Embedded, provider: BentProvider, visitor: Visitor
) -> None:
    """Server-side request forgery by metadata: the code and the secret go nowhere."""
    await linked(world, provider)
    provider.metadata = {"token_endpoint": "https://10.0.0.1/token"}
    assert is_refused(await visitor.go(), visitor)
    assert not provider.token_requests


# Accounts


@pytest.mark.parametrize("creates", [False, True])
async def test_an_address_finds_nobody_unless_the_provider_is_trusted_for_it(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream, creates: bool
) -> None:
    user = await make_user(world, email_verified=True)
    await change(world, upstream, creates_users=creates)
    assert is_refused(await visitor.go(), visitor, UNKNOWN)
    assert not await links_of(world, user)
    await change(world, upstream, links_by_email=True)
    assert (await visitor.go()).status == 303
    assert await links_of(world, user) == [(provider.issuer, "subject-1")]
    assert len(await sessions_of(world, user)) == 1
    entry = [one.draft for one in await world.audit() if one.draft.action == "user.add_link"][-1]
    assert (entry.actor, entry.target) == (user.id, user.id)


@pytest.mark.parametrize("verified", [False, None, "true", 1, "false"])
async def test_an_unverified_address_finds_and_makes_nobody(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream, verified: object
) -> None:
    user = await make_user(world, email_verified=True)
    await change(world, upstream, links_by_email=True, creates_users=True)
    provider.claims = {"email_verified": verified}
    assert is_refused(await visitor.go(), visitor, UNKNOWN)
    provider.claims = {"email_verified": verified, "email": "new@example.com"}
    assert is_refused(await visitor.go(), visitor, UNKNOWN)
    assert not await world.store.page(User, Query({"email": "new@example.com"}))
    assert not await links_of(world, user)


async def test_an_account_that_somebody_prepared_is_not_handed_over(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream
) -> None:
    """Pre-hijacking: who registered another's address, and never verified it, must not share their account."""
    user = await make_user(world, email_verified=False)
    await change(world, upstream, links_by_email=True, creates_users=True)
    assert is_refused(await visitor.go(), visitor, UNKNOWN)
    assert not await links_of(world, user)


async def test_no_administrator_is_found_by_an_address(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream
) -> None:
    """Whoever may register providers would otherwise be an administrator."""
    user = await make_user(world, email_verified=True, permissions=["keybearer:users.read"])
    await change(world, upstream, links_by_email=True, creates_users=True)
    assert is_refused(await visitor.go(), visitor, UNKNOWN)
    assert not await sessions_of(world, user)
    await user_links.add(world.authority, world.root, user.id, LinkSpec(provider.issuer, "subject-1"))
    assert (await visitor.go()).status == 303


@pytest.mark.spec("OIDC Core", "5.7", "MUST")
async def test_a_link_is_the_subject_and_not_the_address(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream
) -> None:
    """OIDC Core §5.7: an address that somebody else got later leads to nobody's account."""
    ada = await linked(world, provider, email_verified=True)
    bob = await make_user(world, "bob@example.com", email_verified=True)
    await change(world, upstream, links_by_email=True)
    provider.claims = {"email": "bob@example.com"}
    assert (await visitor.go()).status == 303
    assert len(await sessions_of(world, ada)) == 1
    assert not await sessions_of(world, bob)
    await change(world, upstream, links_by_email=False)
    visitor.browser.http.cookies.clear()
    provider.claims = {"sub": "subject-2"}
    assert is_refused(await visitor.go(), visitor, UNKNOWN)


async def test_new_users(world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream) -> None:
    assert is_refused(await visitor.go(), visitor, UNKNOWN)
    await change(world, upstream, creates_users=True)
    provider.claims = {"email": "New@Example.com", "name": "  New\tPerson ", "permissions": ["keybearer:admin"]}
    assert (await visitor.go()).status == 303
    [user] = await world.store.page(User, Query({"email": "new@example.com"}))
    assert (user.name, user.email_verified, user.permissions, dict(user.claims)) == ("New Person", True, (), {})
    assert await links_of(world, user) == [(provider.issuer, "subject-1")]
    entry = [one.draft for one in await world.audit() if one.draft.action == "user.create"][-1]
    assert entry.details == {"upstream_id": upstream.id}
    visitor.browser.http.cookies.clear()
    provider.claims = {"email": None}
    assert (await visitor.go()).status == 303
    assert len(await sessions_of(world, user)) == 2


async def test_a_new_person_in_two_browsers_at_once_is_one_user(
    world: Embedded, provider: BentProvider, upstream: Upstream
) -> None:
    await change(world, upstream, creates_users=True)
    providers = Providers(world.authority)
    begun = [await upstream_sign_in.begin(world.authority, providers, upstream.id) for _ in range(4)]
    asked = [dict(parse_qsl(urlsplit(one.url).query)) for one in begun]
    arrived = asyncio.Barrier(len(begun))

    async def handle(request: Received) -> Reply:
        if request.target == "/token":  # all of them are past every look at who exists before any goes on
            provider.asked = next(
                one for one in asked if challenge_of(request.form["code_verifier"]) == one["code_challenge"]
            )
            reply = await provider.handle(request)
            await arrived.wait()
            return reply
        return await provider.handle(request)

    provider.server.handler = handle

    async def finish(number: int) -> bool:
        started = upstream_sign_in.opened(world.authority, begun[number].sealed, asked[number]["state"])
        try:
            answer = Form({"code": "c"}, {})
            step = await upstream_sign_in.finish(world.authority, providers, started, answer, Visit())
        except UpstreamRefused:
            return False
        return isinstance(step, Done)

    done = await asyncio.gather(*(finish(number) for number in range(len(begun))))
    assert any(done)
    [link] = await world.store.page(Link, Query({"issuer": provider.issuer}))
    found = await world.store.page(User, Query({"email": "ada@example.com"}))
    assert [user.id for user in found] == [link.user_id]


@pytest.mark.parametrize("wanted", [Change.DISABLE, Change.DELETE])
async def test_a_user_who_is_off_stays_off(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream, wanted: Change
) -> None:
    user = await linked(world, provider, email_verified=True)
    await change(world, upstream, links_by_email=True, creates_users=True)
    await users.set_state(world.authority, world.root, user.id, wanted)
    assert is_refused(await visitor.go(), visitor, UNKNOWN)
    assert not await sessions_of(world, user)


async def test_a_second_factor_here_is_asked_for_all_the_same(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream
) -> None:
    """And who is found by their address is linked only when it was right."""
    user = await make_user(world, email_verified=True)
    secret, _ = await add_totp(world, await sign_in(world))
    await change(world, upstream, links_by_email=True)
    held = len(await sessions_of(world, user))
    page = await visitor.go()
    assert page.location.startswith("/sign-in/second-factor?")
    assert visitor.session is None
    assert (await visitor.come_back()).status == 400  # the answer is used up
    assert not await links_of(world, user)
    page = await visitor.browser.get(page.location)
    page = await visitor.browser.send(page, {"code": "000000"}, action="/sign-in/second-factor")
    assert page.status == 400
    assert not await links_of(world, user)
    page = await visitor.browser.send(page, {"code": code_of(world, secret)}, follow=False)
    assert page.status == 303
    assert len(await sessions_of(world, user)) == held + 1
    session = (await sessions_of(world, user))[-1]
    assert session.amr == ("fed", "otp", "mfa")
    assert await links_of(world, user) == [(provider.issuer, "subject-1")]


async def test_an_address_that_changes_hands_before_the_second_factor_links_nobody(
    world: Embedded, provider: BentProvider, visitor: Visitor, upstream: Upstream
) -> None:
    user = await make_user(world, email_verified=True)
    secret, _ = await add_totp(world, await sign_in(world))
    await change(world, upstream, links_by_email=True)
    page = await visitor.browser.get((await visitor.go()).location)
    other = UpdateUser(email="moved@example.com", email_verified=True)
    await users.update(world.authority, world.root, user.id, other)
    page = await visitor.browser.send(page, {"code": code_of(world, secret)}, follow=False)
    assert page.status == 400
    assert not await links_of(world, user)


# Where it goes on


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("/account/sessions", "/account/sessions"),
        ("https://evil.example/", "/account"),
        ("//evil.example", "/account"),
        ("/\\evil.example", "/account"),
        ("/account/../../evil", "/account"),
        ("javascript:alert(1)", "/account"),
        ("/oauth/authorize?x=1", "/account"),
    ],
)
async def test_no_open_redirect(
    world: Embedded, provider: BentProvider, visitor: Visitor, to: str, expected: str
) -> None:
    await linked(world, provider)
    page = await visitor.go(to=to)
    assert (page.status, page.location) == (303, expected)
