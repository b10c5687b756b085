"""The plans ``oidcc-rp-initiated-logout-…`` and ``oidcc-backchannel-rp-initiated-logout-certification-test-plan``."""

from __future__ import annotations

import secrets
import string
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from keybearer.formats import jws
from keybearer.services.backchannel_logout import BackchannelLogout
from tests.conformance_rehearsal.party import ISSUER, POST_LOGOUT, Party, Rehearsal
from tests.support.browser import Page
from tests.support.https import HttpsServer

pytestmark = pytest.mark.anyio
STATE = "".join(secrets.choice(string.ascii_letters + string.digits + "-._~") for _ in range(128))


@pytest.fixture
async def party(suite: Rehearsal) -> Party:
    return await suite.register(post_logout_redirect_uris=[POST_LOGOUT])


async def log_out(party: Party, **parameters: Any) -> Page:
    """Sign in, and send the browser to the ``end_session_endpoint``; ``None`` leaves a parameter out."""
    tokens = await party.tokens(await party.authorize())
    usual = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": POST_LOGOUT, "state": STATE}
    asked = {name: value for name, value in {**usual, **parameters}.items() if value is not None}
    return await party.suite.browser.get("/oauth/logout?" + urlencode(asked))


async def is_signed_in(party: Party) -> bool:
    page = await party.suite.browser.get(party.request(prompt="none"))
    return page.answer.get("error") not in ("login_required", "interaction_required")


def returned(page: Page) -> dict[str, str]:
    """What came back to the ``post_logout_redirect_uri``."""
    assert page.location.startswith(POST_LOGOUT), (page.status, page.text)
    return dict(parse_qsl(urlsplit(page.location).query))


@pytest.mark.spec("OIDC RP-Initiated Logout", "2.1", "RECOMMENDED")
async def test_oidcc_rp_initiated_logout_discovery_endpoint_verification(suite: Rehearsal) -> None:
    assert (await suite.metadata())["end_session_endpoint"] == ISSUER + "/oauth/logout"


@pytest.mark.spec("OIDC RP-Initiated Logout", "3", "MUST")
@pytest.mark.parametrize("state", [STATE, None], ids=["state", "no-state"])
async def test_oidcc_rp_initiated_logout(party: Party, state: str | None) -> None:
    """``rp-initiated-logout`` and ``…-no-state``."""
    page = await log_out(party, state=state)
    assert returned(page) == ({} if state is None else {"state": state})
    assert not await is_signed_in(party)


@pytest.mark.spec("OIDC RP-Initiated Logout", "3", "MUST NOT")
@pytest.mark.parametrize(
    "uri", [POST_LOGOUT + secrets.token_hex(4), POST_LOGOUT + "?foo=bar"], ids=["bad-uri", "query-added"]
)
async def test_oidcc_rp_initiated_logout_bad_post_logout_redirect_uri(party: Party, uri: str) -> None:
    page = await log_out(party, post_logout_redirect_uri=uri)
    assert (page.status, page.location) == (400, "")
    assert "post_logout_redirect_uri is not one" in page.words


@pytest.mark.spec("OIDC RP-Initiated Logout", "3", "MUST NOT")
@pytest.mark.parametrize("change", ["none", "bad"])
async def test_oidcc_rp_initiated_logout_modified_id_token_hint(party: Party, change: str) -> None:
    tokens = await party.tokens(await party.authorize())
    head, payload, _ = tokens["id_token"].split(".")
    hint = f"eyJhbGciOiJub25lIn0.{payload}." if change == "none" else f"{head}.{payload}.{'A' * 342}"
    page = await log_out(party, id_token_hint=hint)
    assert (page.status, page.location) == (400, "")
    assert "id_token_hint is not an ID token of this issuer" in page.words
    assert await is_signed_in(party)


@pytest.mark.spec("OIDC RP-Initiated Logout", "3", "MUST NOT")
async def test_oidcc_rp_initiated_logout_no_id_token_hint(party: Party) -> None:
    page = await log_out(party, id_token_hint=None)
    assert page.location == ""


@pytest.mark.spec("OIDC RP-Initiated Logout", "2", "MUST")
@pytest.mark.parametrize("state", [STATE, None], ids=["only-state", "no-params"])
async def test_oidcc_rp_initiated_logout_no_params(party: Party, state: str | None) -> None:
    """``…-no-params`` and ``…-only-state``: the user is asked, then the page that is photographed comes."""
    page = await log_out(party, id_token_hint=None, post_logout_redirect_uri=None, state=state)
    assert page.form("/sign-out")
    assert await is_signed_in(party)
    page = await party.suite.browser.send(page, action="/sign-out", button="submit")
    assert page.status == 200
    assert "signed out" in page.text.lower()
    assert not await is_signed_in(party)


@pytest.mark.spec("OIDC RP-Initiated Logout", "3", "MUST")
async def test_oidcc_rp_initiated_logout_no_post_logout_redirect_uri(party: Party) -> None:
    page = await log_out(party, post_logout_redirect_uri=None)
    assert (page.status, page.location) == (200, "")
    assert "signed out" in page.text.lower()
    assert not await is_signed_in(party)


@pytest.mark.spec("OIDC RP-Initiated Logout", "2", "MUST")
async def test_logout_by_post(party: Party) -> None:
    tokens = await party.tokens(await party.authorize())
    fields = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": POST_LOGOUT, "state": "s"}
    assert returned(await party.suite.browser.post("/oauth/logout", fields)) == {"state": "s"}


async def test_oidcc_backchannel_logout_discovery_endpoint_verification(suite: Rehearsal) -> None:
    said = await suite.metadata()
    assert said["backchannel_logout_supported"] is True
    assert said["backchannel_logout_session_supported"] is True


@pytest.mark.spec("OIDC Back-Channel Logout", "2.3", "MUST")
async def test_oidcc_backchannel_rp_initiated_logout(suite: Rehearsal, site: HttpsServer) -> None:
    party = await suite.register(
        post_logout_redirect_uris=[POST_LOGOUT],
        backchannel_logout_uri=f"{site.url}/backchannel_logout",
        backchannel_logout_session_required=True,
    )
    page = await log_out(party)
    assert returned(page) == {"state": STATE}
    notices = BackchannelLogout(suite.world.authority)
    await notices.follow()
    await notices.settled()
    [request] = site.received
    assert (request.method, request.target) == ("POST", "/backchannel_logout")
    assert list(request.form) == ["logout_token"]
    token = request.form["logout_token"]
    assert jws.parse(token).unverified_header["alg"] == "RS256"
    claims = await suite.verified(token)
    assert (claims["iss"], claims["aud"], claims["iat"]) == (ISSUER, party.id, suite.now)
    assert claims["jti"]
    assert claims["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}
    assert "nonce" not in claims
    assert claims["sub"] == suite.user.id
    assert claims["sid"]
    assert not await is_signed_in(party)
