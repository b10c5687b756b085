"""Introspection: who may ask, about what, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

from keybearer.core.records import Project, RateLimit, State
from keybearer.services import keys
from keybearer.wire.keys import CreateKey
from tests.support.oauth import API, ISSUER, JWT, OAuth, claims_in, error_of, header_in

pytestmark = pytest.mark.anyio
READ = ("orders:read",)
INACTIVE = {"active": False}


@pytest.mark.spec("RFC 7662", "2.2", "REQUIRED")
@pytest.mark.parametrize("written", ["opaque", "jwt"])
async def test_what_is_said_of_a_good_token(oauth: OAuth, written: str) -> None:
    if written == "jwt":
        await oauth.change(oauth.api, token_format=JWT)
    consent = await oauth.consent(await oauth.client())
    token = (await consent.tokens(scopes=("openid", "orders:read")))["access_token"]
    now = oauth.now // 1_000_000
    found = await oauth.introspect(token)
    jti = found.pop("jti")
    assert jti.startswith("at_")
    assert found == {
        "active": True,
        "scope": "openid orders:read",
        "client_id": consent.application.client.id,
        "token_type": "Bearer",
        "exp": now + 600,
        "iat": now,
        "sub": consent.user.id,
        "aud": API,
        "iss": ISSUER,
        "amr": ["pwd"],
        "acr": "urn:example:one",
        "auth_time": now,
    }


@pytest.mark.spec("RFC 7662", "2.2", "MUST")
async def test_of_a_bad_token_nothing_is_said(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    said = await consent.tokens(scopes=READ)
    token = said["access_token"]
    for text in (
        token[:-1],
        token + "A",
        "x",
        "eyJhbGciOiJub25lIn0.e30.",
        consent.application.secret,
        await consent.code(),
    ):
        assert await oauth.introspect(text) == INACTIVE
    for record, state in ((consent.user, "disabled"), (consent.session, "revoked")):
        await oauth.change(record, state=State(state))
        assert await oauth.introspect(token) == INACTIVE
        assert await oauth.introspect(said["refresh_token"]) == INACTIVE
        break
    fresh = await oauth.consent(consent.application)
    token = (await fresh.tokens(scopes=READ))["access_token"]
    oauth.move(600)
    assert await oauth.introspect(token) == INACTIVE


@pytest.mark.spec("RFC 7662", "2.1", "MUST")
async def test_whoever_asks_proves_who_it_is(oauth: OAuth) -> None:
    application = await oauth.client()
    token = (await application.tokens(scope="orders:read"))["access_token"]
    public = await oauth.public_client()
    assert error_of(await oauth.post("/oauth/introspect", {"token": token})) == (401, "invalid_client")
    assert error_of(await public.post("/oauth/introspect", {"token": token})) == (401, "invalid_client")
    refused = await oauth.post("/oauth/introspect", {"token": token}, {"authorization": "Bearer kb_sk_live_x"})
    assert error_of(refused) == (401, "invalid_token")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert error_of(await application.post("/oauth/introspect", {})) == (400, "invalid_request")


@pytest.mark.spec("RFC 7662", "2.1", "MUST")
async def test_a_key_needs_the_permission_to_verify(oauth: OAuth) -> None:
    token = (await (await oauth.client()).tokens(scope="orders:read"))["access_token"]
    body = CreateKey(project_id=oauth.project.id, name="no", permissions=["orders:read"])
    key = (await keys.create(oauth.world.authority, oauth.world.root, body)).credential
    answer = await oauth.post("/oauth/introspect", {"token": token}, {"authorization": f"Bearer {key}"})
    assert error_of(answer)[1] in ("invalid_token", "insufficient_scope")


@pytest.mark.spec("RFC 7662", "4", "MUST")
async def test_tokens_of_other_projects_do_not_exist(oauth: OAuth) -> None:
    application = await oauth.client()
    token = (await application.tokens(scope="orders:read"))["access_token"]
    at = {"created_at": oauth.now, "updated_at": oauth.now}
    elsewhere = Project(id="proj_elsewhere0000000", **at, name="Other", enabled_apis=(oauth.api.id,))
    await oauth.insert(elsewhere)
    stranger, colleague = await oauth.client(elsewhere), await oauth.client()
    assert (await stranger.post("/oauth/introspect", {"token": token})).json() == INACTIVE
    assert (await colleague.post("/oauth/introspect", {"token": token})).json()["active"]


async def test_a_refresh_token_is_its_own_clients_business(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    first = (await consent.tokens(scopes=READ))["refresh_token"]
    second = (await consent.application.refresh(first)).json()["refresh_token"]
    mine = (await consent.application.post("/oauth/introspect", {"token": second})).json()
    assert (mine["active"], mine["scope"], mine["sub"]) == (True, "orders:read", consent.user.id)
    assert (await consent.application.post("/oauth/introspect", {"token": first})).json() == INACTIVE
    theirs = await (await oauth.client()).post("/oauth/introspect", {"token": second})
    assert theirs.json() == INACTIVE
    assert (await consent.application.refresh(second)).status_code == 200  # looking changed nothing


async def test_asking_takes_nothing_from_limits(oauth: OAuth) -> None:
    application = await oauth.client(limits=(RateLimit("requests", 2, 86_400_000_000, 2),))
    token = (await application.tokens(scope="orders:read"))["access_token"]
    for _ in range(5):
        assert await oauth.is_active(token)
    codes = [(await oauth.world.verify(token))["code"] for _ in range(3)]
    assert codes == ["VALID", "VALID", "RATE_LIMITED"]


async def test_scopes_that_are_gone_are_not_said(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    token = (await consent.tokens(scopes=("orders:read", "orders:write")))["access_token"]
    await oauth.change(consent.grant, scopes=("orders:write",))
    assert (await oauth.introspect(token))["scope"] == "orders:write"


@pytest.mark.spec("RFC 9701", "5", "MUST")
@pytest.mark.parametrize(("registered", "algorithm"), [("", "RS256"), ("ES256", "ES256")])
async def test_the_answer_may_be_a_signed_jwt(oauth: OAuth, registered: str, algorithm: str) -> None:
    application = await oauth.client(introspection_signed_response_alg=registered)
    token = (await application.tokens(scope="orders:read"))["access_token"]
    accept = {"accept": "application/token-introspection+jwt"}

    async def ask(text: str) -> dict[str, Any]:
        answer = await application.post("/oauth/introspect", {"token": text}, accept)
        assert answer.headers["content-type"] == "application/token-introspection+jwt"
        header = header_in(answer.text)
        assert (header["typ"], header["alg"]) == ("token-introspection+jwt", algorithm)
        await oauth.world.authority.signing_keys.verify(answer.text, "token-introspection+jwt")
        return claims_in(answer.text)

    claims = await ask(token)
    assert (claims["iss"], claims["aud"]) == (ISSUER, application.client.id)
    assert claims["iat"] == oauth.now // 1_000_000
    assert claims["token_introspection"]["active"]
    assert not {"sub", "exp"} & set(claims)  # it must not pass for another kind of JWT
    assert (await ask("x"))["token_introspection"] == INACTIVE
