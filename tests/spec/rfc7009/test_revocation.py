"""Revocation by clients."""

from __future__ import annotations

from typing import Any

import pytest

from keybearer.core.errors import Unavailable
from tests.support.oauth import JWT, OAuth, error_of

pytestmark = pytest.mark.anyio
READ = ("orders:read",)


def is_done(answer: Any) -> bool:
    """Whether the answer is the one constant of the specification."""
    return answer.status_code == 200 and answer.content == b"" and answer.headers["cache-control"] == "no-store"


@pytest.mark.spec("RFC 7009", "2.1", "MUST")
@pytest.mark.parametrize("written", ["opaque", "jwt"])
async def test_an_access_token_is_refused_at_once(oauth: OAuth, written: str) -> None:
    if written == "jwt":
        await oauth.change(oauth.api, token_format=JWT)
    application = await oauth.client()
    token = (await application.tokens(scope="orders:read"))["access_token"]
    other = (await application.tokens(scope="orders:read"))["access_token"]
    assert (await oauth.world.verify(token))["valid"]
    assert is_done(await application.post("/oauth/revoke", {"token": token}))
    assert (await oauth.world.verify(token))["code"] == "REVOKED"
    assert not await oauth.is_active(token)
    assert await oauth.is_active(other)
    assert is_done(await application.post("/oauth/revoke", {"token": token}))  # again
    assert len(await oauth.audit("token.revoke")) == 1


@pytest.mark.spec("RFC 7009", "2.1", "SHOULD")
async def test_a_refresh_token_takes_its_access_tokens_with_it(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    first = await consent.tokens(scopes=READ)
    second = (await consent.application.refresh(first["refresh_token"])).json()
    # Also the old one says which family is meant.
    assert is_done(await consent.application.post("/oauth/revoke", {"token": first["refresh_token"]}))
    for said in (first, second):
        assert not await oauth.is_active(said["access_token"])
        assert error_of(await consent.application.refresh(said["refresh_token"])) == (400, "invalid_grant")


@pytest.mark.spec("RFC 7009", "2.2", "MUST")
async def test_an_unknown_token_is_answered_like_a_revoked_one(oauth: OAuth) -> None:
    application = await oauth.client()
    token = (await application.tokens(scope="orders:read"))["access_token"]
    for text in ("x", "kb_at_x", token[:-1], token[:-7] + "AAAAAAA", "eyJ.eyJ.x", "ä" * 300):
        assert is_done(await application.post("/oauth/revoke", {"token": text}))
    assert await oauth.is_active(token)


@pytest.mark.spec("RFC 7009", "2.1", "MUST")
async def test_tokens_of_other_clients_are_left_alone(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    said = await consent.tokens(scopes=READ)
    stranger = await oauth.client()
    for name in ("access_token", "refresh_token"):
        answer = await stranger.post("/oauth/revoke", {"token": said[name]})
        assert error_of(answer) == (400, "invalid_grant")
    assert await oauth.is_active(said["access_token"])
    assert (await consent.application.refresh(said["refresh_token"])).status_code == 200


@pytest.mark.spec("RFC 7009", "2.1", "MUST")
async def test_the_client_authenticates(oauth: OAuth) -> None:
    application = await oauth.client()
    token = (await application.tokens(scope="orders:read"))["access_token"]
    for form in ({"token": token}, {"token": token, "client_id": application.client.id}):
        assert error_of(await oauth.post("/oauth/revoke", form)) == (401, "invalid_client")
    assert await oauth.is_active(token)
    assert error_of(await application.post("/oauth/revoke", {})) == (400, "invalid_request")


@pytest.mark.spec("RFC 7009", "2.1", "MUST")
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "unknown", ""])
async def test_a_wrong_hint_does_no_harm(oauth: OAuth, hint: str) -> None:
    consent = await oauth.consent(await oauth.client())
    said = await consent.tokens(scopes=READ)
    for name in ("access_token", "refresh_token"):
        form = {"token": said[name], "token_type_hint": hint}
        assert is_done(await consent.application.post("/oauth/revoke", form))
        assert not await oauth.is_active(said[name])


@pytest.mark.spec("RFC 7009", "2.2.1", "MAY")
async def test_what_is_no_token_is_not_silently_kept(oauth: OAuth) -> None:
    """Whoever sends an API key here must not think that it is revoked now."""
    consent = await oauth.consent(await oauth.client())
    for text in (oauth.world.root_key, consent.application.secret, await consent.code()):
        answer = await consent.application.post("/oauth/revoke", {"token": text})
        assert error_of(answer) == (400, "unsupported_token_type")


@pytest.mark.spec("RFC 7009", "2.2.1", "MUST")
async def test_a_storage_fault_is_never_answered_with_success(oauth: OAuth) -> None:
    """fosite CVE-2020-15223: a fault of the storage was answered 200."""
    consent = await oauth.consent(await oauth.client())
    said = await consent.tokens(scopes=READ)
    store = oauth.world.authority.store
    working = store.transact

    async def broken(work: Any) -> Any:
        raise Unavailable("The database does not answer.")

    store.transact = broken  # type: ignore[method-assign]
    try:
        for name in ("access_token", "refresh_token"):
            answer = await consent.application.post("/oauth/revoke", {"token": said[name]})
            assert error_of(answer) == (503, "temporarily_unavailable")
            assert answer.headers["retry-after"]
        answer = await consent.application.token(scope="orders:read")
        assert error_of(answer) == (503, "temporarily_unavailable")
        answer = await consent.application.refresh(said["refresh_token"])
        assert error_of(answer) == (503, "temporarily_unavailable")
    finally:
        store.transact = working  # type: ignore[method-assign]
    assert await oauth.is_active(said["access_token"])
    assert (await consent.application.refresh(said["refresh_token"])).status_code == 200
