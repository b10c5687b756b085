"""Refresh tokens rotate; a repetition within the grace gets the same successor, and a stolen one ends the line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keybearer.core import base62, credential
from keybearer.core.clients import ClientAuthMethod
from keybearer.core.instant import DAY
from keybearer.core.permissions import holds
from keybearer.core.records import State
from tests.support.oauth import ASSERTION_TYPE, OAuth, assertion, error_of, new_key, proof, public_of

pytestmark = pytest.mark.anyio
READ = ("orders:read",)
GONE = (400, "invalid_grant")


@pytest.mark.spec("RFC 6749", "6", "MAY")
@pytest.mark.spec("RFC 9700", "2.2.2", "MUST")
async def test_each_use_gives_a_new_refresh_token(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    seen = [(await consent.tokens(scopes=READ))["refresh_token"]]
    for _ in range(4):
        said = (await consent.application.refresh(seen[-1])).json()
        assert said["scope"] == "orders:read"
        assert await oauth.is_active(said["access_token"])
        seen.append(said["refresh_token"])
    assert len(set(seen)) == 5
    assert len({credential.split(text) for text in seen}) == 1  # one family, one public id


async def test_a_repetition_within_the_grace_gets_the_same_successor(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    first = (await consent.tokens(scopes=READ))["refresh_token"]
    answers = [(await consent.application.refresh(first)).json() for _ in range(3)]
    oauth.move(19)
    answers.append((await consent.application.refresh(first)).json())
    assert len({answer["refresh_token"] for answer in answers}) == 1
    assert len({answer["access_token"] for answer in answers}) == 4
    assert (await consent.application.refresh(answers[0]["refresh_token"])).status_code == 200


@pytest.mark.spec("RFC 9700", "4.14.2", "MUST")
async def test_a_repetition_after_the_grace_ends_the_family(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    first = (await consent.tokens(scopes=READ))["refresh_token"]
    said = (await consent.application.refresh(first)).json()
    oauth.move(20)
    assert await oauth.is_active(said["access_token"])
    assert error_of(await consent.application.refresh(first)) == GONE
    assert not await oauth.is_active(said["access_token"])
    assert error_of(await consent.application.refresh(said["refresh_token"])) == GONE
    (entry,) = await oauth.audit("family.revoke")
    assert "replaced" in str(entry.details["reason"])


@pytest.mark.spec("RFC 9700", "4.14.2", "MUST")
async def test_once_the_successor_was_used_the_token_before_it_ends_the_family(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    first = (await consent.tokens(scopes=READ))["refresh_token"]
    second = (await consent.application.refresh(first)).json()["refresh_token"]
    third = (await consent.application.refresh(second)).json()
    assert error_of(await consent.application.refresh(first)) == GONE
    assert error_of(await consent.application.refresh(third["refresh_token"])) == GONE
    assert not await oauth.is_active(third["access_token"])


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.1", "MUST NOT")
async def test_what_keys_bind_does_not_rotate_and_still_ends(oauth: OAuth) -> None:
    key = new_key()
    application = await oauth.client(
        token_endpoint_auth_method=ClientAuthMethod.PRIVATE_KEY_JWT,
        jwks={"keys": [public_of(key)]},
        dpop_bound_access_tokens=True,
        refresh_idle_in=10 * DAY,
        refresh_token_in=25 * DAY,
    )
    consent = await oauth.consent(application)

    def proved() -> dict[str, Any]:
        said = {"client_assertion": assertion(oauth, application, key), "client_assertion_type": ASSERTION_TYPE}
        return {**said, "headers": {"dpop": proof(oauth, new_key())}}

    code = await consent.code(scopes=READ, offline=True, session_id="")
    text = (await application.redeem(code, **proved())).json()["refresh_token"]
    for _ in range(2):  # each use keeps it from lying idle
        oauth.move(9 * 86_400)
        answer = await application.refresh(text, **proved())
        assert answer.status_code == 200, answer.text
        assert "refresh_token" not in answer.json()
    assert error_of(await application.refresh(text, headers={})) == (401, "invalid_client")
    first, second = await asyncio.gather(*(application.refresh(text, **proved()) for _ in range(2)))
    assert first.status_code == second.status_code == 200
    oauth.move(8 * 86_400)  # the line as a whole is over
    assert error_of(await application.refresh(text, **proved())) == GONE


async def test_a_guess_ends_nothing(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    text = (await consent.tokens(scopes=READ))["refresh_token"]
    body = text[:-6]
    forged = [body[:-20] + base62.random_text(20) for _ in range(20)]
    for guess in forged:
        assert error_of(await consent.application.refresh(guess + credential.checksum(guess))) == GONE
    assert (await consent.application.refresh(text)).status_code == 200
    assert await oauth.audit("family.revoke") == []


@pytest.mark.spec("RFC 6749", "6", "MUST")
async def test_a_refresh_token_is_its_own_clients(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    text = (await consent.tokens(scopes=READ))["refresh_token"]
    assert error_of(await (await oauth.client()).refresh(text)) == GONE
    assert error_of(await (await oauth.public_client()).refresh(text)) == GONE
    answer = await oauth.post(
        "/oauth/token",
        {"grant_type": "refresh_token", "refresh_token": text, "client_id": consent.application.client.id},
    )
    assert error_of(answer) == (401, "invalid_client")
    assert (await consent.application.refresh(text)).status_code == 200


@pytest.mark.spec("RFC 6749", "6", "MUST")
async def test_a_refresh_token_without_a_consent_is_its_own_clients_too(oauth: OAuth) -> None:
    """ZITADEL CVE-2026-55672: the client binding was missing. A first-party client has no grant that would tell."""
    consent = await oauth.consent(await oauth.client(is_first_party=True))
    text = (await consent.tokens(scopes=READ, grant_id=""))["refresh_token"]
    assert error_of(await (await oauth.client(is_first_party=True)).refresh(text)) == GONE
    assert (await consent.application.refresh(text)).status_code == 200


@pytest.mark.spec("RFC 6749", "6", "MUST NOT")
async def test_the_scope_can_be_narrowed_for_one_token_and_never_widened(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    said = await consent.tokens(scopes=("orders:read", "orders:write"))
    narrow = (await consent.application.refresh(said["refresh_token"], scope="orders:read")).json()
    assert narrow["scope"] == "orders:read"
    for more in ("orders:refund", "orders:read orders:refund", "openid"):
        assert error_of(await consent.application.refresh(narrow["refresh_token"], scope=more)) == (
            400,
            "invalid_scope",
        )
    whole = (await consent.application.refresh(narrow["refresh_token"])).json()
    assert whole["scope"] == "orders:read orders:write"


@pytest.mark.spec("RFC 9700", "4.14.2", "SHOULD")
async def test_a_family_ends_unused_and_absolutely(oauth: OAuth) -> None:
    application = await oauth.client(refresh_idle_in=2 * DAY, refresh_token_in=5 * DAY)
    consent = await oauth.consent(application)
    idle = (await consent.tokens(scopes=READ))["refresh_token"]
    busy = (await consent.tokens(scopes=READ))["refresh_token"]
    for day in range(5):
        if day == 2:
            assert error_of(await application.refresh(idle)) == GONE
        answer = await application.refresh(busy)
        assert answer.status_code == 200, day
        busy = answer.json()["refresh_token"]
        oauth.move(24 * 3600)
    assert error_of(await application.refresh(busy)) == GONE


async def test_rights_are_looked_at_again_with_each_refresh(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    user = await oauth.change(consent.user, permissions=("orders:refund",))
    said = await consent.tokens(scopes=("orders:read", "orders:write", "orders:refund"))
    assert said["scope"] == "orders:read orders:write orders:refund"
    await oauth.change(user, permissions=())
    said = (await consent.application.refresh(said["refresh_token"])).json()
    assert said["scope"] == "orders:read orders:write"
    grant = await oauth.change(consent.grant, scopes=("orders:read",))
    said = (await consent.application.refresh(said["refresh_token"])).json()
    assert said["scope"] == "orders:read"
    await oauth.change(consent.application.client, scopes=("orders:write",))
    assert error_of(await consent.application.refresh(said["refresh_token"])) == (400, "invalid_scope")
    await oauth.change(grant, state=State.REVOKED)
    assert error_of(await consent.application.refresh(said["refresh_token"])) == GONE


async def test_a_disabled_user_or_client_or_project_gets_nothing_more(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    text = (await consent.tokens(scopes=READ))["refresh_token"]
    user = await oauth.change(consent.user, state=State.DISABLED)
    assert error_of(await consent.application.refresh(text)) == GONE
    await oauth.change(user, state=State.ENABLED)
    client = await oauth.change(consent.application.client, state=State.DISABLED)
    assert error_of(await consent.application.refresh(text)) == (401, "invalid_client")
    await oauth.change(client, state=State.ENABLED)
    await oauth.change(oauth.project, state=State.DISABLED)
    assert error_of(await consent.application.refresh(text)) == (401, "invalid_client")


async def test_a_revoked_family_is_over_inside_the_grace_too(oauth: OAuth) -> None:
    """django-oauth-toolkit #1816: within the grace a revoked token was good again."""
    consent = await oauth.consent(await oauth.client())
    first = (await consent.tokens(scopes=READ))["refresh_token"]
    second = (await consent.application.refresh(first)).json()["refresh_token"]
    answer = await consent.application.post("/oauth/revoke", {"token": second})
    assert (answer.status_code, answer.content) == (200, b"")
    for text in (first, second):
        assert error_of(await consent.application.refresh(text)) == GONE


@pytest.mark.spec("RFC 6749", "10.4", "MUST")
async def test_only_digests_and_sealed_tokens_are_stored(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    first = await consent.tokens(scopes=READ)
    second = (await consent.application.refresh(first["refresh_token"])).json()
    parsed = credential.split(second["refresh_token"])
    assert parsed is not None
    family = await oauth.world.authority.store.get_family("rt_" + parsed[1])
    stored = repr(family).encode() + family.sealed_successor + family.digest + family.previous_digest
    for said in (first, second):
        for name in ("refresh_token", "access_token"):
            assert said[name].encode() not in stored
            assert said[name].rpartition("_")[2].encode() not in stored
    assert holds(frozenset(family.scopes), "orders:read")
