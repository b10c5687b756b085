"""Tokens at the seams between parts: what one part believes of another, and what a stranger can make of it."""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keybearer.core.clients import ClientAuthMethod, ClientOrigin, GrantType, record_id
from keybearer.core.records import Environment, State
from keybearer.ports import UnitOfWork
from keybearer.services import keys, projects, sessions
from keybearer.services.grants import narrow
from keybearer.services.id_tokens import read_hint
from keybearer.web.idempotency import digest_of
from keybearer.wire.keys import CreateKey
from keybearer.wire.records import CreateProject
from tests.support.oauth import (
    API,
    ASSERTION_TYPE,
    CHALLENGE,
    ISSUER,
    REDIRECT,
    VERIFIER,
    Consent,
    OAuth,
    assertion,
    ath,
    claims_in,
    error_of,
    new_key,
    oauth_world,
    proof,
    public_of,
    signed,
)

pytestmark = pytest.mark.anyio
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
KEY = new_key()


@pytest.fixture
async def oauth(anyio_backend: str) -> AsyncIterator[OAuth]:
    async with oauth_world(client_metadata_documents=True, trusted_proxies=("127.0.0.1/32",)) as world:
        yield world


@pytest.fixture
async def consent(oauth: OAuth) -> Consent:
    return await oauth.consent(await oauth.client())


STRANGE: list[dict[str, Any]] = [
    {"jti": "\ud800"},
    {"htu": "https://\ud800.example/"},
    {"htu": "https://auth.example/\ud800"},
    {"nonce": "\ud800"},
    {"nonce": 5},
    {"ath": "\ud800"},
    {"header": {"jwk": {**public_of(KEY), "key_ops": 5}}},
    {"header": {"jwk": {**public_of(KEY), "key_ops": None}}},
    {"header": {"jwk": {**public_of(KEY), "alg": ["ES256"]}}},
    {"header": {"jwk": {**public_of(KEY), "use": {}}}},
    {"header": {"jwk": {**public_of(KEY), "crv": ["P-256"]}}},
    {"header": {"jwk": {**public_of(KEY), "kty": ["EC"]}}},
    {"header": {"jwk": {**public_of(KEY), "x": 5}}},
    {"header": {"jwk": {**public_of(KEY), "x": "\ud800"}}},
    {"header": {"jwk": {**public_of(KEY), "x": "AAAA"}}},
    {"header": {"jwk": {**public_of(KEY), "x": ""}}},
    {"header": {"jwk": {}}},
    {"header": {"typ": "dpop+jwt", "kid": "\ud800", "jwk": public_of(KEY)}},
]


@pytest.mark.parametrize("changes", STRANGE, ids=range(len(STRANGE)))  # there is a random key in them
async def test_a_strange_proof_is_refused_and_no_fault(oauth: OAuth, changes: dict[str, Any]) -> None:
    application = await oauth.client()
    answer = await application.token(headers={"dpop": proof(oauth, KEY, **changes)})
    assert answer.status_code in (200, 400), answer.text
    async with oauth.world.http("") as http:
        text = proof(oauth, KEY, method="GET", path="/oauth/userinfo", **{"ath": ath("kb_at_x"), **changes})
        answer = await http.get("/oauth/userinfo", headers={"authorization": "DPoP kb_at_x", "dpop": text})
        assert answer.status_code == 401, answer.text


ODD: list[dict[str, Any]] = [
    {"jti": "\ud800"},
    {"iss": "\ud800"},
    {"sub": "\ud800"},
    {"aud": "\ud800"},
    {"aud": {"x": 1}},
    {"exp": 1e308},
    {"exp": 10**400},
    {"nbf": -(10**400)},
    {"iat": 1.5},
    {"header": {"kid": "\ud800"}},
    {"header": {"typ": "\ud800"}},
]


