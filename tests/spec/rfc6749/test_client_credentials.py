"""The client credentials grant, and what holds for every answer of the token endpoint."""

from __future__ import annotations

import pytest

from tests.support.oauth import API, ISSUER, JWT, OAuth, basic, claims_in, error_of, header_in

pytestmark = pytest.mark.anyio


@pytest.mark.spec("RFC 6749", "4.4.2", "MUST")
@pytest.mark.spec("RFC 6749", "5.1", "MUST")
async def test_a_client_that_proves_itself_is_issued_a_token(oauth: OAuth) -> None:
    application = await oauth.client(scopes=("orders:read", "orders:write"))
    answer = await application.token()
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    said = answer.json()
    assert set(said) == {"access_token", "token_type", "expires_in", "scope"}
    assert said["token_type"] == "Bearer"
    assert said["expires_in"] == 600
    assert said["scope"] == "orders:read orders:write"
    found = await oauth.introspect(said["access_token"])
    assert found["active"]
    assert (found["sub"], found["client_id"], found["aud"]) == (application.client.id, application.client.id, API)
    assert found["iss"] == ISSUER


@pytest.mark.spec("RFC 6749", "4.4.3", "SHOULD NOT")
async def test_a_client_that_acts_for_itself_gets_no_refresh_token(oauth: OAuth) -> None:
    assert "refresh_token" not in await (await oauth.client()).tokens(scope="orders:read")


@pytest.mark.spec("RFC 6749", "4.4", "MUST")
async def test_a_public_client_cannot_act_for_itself(oauth: OAuth) -> None:
    application = await oauth.public_client()
    assert error_of(await application.token()) == (400, "unauthorized_client")


@pytest.mark.spec("RFC 6749", "3.3", "MUST")
async def test_the_scope_is_what_was_asked_for_or_all_there_is(oauth: OAuth) -> None:
    application = await oauth.client()
    assert (await application.tokens(scope="orders:read"))["scope"] == "orders:read"
    assert (await application.tokens())["scope"] == "orders:read orders:write orders:refund"


@pytest.mark.spec("RFC 6749", "5.2", "MUST")
@pytest.mark.parametrize("scope", ["orders:delete", "orders:read orders:delete", 'a"b', "a  b", " a", "ä"])
async def test_a_scope_that_is_unknown_or_malformed_is_refused(oauth: OAuth, scope: str) -> None:
    assert error_of(await (await oauth.client()).token(scope=scope)) == (400, "invalid_scope")


@pytest.mark.spec("OIDC Core", "11", "MUST NOT")
async def test_there_is_no_user_behind_a_client(oauth: OAuth) -> None:
    assert error_of(await (await oauth.client()).token(scope="openid orders:read")) == (400, "invalid_scope")


@pytest.mark.spec("RFC 6749", "5.2", "MUST")
async def test_a_grant_that_the_client_may_not_use_is_unauthorized(oauth: OAuth) -> None:
    application = await oauth.client(grant_types=())
    for grant_type in ("client_credentials", "refresh_token", "authorization_code"):
        assert error_of(await application.token(grant_type)) == (400, "unauthorized_client")


@pytest.mark.spec("RFC 6749", "5.2", "MUST")
@pytest.mark.spec("OAuth 2.1", "2.4", "MUST NOT")
async def test_grants_that_do_not_exist_are_unsupported(oauth: OAuth) -> None:
    application = await oauth.client()
    for grant_type in ("password", "implicit", "urn:example:none", "CLIENT_CREDENTIALS"):
        assert error_of(await application.token(grant_type)) == (400, "unsupported_grant_type")


@pytest.mark.spec("RFC 6749", "3.2", "MUST")
async def test_parameters_without_a_value_count_as_left_out(oauth: OAuth) -> None:
    application = await oauth.client()
    assert (await application.tokens(scope="", resource=""))["scope"] == "orders:read orders:write orders:refund"
    assert error_of(await application.token("")) == (400, "invalid_request")


@pytest.mark.spec("RFC 6749", "3.2", "MUST NOT")
@pytest.mark.parametrize("twice", ["grant_type=client_credentials", "scope=orders:read", "anything=x", "scope="])
async def test_a_parameter_that_comes_twice_is_refused(oauth: OAuth, twice: str) -> None:
    application = await oauth.client()
    body = f"grant_type=client_credentials&scope=orders:read&anything=x&{twice}".encode()
    answer = await oauth.post("/oauth/token", body, {"authorization": basic(application.client.id, application.secret)})
    assert error_of(answer) == (400, "invalid_request")
    assert "twice" in answer.json()["error_description"]


