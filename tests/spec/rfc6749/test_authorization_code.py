"""The authorization code grant at the token endpoint, with PKCE."""

from __future__ import annotations

import pytest

from keybearer.core.credential import split
from tests.support.oauth import API, REDIRECT, VERIFIER, OAuth, error_of

pytestmark = pytest.mark.anyio


@pytest.mark.spec("RFC 6749", "4.1.4", "MUST")
@pytest.mark.spec("RFC 6749", "5.1", "MUST")
async def test_a_code_becomes_tokens(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    said = await consent.tokens(scopes=("orders:read", "orders:write"))
    assert said["token_type"] == "Bearer"
    assert said["scope"] == "orders:read orders:write"
    assert said["refresh_token"].startswith("kb_rt_")
    found = await oauth.introspect(said["access_token"])
    assert (found["sub"], found["client_id"]) == (consent.user.id, consent.application.client.id)
    assert (found["aud"], found["scope"]) == (API, said["scope"])


@pytest.mark.spec("RFC 6749", "4.1.3", "MUST")
async def test_the_redirect_uri_must_be_the_one_of_the_request(oauth: OAuth) -> None:
    application = await oauth.client(redirect_uris=(REDIRECT, REDIRECT + "/other"))
    consent = await oauth.consent(application)
    code = await consent.code()
    for wrong in (REDIRECT + "/other", REDIRECT + "/", REDIRECT.upper(), REDIRECT + "?", " " + REDIRECT):
        assert error_of(await application.redeem(code, redirect_uri=wrong)) == (400, "invalid_grant")
    assert error_of(await application.redeem(code, redirect_uri="")) == (400, "invalid_request")
    assert (await application.redeem(code)).status_code == 200


@pytest.mark.spec("RFC 6749", "4.1.3", "MUST")
async def test_a_code_is_good_only_for_its_own_client(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    code = await consent.code()
    assert error_of(await (await oauth.client()).redeem(code)) == (400, "invalid_grant")
    assert error_of(await (await oauth.public_client()).redeem(code)) == (400, "invalid_grant")
    assert (await consent.application.redeem(code)).status_code == 200


@pytest.mark.spec("RFC 6749", "4.1.3", "MUST")
async def test_a_confidential_client_must_authenticate(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    form = {"grant_type": "authorization_code", "code": await consent.code(), "redirect_uri": REDIRECT}
    form |= {"code_verifier": VERIFIER, "client_id": consent.application.client.id}
    assert error_of(await oauth.post("/oauth/token", form)) == (401, "invalid_client")


@pytest.mark.spec("RFC 6749", "4.1.2", "MUST")
async def test_a_code_expires_soon(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    code = await consent.code()
    oauth.move(60)
    assert error_of(await consent.application.redeem(code)) == (400, "invalid_grant")


@pytest.mark.spec("RFC 6749", "4.1.2", "MUST NOT")
@pytest.mark.spec("RFC 6749", "4.1.2", "SHOULD")
async def test_a_code_that_comes_again_takes_back_what_it_gave(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    code = await consent.code(scopes=("orders:read",))
    said = (await consent.application.redeem(code)).json()
    renewed = (await consent.application.refresh(said["refresh_token"])).json()
    assert await oauth.is_active(said["access_token"])
    oauth.move(3600)  # long after its own end a code is still known
    fresh = (await consent.application.refresh(renewed["refresh_token"])).json()
    assert error_of(await consent.application.redeem(code)) == (400, "invalid_grant")
    assert not await oauth.is_active(fresh["access_token"])
    assert error_of(await consent.application.refresh(fresh["refresh_token"])) == (400, "invalid_grant")
    assert len(await oauth.audit("family.revoke")) == 1


async def test_without_a_refresh_token_too_a_code_takes_back_what_it_gave(oauth: OAuth) -> None:
    grants = tuple(kind for kind in (await oauth.client()).client.grant_types if kind != "refresh_token")
    consent = await oauth.consent(await oauth.client(grant_types=grants))
    code = await consent.code(scopes=("orders:read",))
    said = (await consent.application.redeem(code)).json()
    assert "refresh_token" not in said
    assert error_of(await consent.application.redeem(code)) == (400, "invalid_grant")
    assert not await oauth.is_active(said["access_token"])


async def test_a_code_of_another_client_that_comes_again_ends_nothing(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    code = await consent.code(scopes=("orders:read",))
    said = (await consent.application.redeem(code)).json()
    assert error_of(await (await oauth.client()).redeem(code)) == (400, "invalid_grant")
    assert await oauth.is_active(said["access_token"])


@pytest.mark.spec("RFC 7636", "4.6", "MUST")
async def test_the_verifier_must_belong_to_the_challenge(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    code = await consent.code(scopes=("orders:read",))
    wrong = [VERIFIER[:-1] + "A", VERIFIER + "A", VERIFIER[:-1], VERIFIER.lower(), "x" * 43, "x" * 129, "a" * 42]
    for verifier in wrong:
        assert error_of(await consent.application.redeem(code, code_verifier=verifier)) == (400, "invalid_grant")
    assert error_of(await consent.application.redeem(code, code_verifier="")) == (400, "invalid_request")
    assert (await consent.application.redeem(code)).status_code == 200


@pytest.mark.spec("RFC 9700", "2.1.1", "MUST")
async def test_a_verifier_without_an_earlier_challenge_is_refused(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    code = await consent.code(code_challenge="", scopes=("orders:read",))
    assert error_of(await consent.application.redeem(code)) == (400, "invalid_grant")
    assert (await consent.application.redeem(code, code_verifier="")).status_code == 200


@pytest.mark.spec("RFC 6749", "5.2", "MUST")
async def test_what_is_no_code_is_refused(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    said = await consent.tokens(scopes=("orders:read",))
    code = await consent.code()
    others = [said["access_token"], said["refresh_token"], consent.application.secret, code[:-1], code + "A", "x", "ä"]
    for text in others:
        assert error_of(await consent.application.redeem(text)) == (400, "invalid_grant")
    assert error_of(await consent.application.redeem("")) == (400, "invalid_request")


async def test_what_the_code_rested_on_must_still_stand(oauth: OAuth) -> None:
    application = await oauth.client()
    for ended in ("user", "session", "grant"):
        consent = await oauth.consent(application)
        code = await consent.code(scopes=("orders:read",))
        state = "disabled" if ended == "user" else "revoked"
        from keybearer.core.records import State

        await oauth.change(getattr(consent, ended), state=State(state))
        assert error_of(await application.redeem(code)) == (400, "invalid_grant"), ended


async def test_offline_access_outlives_the_session(oauth: OAuth) -> None:
    from keybearer.core.records import State

    consent = await oauth.consent(await oauth.client())
    online = await consent.tokens(scopes=("orders:read",))
    offline = await consent.tokens(scopes=("orders:read", "offline_access"), offline=True)
    await oauth.change(consent.session, state=State.REVOKED)
    assert error_of(await consent.application.refresh(online["refresh_token"])) == (400, "invalid_grant")
    assert not await oauth.is_active(online["access_token"])
    assert (await consent.application.refresh(offline["refresh_token"])).status_code == 200
    assert await oauth.is_active(offline["access_token"])


@pytest.mark.spec("RFC 6749", "10.10", "MUST")
async def test_codes_and_tokens_have_160_bits_and_more(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    code = await consent.code(scopes=("orders:read",))
    said = (await consent.application.redeem(code)).json()
    for text in (code, said["access_token"]):
        assert split(text) is not None
        assert len(text.rpartition("_")[2]) == 38  # 32 random characters of 62, and the checksum