@pytest.mark.parametrize("changes", ODD, ids=repr)
async def test_a_strange_assertion_is_refused_and_no_fault(oauth: OAuth, changes: dict[str, Any]) -> None:
    for jwk in (public_of(KEY), {**public_of(KEY), "key_ops": 7}, {**public_of(KEY), "kid": 5, "use": []}):
        application = await oauth.client(
            token_endpoint_auth_method=ClientAuthMethod.PRIVATE_KEY_JWT, jwks={"keys": [jwk]}
        )
        text = assertion(oauth, application, KEY, **changes)
        fields = {
            "grant_type": "client_credentials",
            "client_assertion": text,
            "client_assertion_type": ASSERTION_TYPE,
        }
        answer = await oauth.post("/oauth/token", fields)
        assert answer.status_code in (200, 400, 401), answer.text
        other = await oauth.client()
        answer = await other.token(GrantType.JWT_BEARER.value, assertion=text)
        assert error_of(answer) == (400, "invalid_grant")
        for path in ("/oauth/introspect", "/oauth/revoke"):
            answer = await other.post(path, {"token": text})
            assert answer.status_code == 200, answer.text
        answer = await other.post("/oauth/par", {"client_id": other.client.id, "request": text})
        assert answer.status_code == 400, answer.text
        async with oauth.world.http("") as http:
            for query in ({"request": text}, {"id_token_hint": text, "response_type": "code"}):
                answer = await http.get("/oauth/authorize", params={"client_id": application.client.id, **query})
                assert answer.status_code in (303, 400), answer.text
            answer = await http.get("/oauth/logout", params={"id_token_hint": text})
            assert answer.status_code in (303, 400), answer.text


BROKEN: list[dict[str, Any]] = [
    {"state": "\ud800"},
    {"nonce": "\ud800"},
    {"login_hint": "a\x00b"},
    {"redirect_uri": "\ud800"},
    {"client_id": "\ud800"},
    {"scope": "\ud800"},
    {"claims": {"userinfo": {"\ud800": None}}},
    {"authorization_details": [{"type": "\ud800"}]},
    {"resource": ["\ud800"]},
    {"response_mode": "\ud800"},
    {"\ud800": "x"},
    {"acr_values": "\ud800"},
]


@pytest.mark.parametrize("claims", BROKEN, ids=repr)
async def test_a_strange_request_object_is_refused_and_no_fault(oauth: OAuth, claims: dict[str, Any]) -> None:
    application = await oauth.client(jwks={"keys": [public_of(KEY)]})
    now = oauth.now // 1_000_000
    whole = {
        "iss": application.client.id,
        "client_id": application.client.id,
        "aud": ISSUER,
        "exp": now + 60,
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **claims,
    }
    text = signed(whole, KEY)
    async with oauth.world.http("") as http:
        for method in ("GET", "POST"):
            parameters = {"client_id": application.client.id, "request": text, "redirect_uri": REDIRECT}
            if method == "GET":
                answer = await http.get("/oauth/authorize", params=parameters)
            else:
                answer = await http.post("/oauth/authorize", data=parameters)
            assert answer.status_code in (303, 400), answer.text
    answer = await application.post("/oauth/par", {"request": text, "client_id": application.client.id})
    assert answer.status_code in (201, 400), answer.text


# Which client: the id of its record, or the URL that it is.