@pytest.mark.spec("RFC 6749", "3.2", "MUST")
async def test_parameters_that_nobody_knows_are_ignored(oauth: OAuth) -> None:
    assert "access_token" in await (await oauth.client()).tokens(audience_hint="x", username="ada")


@pytest.mark.spec("RFC 6749", "3.2", "MUST")
async def test_the_method_is_post(oauth: OAuth) -> None:
    async with oauth.world.http("") as http:
        answer = await http.get("/oauth/token", params={"grant_type": "client_credentials"})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.spec("RFC 6749", "2.3.1", "MUST NOT")
async def test_credentials_in_the_url_count_for_nothing(oauth: OAuth) -> None:
    application = await oauth.client()
    query = f"client_id={application.client.id}&client_secret={application.secret}"
    answer = await oauth.post(f"/oauth/token?{query}", {"grant_type": "client_credentials"})
    assert error_of(answer) == (401, "invalid_client")


@pytest.mark.spec("RFC 6749", "4.4.2", "MUST")
@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
async def test_only_forms_are_read(oauth: OAuth, media_type: str) -> None:
    application = await oauth.client()
    headers = {"authorization": basic(application.client.id, application.secret), "content-type": media_type}
    assert error_of(await oauth.post("/oauth/token", b"grant_type=client_credentials", headers)) == (
        400,
        "invalid_request",
    )


@pytest.mark.spec("RFC 6749", "B", "MUST")
@pytest.mark.parametrize("body", [b"grant_type=%zz", b"grant_type=%", b"grant_type=a\xff", b"scope=%ff", b"a b=c"])
async def test_forms_that_are_badly_encoded_are_refused(oauth: OAuth, body: bytes) -> None:
    application = await oauth.client()
    headers = {"authorization": basic(application.client.id, application.secret)}
    assert error_of(await oauth.post("/oauth/token", body, headers)) == (400, "invalid_request")


@pytest.mark.spec("RFC 6749", "B", "MUST")
async def test_plus_and_percent_are_decoded(oauth: OAuth) -> None:
    application = await oauth.client()
    headers = {"authorization": basic(application.client.id, application.secret)}
    body = b"grant%5Ftype=client%5fcredentials&scope=orders%3Aread+orders%3awrite"
    answer = await oauth.post("/oauth/token", body, headers)
    assert answer.json()["scope"] == "orders:read orders:write"


async def test_a_body_without_end_is_refused(oauth: OAuth) -> None:
    application = await oauth.client()
    headers = {"authorization": basic(application.client.id, application.secret)}
    answer = await oauth.post("/oauth/token", b"grant_type=client_credentials&x=" + b"y" * 100_000, headers)
    assert error_of(answer) == (413, "invalid_request")
    many = b"&".join(b"p%d=1" % number for number in range(60))
    assert error_of(await oauth.post("/oauth/token", many, headers)) == (400, "invalid_request")


@pytest.mark.spec("RFC 9068", "2.1", "MUST")
@pytest.mark.spec("RFC 9068", "2.2", "MUST")
async def test_an_api_may_choose_jwts(oauth: OAuth) -> None:
    await oauth.change(oauth.api, token_format=JWT)
    application = await oauth.client()
    text = (await application.tokens(scope="orders:read"))["access_token"]
    header, claims = header_in(text), claims_in(text)
    assert header["typ"] == "at+jwt"
    assert header["alg"] == "ES256"
    assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER, API, application.client.id)
    assert (claims["client_id"], claims["scope"]) == (application.client.id, "orders:read")
    assert claims["exp"] - claims["iat"] == 600
    assert claims["jti"]
    assert await oauth.is_active(text)
    oauth.move(601)
    assert not await oauth.is_active(text)


async def test_the_api_bounds_how_long_its_tokens_live(oauth: OAuth) -> None:
    await oauth.change(oauth.api, token_in=60_000_000)
    text = await (await oauth.client()).tokens(scope="orders:read")
    assert text["expires_in"] == 60
    oauth.move(61)
    assert not await oauth.is_active(text["access_token"])


async def test_tokens_are_counted_under_the_client_and_not_in_the_audit_log(oauth: OAuth) -> None:
    application = await oauth.client()
    before = len(await oauth.world.authority.store.audit_page(0, 1000))
    for _ in range(3):
        await application.tokens(scope="orders:read")
    await oauth.world.recorder.flush()
    assert len(await oauth.world.authority.store.audit_page(0, 1000)) == before
    now = oauth.now
    from keybearer.core.instant import HOUR, Instant
    from keybearer.ports import UsageQuery

    query = UsageQuery(Instant(now - HOUR), Instant(now + HOUR), ("key_id", "code"), {"key_id": application.client.id})
    rows = await oauth.world.authority.store.usage(query)
    assert [(row["code"], row["count"]) for row in rows] == [("ISSUED", 3)]
