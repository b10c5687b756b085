"""Token exchange: API keys, access tokens and ID tokens become tokens that reach no further."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keybearer.core.clients import GrantType
from keybearer.core.instant import Instant
from keybearer.core.records import ApiKey, Project, State, TokenFormat
from keybearer.services import keys, rotation
from keybearer.wire.keys import CreateKey, RestrictionsSpec, RevokeKey, RotateKey
from keybearer.wire.limits import RateLimitSpec
from tests.support.oauth import API, OAuth, error_of, new_key, proof

pytestmark = pytest.mark.anyio
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
ID = "urn:ietf:params:oauth:token-type:id_token"
KEY = "urn:keybearer:params:oauth:token-type:api-key"
BAD = (400, "invalid_grant")


async def a_key(oauth: OAuth, **changes: Any) -> tuple[str, str]:
    """A secret key of the project that may read and write orders."""
    body = {"project_id": oauth.project.id, "name": "server", "permissions": ["orders:read", "orders:write"], **changes}
    issued = await keys.create(oauth.world.authority, oauth.world.root, CreateKey(**body))
    return issued.key.id, issued.credential


def of_key(credential: str, **more: Any) -> dict[str, Any]:
    return {"subject_token": credential, "subject_token_type": KEY, **more}


def of_token(token: str, **more: Any) -> dict[str, Any]:
    return {"subject_token": token, "subject_token_type": ACCESS, **more}


@pytest.mark.spec("RFC 8693", "2.2.1", "MUST")
async def test_a_key_becomes_a_token(oauth: OAuth) -> None:
    key_id, credential = await a_key(oauth)
    answer = await (await oauth.client()).token(EXCHANGE, **of_key(credential, resource=API))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert said["issued_token_type"] == ACCESS
    assert (said["token_type"], said["scope"], said["expires_in"]) == ("Bearer", "orders:read orders:write", 600)
    assert "refresh_token" not in said
    found = await oauth.introspect(said["access_token"])
    assert (found["sub"], found["aud"]) == (key_id, API)


async def test_a_keys_token_may_only_be_narrower(oauth: OAuth) -> None:
    _, credential = await a_key(oauth, permissions=["orders:read"])
    application = await oauth.client()
    assert (await application.tokens(EXCHANGE, **of_key(credential, scope="orders:read")))["scope"] == "orders:read"
    for more in ("orders:write", "orders:read orders:write", "openid"):
        answer = await application.token(EXCHANGE, **of_key(credential, scope=more))
        assert error_of(answer) == (400, "invalid_scope")
    ceiling = await oauth.client(scopes=("orders:write",))
    answer = await ceiling.token(EXCHANGE, **of_key(credential, scope="orders:read"))
    assert error_of(answer) == (400, "invalid_scope")


async def test_a_keys_token_dies_with_the_key(oauth: OAuth) -> None:
    key_id, credential = await a_key(oauth)
    application = await oauth.client()
    token = (await application.tokens(EXCHANGE, **of_key(credential, resource=API)))["access_token"]
    authority, root = oauth.world.authority, oauth.world.root
    await keys.revoke(authority, root, key_id, RevokeKey())
    assert not await oauth.is_active(token)
    assert error_of(await application.token(EXCHANGE, **of_key(credential, resource=API))) == BAD


@pytest.mark.parametrize("token_format", list(TokenFormat))
async def test_a_keys_token_dies_with_the_secret_it_was_exchanged_for(oauth: OAuth, token_format: TokenFormat) -> None:
    await oauth.change(oauth.api, token_format=token_format)
    key_id, first = await a_key(oauth)
    application = await oauth.client()
    authority, root = oauth.world.authority, oauth.world.root

    async def exchanged(credential: str) -> str:
        return str((await application.tokens(EXCHANGE, **of_key(credential, resource=API)))["access_token"])

    old = await exchanged(first)
    narrowed = (await application.tokens(EXCHANGE, **of_token(old)))["access_token"]
    second = (await rotation.rotate(authority, root, key_id, RotateKey(grace_in=600))).credential
    new = await exchanged(second)
    assert [await oauth.is_active(token) for token in (old, narrowed, new)] == [True, True, True]
    await rotation.revoke_one(authority, root, key_id, 1, RevokeKey())
    assert [await oauth.is_active(token) for token in (old, narrowed, new)] == [False, False, True]


async def test_a_keys_token_ends_no_later_than_the_key(oauth: OAuth) -> None:
    key_id, credential = await a_key(oauth)
    key = await oauth.world.authority.store.get(ApiKey, key_id)
    await oauth.change(key, expires_at=Instant(oauth.now + 90_000_000))
    said = await (await oauth.client()).tokens(EXCHANGE, **of_key(credential, resource=API))
    assert said["expires_in"] == 90
    version = replace(key.versions[0], expires_at=Instant(oauth.now + 30_000_000))
    await oauth.change(key, versions=(version,))
    said = await (await oauth.client()).tokens(EXCHANGE, **of_key(credential, resource=API))
    assert said["expires_in"] == 30


async def test_a_keys_token_has_the_keys_limits(oauth: OAuth) -> None:
    limit = RateLimitSpec(name="requests", limit=3, period_in=86_400)
    key_id, credential = await a_key(oauth, limits=[limit])
    application = await oauth.client()
    tokens = [
        (await application.tokens(EXCHANGE, **of_key(credential, resource=API)))["access_token"] for _ in range(2)
    ]
    records = [await oauth.world.authority.records.find_token("at_" + token.split("_")[2]) for token in tokens]
    key_record = await oauth.world.authority.records.find(key_id)
    assert key_record is not None
    for record in records:
        assert record is not None
        assert set(key_record.limits) <= set(record.limits)  # the same buckets, not copies
        assert record.counted_as == key_id
        assert record.restrictions == key_record.restrictions


async def test_a_keys_restrictions_are_inherited(oauth: OAuth) -> None:
    other = await oauth.another_api("https://other.example", "orders:read")
    restrictions = RestrictionsSpec(apis=[other.id], ip_networks=["192.0.2.0/24"])
    _, credential = await a_key(oauth, permissions=["orders:read"], restrictions=restrictions)
    application = await oauth.client()
    answer = await application.token(EXCHANGE, **of_key(credential, resource=API))
    assert error_of(answer) == (400, "invalid_target")
    said = await application.tokens(EXCHANGE, **of_key(credential))
    record = await oauth.world.authority.records.find_token("at_" + said["access_token"].split("_")[2])
    assert record is not None
    assert record.restrictions.ip_networks == ("192.0.2.0/24",)
    fields: dict[str, Any] = {"grant_type": EXCHANGE, **of_key(credential)}
    headers: dict[str, str] = {}
    application.credentials(fields, headers)
    assert error_of(await oauth.post("/oauth/token", fields, headers, client=("198.51.100.1", 1))) == BAD


async def test_only_secret_keys_of_the_clients_own_project_are_exchanged(oauth: OAuth) -> None:
    restrictions = RestrictionsSpec(origins=["https://site.example"])
    read_only = await oauth.another_api("https://public.example")
    from keybearer.core.records import Permission

    await oauth.change(read_only, permissions=(Permission("pages:read", "", True),))
    await oauth.world.authority.records.refresh()
    _, publishable = await a_key(oauth, kind="publishable_key", permissions=["pages:read"], restrictions=restrictions)
    at = {"created_at": oauth.now, "updated_at": oauth.now}
    elsewhere = Project(id="proj_elsewhere0000000", **at, name="Other", enabled_apis=(oauth.api.id,))
    await oauth.insert(elsewhere)
    _, foreign = await a_key(oauth, project_id=elsewhere.id)
    application = await oauth.client()
    for credential in (publishable, foreign, oauth.world.root_key, publishable[:-1], "x", application.secret):
        assert error_of(await application.token(EXCHANGE, **of_key(credential))) == BAD


@pytest.mark.spec("RFC 8693", "2.1", "MUST")
async def test_an_access_token_becomes_a_narrower_one(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    subject = (await consent.tokens(scopes=("orders:read", "orders:write")))["access_token"]
    oauth.move(100)
    said = await consent.application.tokens(EXCHANGE, **of_token(subject, scope="orders:read"))
    assert (said["scope"], said["expires_in"]) == ("orders:read", 500)  # ends with its subject
    found = await oauth.introspect(said["access_token"])
    assert (found["sub"], found["client_id"]) == (consent.user.id, consent.application.client.id)
    for more in ("orders:refund", "orders:read orders:refund", "openid"):
        answer = await consent.application.token(EXCHANGE, **of_token(said["access_token"], scope=more))
        assert error_of(answer) == (400, "invalid_scope")
    answer = await consent.application.token(EXCHANGE, **of_token(said["access_token"], scope="orders:write"))
    assert error_of(answer) == (400, "invalid_scope")


async def test_an_exchanged_token_dies_with_what_its_subject_came_from(oauth: OAuth) -> None:
    service = await oauth.client()
    for what in ("grant", "session", "family"):
        consent = await oauth.consent(await oauth.client())
        tokens = await consent.tokens(scopes=("orders:read",))
        said = await service.tokens(EXCHANGE, **of_token(tokens["access_token"]))
        assert await oauth.is_active(said["access_token"])
        if what == "family":
            await consent.application.post("/oauth/revoke", {"token": tokens["refresh_token"]})
        else:
            await oauth.change(getattr(consent, what), state=State.REVOKED)
        assert not await oauth.is_active(said["access_token"]), what
        assert error_of(await service.token(EXCHANGE, **of_token(tokens["access_token"]))) == BAD


@pytest.mark.spec("RFC 8707", "2.2", "MUST NOT")
async def test_another_audience_needs_the_users_consent(oauth: OAuth) -> None:
    other = await oauth.another_api("https://other.example", "orders:read")
    application = await oauth.client()
    consent = await oauth.consent(application)
    code = await consent.code(scopes=("orders:read",), resources=(oauth.api.id,))
    subject = (await application.redeem(code)).json()["access_token"]
    answer = await application.token(EXCHANGE, **of_token(subject, resource=other.identifier))
    assert error_of(answer) == (400, "invalid_target")
    await oauth.change(consent.grant, resources=(oauth.api.id, other.id))
    said = await application.tokens(EXCHANGE, **of_token(subject, resource=other.identifier))
    assert (await oauth.introspect(said["access_token"]))["aud"] == other.identifier
    # The consent was given to this client, not to whoever holds its token.
    stranger = await oauth.client()
    answer = await stranger.token(EXCHANGE, **of_token(subject, audience=other.identifier))
    assert error_of(answer) == (400, "invalid_target")


async def test_a_bound_subject_needs_its_key(oauth: OAuth) -> None:
    key = new_key()
    application = await oauth.client()
    subject = (await application.tokens(scope="orders:read", headers={"dpop": proof(oauth, key)}))["access_token"]
    assert error_of(await application.token(EXCHANGE, **of_token(subject))) == BAD
    other = await application.token(EXCHANGE, **of_token(subject), headers={"dpop": proof(oauth, new_key())})
    assert error_of(other) == BAD
    said = await application.tokens(EXCHANGE, **of_token(subject), headers={"dpop": proof(oauth, key)})
    assert said["token_type"] == "DPoP"


@pytest.mark.spec("RFC 8693", "4.1", "MUST")
async def test_the_actor_is_named_and_chains(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    subject = (await consent.tokens(scopes=("orders:read",)))["access_token"]
    service = await oauth.client()
    own = (await service.tokens(scope="orders:read"))["access_token"]
    actor = {"actor_token": own, "actor_token_type": ACCESS}
    said = await service.tokens(EXCHANGE, **of_token(subject, **actor))
    found = await oauth.introspect(said["access_token"])
    assert found["sub"] == consent.user.id
    assert found["act"] == {"sub": service.client.id, "client_id": service.client.id}
    key_id, credential = await a_key(oauth)
    more = {"actor_token": credential, "actor_token_type": KEY}
    said = await service.tokens(EXCHANGE, **of_token(said["access_token"], **more))
    found = await oauth.introspect(said["access_token"])
    assert found["act"] == {"sub": key_id, "act": {"sub": service.client.id, "client_id": service.client.id}}
    kept = await service.tokens(EXCHANGE, **of_token(said["access_token"]))
    assert (await oauth.introspect(kept["access_token"]))["act"] == found["act"]
    for _ in range(3):
        said = await service.tokens(EXCHANGE, **of_token(said["access_token"], **more))
    assert error_of(await service.token(EXCHANGE, **of_token(said["access_token"], **more))) == (400, "invalid_request")


async def test_an_actor_is_the_client_itself(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    subject = (await consent.tokens(scopes=("orders:read",)))["access_token"]
    service, other = await oauth.client(), await oauth.client()
    theirs = (await other.tokens(scope="orders:read"))["access_token"]
    answer = await service.token(EXCHANGE, **of_token(subject, actor_token=theirs, actor_token_type=ACCESS))
    assert error_of(answer) == BAD


@pytest.mark.spec("RFC 8693", "2.2.2", "MUST")
async def test_wrong_requests(oauth: OAuth) -> None:
    application = await oauth.client()
    token = (await application.tokens(scope="orders:read"))["access_token"]
    wrong = [
        {},
        {"subject_token": token},
        {"subject_token_type": ACCESS},
        {"subject_token": token, "subject_token_type": "urn:example:unknown"},
        {"subject_token": token, "subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        of_token(token, actor_token=token),
        of_token(token, actor_token_type=ACCESS),
        of_token(token, actor_token=token, actor_token_type="x"),
        of_token(token, requested_token_type="urn:ietf:params:oauth:token-type:refresh_token"),
    ]
    for form in wrong:
        assert error_of(await application.token(EXCHANGE, **form)) == (400, "invalid_request"), form
    for form in (of_token("x"), of_token(token[:-1]), {"subject_token": token, "subject_token_type": KEY}):
        assert error_of(await application.token(EXCHANGE, **form)) == BAD, form
    unknown = of_token(token, resource="https://unknown.example")
    assert error_of(await application.token(EXCHANGE, **unknown)) == (400, "invalid_target")
    without = await oauth.client(grant_types=(GrantType.CLIENT_CREDENTIALS,))
    assert error_of(await without.token(EXCHANGE, **of_token(token))) == (400, "unauthorized_client")


async def test_a_token_of_another_project_is_nobodys(oauth: OAuth) -> None:
    at = {"created_at": oauth.now, "updated_at": oauth.now}
    elsewhere = Project(id="proj_elsewhere0000000", **at, name="Other", enabled_apis=(oauth.api.id,))
    await oauth.insert(elsewhere)
    stranger = await oauth.client(elsewhere)
    token = (await stranger.tokens(scope="orders:read"))["access_token"]
    assert error_of(await (await oauth.client()).token(EXCHANGE, **of_token(token))) == BAD


async def test_an_id_token_becomes_what_its_user_agreed_to(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client(), scopes=("openid", "orders:read"))
    id_token = (await consent.tokens(scopes=("openid", "orders:read")))["id_token"]
    form = {"subject_token": id_token, "subject_token_type": ID}
    said = await consent.application.tokens(EXCHANGE, **form, resource=API)
    assert said["scope"] == "orders:read"
    assert (await oauth.introspect(said["access_token"]))["sub"] == consent.user.id
    answer = await consent.application.token(EXCHANGE, **form, resource=API, scope="orders:write")
    assert error_of(answer) == (400, "invalid_scope")
    assert error_of(await (await oauth.client()).token(EXCHANGE, **form)) == BAD  # it is for another client
    head, body, tail = id_token.split(".")
    assert error_of(await consent.application.token(EXCHANGE, **{**form, "subject_token": f"{head}.{body}."})) == BAD
    flipped = f"{head}.{body}.{tail[:-4]}AAAA"
    assert error_of(await consent.application.token(EXCHANGE, **{**form, "subject_token": flipped})) == BAD
    await oauth.change(consent.session, state=State.REVOKED)
    assert error_of(await consent.application.token(EXCHANGE, **form, resource=API)) == BAD