async def test_a_client_that_is_a_url_is_called_by_it_everywhere(oauth: OAuth) -> None:
    url = "https://app.example/client.json"
    application = await oauth.client(
        id=record_id(url),
        document_uri=url,
        document_expires_at=oauth.now + 10**12,
        origin=ClientOrigin.METADATA_DOCUMENT,
        token_endpoint_auth_method=ClientAuthMethod.PRIVATE_KEY_JWT,
        jwks={"keys": [public_of(KEY)]},
    )
    user = await oauth.user()
    session = await oauth.session(user)
    consent = Consent(oauth, application, user, session, await oauth.grant(user, application))

    def proven(**data: str) -> dict[str, str]:
        text = assertion(oauth, application, KEY, iss=url, sub=url)
        return {"client_assertion": text, "client_assertion_type": ASSERTION_TYPE, **data}

    usual = {"redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    answer = await oauth.post(
        "/oauth/token", proven(grant_type="authorization_code", code=await consent.code(), **usual)
    )
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert claims_in(said["id_token"])["aud"] == url
    for name in ("access_token", "refresh_token"):
        answer = await oauth.post("/oauth/introspect", proven(token=said[name]))
        assert answer.json()["client_id"] == url, name
        assert (await oauth.introspect(said[name]))["client_id"] == url
    answer = await oauth.post(
        "/oauth/introspect", proven(token=said["access_token"]), {"accept": "application/token-introspection+jwt"}
    )
    assert claims_in(answer.text)["aud"] == url
    own = await oauth.post("/oauth/token", proven(grant_type="client_credentials", scope="orders:read"))
    exchange = {
        "grant_type": GrantType.TOKEN_EXCHANGE.value,
        "subject_token": said["access_token"],
        "subject_token_type": ACCESS,
        "actor_token": own.json()["access_token"],
        "actor_token_type": ACCESS,
    }
    answer = await oauth.post("/oauth/token", proven(**exchange))
    assert answer.status_code == 200, answer.text
    assert (await oauth.introspect(answer.json()["access_token"]))["act"] == {"sub": url, "client_id": url}
    # The id of the record is nobody's client_id.
    text = assertion(oauth, application, KEY)
    answer = await oauth.post("/oauth/token", {**proven(grant_type="client_credentials"), "client_assertion": text})
    assert error_of(answer) == (401, "invalid_client")


async def test_no_other_signed_answer_passes_for_an_id_token(oauth: OAuth) -> None:
    application = await oauth.client(userinfo_signed_response_alg="ES256")
    consent = await oauth.consent(application)
    said = await consent.tokens(scopes=("openid", "orders:read"))
    async with oauth.world.http(said["access_token"]) as http:
        signed_answer = (await http.get("/oauth/userinfo")).text
    assert claims_in(signed_answer)["sub"]
    authority = oauth.world.authority
    assert await read_hint(authority, said["id_token"]) is not None
    assert await read_hint(authority, signed_answer) is None


async def test_withdrawing_offline_access_ends_what_rests_on_it(oauth: OAuth, consent: Consent) -> None:
    scopes = ("openid", "offline_access", "orders:read")
    offline = await consent.tokens(scopes=scopes, offline=True)
    bound = await consent.tokens(scopes=("openid", "orders:read"))
    waiting = await consent.code(scopes=scopes, offline=True)
    kept = tuple(one for one in consent.grant.scopes if one != "offline_access")

    async def work(uow: Any) -> None:
        grant = await uow.get(type(consent.grant), consent.grant.id)
        await narrow(uow, oauth.world.root, grant, oauth.now, scopes=kept)

    await oauth.world.store.transact(work)
    assert not await oauth.is_active(offline["refresh_token"])
    assert error_of(await consent.application.refresh(offline["refresh_token"])) == (400, "invalid_grant")
    assert error_of(await consent.application.redeem(waiting)) == (400, "invalid_grant")
    assert (await consent.application.refresh(bound["refresh_token"])).status_code == 200


async def test_a_refresh_token_of_a_client_that_is_switched_off_is_not_active(oauth: OAuth, consent: Consent) -> None:
    said = await consent.tokens()
    assert await oauth.is_active(said["refresh_token"])
    await oauth.change(consent.application.client, state=State.DISABLED)
    assert not await oauth.is_active(said["refresh_token"])


# What strangers may cost.


async def test_a_proof_without_a_good_token_of_its_key_is_not_written_down(oauth: OAuth) -> None:
    application = await oauth.client()
    own = (await application.tokens(headers={"dpop": proof(oauth, KEY)}))["access_token"]
    plain = (await application.tokens())["access_token"]
    written: list[object] = []
    store = oauth.world.store
    transact = store.transact

    async def counted(work: Any) -> Any:
        written.append(work)
        return await transact(work)

    store.transact = counted
    async with oauth.world.http("") as http:
        for token, key, costs in (
            ("kb_at_x", KEY, 0),
            (own, new_key(), 0),
            (plain, KEY, 0),
            (own, KEY, 1),
        ):
            written.clear()
            text = proof(oauth, key, method="GET", path="/oauth/userinfo", ath=ath(token))
            answer = await http.get("/oauth/userinfo", headers={"authorization": f"DPoP {token}", "dpop": text})
            # The right key opens the door, and then lacks the scope openid.
            assert answer.status_code == (403 if costs else 401)
            assert len(written) == costs, token
        again = await http.get("/oauth/userinfo", headers={"authorization": f"DPoP {own}", "dpop": text})
        assert again.status_code == 401


async def test_a_pushed_request_is_bounded(oauth: OAuth) -> None:
    application = await oauth.public_client()
    request = {
        "client_id": application.client.id,
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    many = {f"x{number}": "y" * 2_000 for number in range(10)}
    assert error_of(await oauth.post("/oauth/par", {**request, **many})) == (400, "invalid_request")
    statuses = [(await oauth.post("/oauth/par", request)).status_code for _ in range(61)]
    assert statuses.count(201) <= 60
    assert statuses[-1] == 429
    # Another address is not in its way.
    assert (await oauth.post("/oauth/par", request, client=("192.0.2.9", 1))).status_code == 201


async def test_nobody_uses_up_a_public_clients_token_requests_for_others(anyio_backend: str) -> None:
    async with oauth_world(token_requests_per_minute=3) as oauth:
        application = await oauth.public_client()
        fields = {"grant_type": "refresh_token", "client_id": application.client.id, "refresh_token": "x"}
        statuses = [(await oauth.post("/oauth/token", fields)).status_code for _ in range(4)]
        assert statuses == [400, 400, 400, 429]
        assert (await oauth.post("/oauth/token", fields, client=("192.0.2.9", 1))).status_code == 400


async def test_an_answer_is_not_repeated_to_the_same_user_in_another_project(oauth: OAuth) -> None:
    """An Idempotency-Key belongs to who sent it: here the user, with tokens of clients of two projects."""
    body = b'{"project_id": "p", "name": "k"}'
    one = digest_of("POST", "/v1/keys", b"", body, "proj_a")
    assert one != digest_of("POST", "/v1/keys", b"", body, "proj_b")
    assert one == digest_of("POST", "/v1/keys", b"", body, "proj_a")


async def test_only_the_authoritys_own_administrators_spare_a_client_the_consent(oauth: OAuth) -> None:
    world = oauth.world
    project = await projects.create(
        world.authority, world.root, CreateProject("Tenant", enabled_apis=[world.authority.own_api_id])
    )
    body = CreateKey(project.id, "k", permissions=["keybearer:clients.write"])
    key = (await keys.create(world.authority, world.root, body)).credential
    new = {"project_id": project.id, "name": "c", "redirect_uris": [REDIRECT], "scopes": ["openid", "email"]}
    async with world.http(key) as http:
        refused = await http.post("/v1/clients", json={**new, "is_first_party": True})
        assert refused.status_code == 403, refused.text
        made = (await http.post("/v1/clients", json=new)).json()
        path = f"/v1/clients/{made['client']['id']}"
        assert (await http.patch(path, json={"is_first_party": True})).status_code == 403
        async with world.http() as root:
            assert (await root.patch(path, json={"is_first_party": True})).status_code == 200
        # What it is already, it may stay.
        assert (await http.patch(path, json={"is_first_party": True, "name": "d"})).status_code == 200
        for more in ({"redirect_uris": ["https://mine.example/"]}, {"scopes": ["openid", "email", "profile"]}):
            assert (await http.patch(path, json=more)).status_code == 403
        # What needs consent again is the project's own business.
        assert (await http.patch(path, json={"is_first_party": False})).status_code == 200
        assert (await http.patch(path, json={"redirect_uris": ["https://mine.example/"]})).status_code == 200


async def test_who_has_a_whole_network_of_addresses_is_counted_once(oauth: OAuth) -> None:
    """One machine commands a /64 of IPv6: its addresses must not each have a budget of their own."""
    application = await oauth.public_client()
    fields = {"client_id": application.client.id, "scope": "orders:read"}
    statuses = [
        (await oauth.post("/oauth/device_authorization", fields, client=(f"2001:db8::{number:x}", 1))).status_code
        for number in range(62)
    ]
    assert statuses.count(200) <= 60
    assert statuses[-1] == 429
    assert (await oauth.post("/oauth/device_authorization", fields, client=("2001:db8:1::1", 1))).status_code == 200


async def test_a_family_is_over_at_its_absolute_end_however_often_it_was_used(oauth: OAuth, consent: Consent) -> None:
    said = await consent.tokens(scopes=("openid", "offline_access", "orders:read"), offline=True)
    client = consent.application.client
    steps = client.refresh_token_in // client.refresh_idle_in * 2 + 1
    for _ in range(steps):
        oauth.move(client.refresh_token_in / steps / 1_000_000)
        text = said["refresh_token"]
        answer = await consent.application.refresh(text)
        said = answer.json() if answer.status_code == 200 else said
    assert error_of(answer) == (400, "invalid_grant")
    assert not await oauth.is_active(text)


BOMB = zlib.compress(bytes(1 << 20))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "dir", "enc": "A128CBC-HS256", "zip": "DEF"},
        {"alg": "PBES2-HS256+A128KW", "enc": "A128CBC-HS256", "p2c": 2**31 - 1, "p2s": "AAAA"},
        {"alg": "RSA1_5", "enc": "A128CBC-HS256"},
    ],
    ids=lambda header: header["alg"],
)
async def test_nothing_encrypted_is_opened(oauth: OAuth, header: dict[str, Any]) -> None:
    """joserfc, python-jose: what a stranger compressed is inflated, and what they counted to is counted."""
    parts = (json.dumps(header).encode(), b"key", b"iv", BOMB, b"tag")
    text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    application = await oauth.client(jwks={"keys": [public_of(KEY)]})
    began = time.process_time()
    assert not await oauth.is_active(text)
    assert not (await oauth.world.verify(text))["valid"]
    assert error_of(await application.token(GrantType.JWT_BEARER.value, assertion=text)) == (400, "invalid_grant")
    fields = {"grant_type": "client_credentials", "client_assertion": text, "client_assertion_type": ASSERTION_TYPE}
    assert error_of(await oauth.post("/oauth/token", fields)) == (401, "invalid_client")
    assert error_of(await application.token(headers={"dpop": text})) == (400, "invalid_dpop_proof")
    answer = await application.post("/oauth/par", {"client_id": application.client.id, "request": text})
    assert error_of(answer) == (400, "invalid_request_object")
    assert time.process_time() - began < 1.0


@pytest.mark.spec("OIDC Core", "2", "MUST")
@pytest.mark.spec("OIDC Core", "12.2", "MUST")
async def test_an_id_token_is_for_its_client_and_answers_its_request(oauth: OAuth, consent: Consent) -> None:
    said = await consent.tokens(scopes=("openid",), nonce="n-7")
    claims = claims_in(said["id_token"])
    now = oauth.now // 1_000_000
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (ISSUER, consent.application.client.id, "n-7")
    assert (claims["sub"], claims["sid"]) == (consent.user.subject, consent.session.id)
    assert claims["iat"] == now < claims["exp"]
    assert "nonce" not in claims_in((await consent.tokens(scopes=("openid",), nonce=""))["id_token"])
    oauth.move(5)
    renewed = claims_in((await consent.application.refresh(said["refresh_token"])).json()["id_token"])
    same = ("iss", "sub", "aud", "auth_time")
    assert {name: renewed[name] for name in same} == {name: claims[name] for name in same}
    assert renewed["iat"] == now + 5


@pytest.mark.spec("OIDC Core", "3.1.2.1", "MUST")
async def test_a_hint_is_an_id_token_of_the_very_client(oauth: OAuth, consent: Consent) -> None:
    """Another client's ID token says who somebody is there, and must not choose the account here."""
    own = (await consent.tokens(scopes=("openid",)))["id_token"]
    other = await oauth.client()
    access = (await consent.tokens(scopes=("openid",)))["access_token"]
    asked = {
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid",
        "prompt": "none",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    async with oauth.world.http("") as http:
        for client, hint, error in (
            (consent.application.client, own, "login_required"),
            (other.client, own, "invalid_request"),
            (other.client, access, "invalid_request"),
        ):
            parameters = {**asked, "client_id": client.id, "id_token_hint": hint}
            answer = await http.get("/oauth/authorize", params=parameters)
            assert answer.status_code == 303
            assert f"error={error}&" in answer.headers["location"]


async def test_a_session_is_nobodys_once_its_user_is_switched_off(oauth: OAuth) -> None:
    """Also one that began while its user was switched off, and was not among those that were ended."""
    user, authority = await oauth.user(), oauth.world.authority

    async def work(uow: UnitOfWork) -> str:
        visit = {"amr": ("pwd",), "acr": "", "source": None, "user_agent": ""}
        _, secret = await sessions.start(uow, authority, oauth.world.root, user, **visit)
        return secret.reveal()

    cookie = await authority.store.transact(work)
    assert await sessions.find(authority, cookie) is not None
    await oauth.change(user, state=State.DISABLED)
    assert await sessions.find(authority, cookie) is None


async def test_an_id_token_is_exchanged_by_its_client_while_its_user_agrees(oauth: OAuth, consent: Consent) -> None:
    """What was said to one client about who signed in is no leave for another, and none once the consent is gone."""
    fields = {
        "subject_token": (await consent.tokens(scopes=("openid",)))["id_token"],
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "scope": "orders:read",
    }
    exchange = GrantType.TOKEN_EXCHANGE.value
    assert (await consent.application.token(exchange, **fields)).status_code == 200
    other = await oauth.client()
    await oauth.grant(consent.user, other)
    assert error_of(await other.token(exchange, **fields)) == (400, "invalid_grant")
    await oauth.change(consent.grant, state=State.REVOKED)
    assert error_of(await consent.application.token(exchange, **fields)) == (400, "invalid_grant")


async def test_a_key_for_tests_makes_no_live_token(oauth: OAuth) -> None:
    world = oauth.world
    application = await oauth.client()
    for environment in ("test", "live"):
        body = CreateKey(oauth.project.id, "k", permissions=["orders:read"], environment=Environment(environment))
        key = (await keys.create(world.authority, world.root, body)).credential
        kind = "urn:keybearer:params:oauth:token-type:api-key"
        fields = {"subject_token": key, "subject_token_type": kind, "resource": API}
        token = (await application.tokens(GrantType.TOKEN_EXCHANGE.value, **fields))["access_token"]
        again = {"subject_token": token, "subject_token_type": ACCESS}
        narrower = (await application.tokens(GrantType.TOKEN_EXCHANGE.value, **again))["access_token"]
        for text in (token, narrower):
            assert (await world.verify(text, api=API))["credential"]["environment"] == environment
            async with world.http(text, client=("127.0.0.1", 1)) as http:
                answer = await http.get("/forward-auth", params={"api": API}, headers={"x-original-uri": "/"})
                assert answer.status_code == 200, answer.text
                assert answer.headers["x-keybearer-environment"] == environment
                assert (await http.get("/v1/whoami")).json()["environment"] == environment
