"""DPoP at the token endpoint: proofs, nonces, and what tokens are bound to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from keybearer.core.instant import SECOND
from keybearer.core.oauth_error import InvalidDpopProof, UseDpopNonce
from keybearer.services.dpop import check_proof, new_nonce, normalised, thumbprint_of
from tests.support.oauth import ISSUER, OAuth, ath, error_of, new_key, oauth_world, proof, public_of

pytestmark = pytest.mark.anyio
KEY = new_key()
BAD = (400, "invalid_dpop_proof")


@pytest.mark.spec("RFC 9449", "5", "MUST")
@pytest.mark.spec("RFC 9449", "6.2", "MUST")
async def test_a_proof_binds_the_token_to_its_key(oauth: OAuth) -> None:
    said = await (await oauth.client()).tokens(headers={"dpop": proof(oauth, KEY)})
    assert said["token_type"] == "DPoP"
    found = await oauth.introspect(said["access_token"])
    assert found["token_type"] == "DPoP"
    assert found["cnf"] == {"jkt": thumbprint_of(public_of(KEY))}


@pytest.mark.spec("RFC 9449", "4.3", "MUST")
@pytest.mark.parametrize(
    "changes",
    [
        {"jti": None},
        {"jti": ""},
        {"jti": 1},
        {"jti": "x" * 300},
        {"htm": None},
        {"htm": "GET"},
        {"htm": "post"},
        {"htu": None},
        {"htu": ISSUER + "/oauth/tokens"},
        {"htu": ISSUER + "/oauth/token/"},
        {"htu": "https://other.example/oauth/token"},
        {"htu": "http://auth.example/oauth/token"},
        {"htu": "https://auth.example:8443/oauth/token"},
        {"htu": "https://user@auth.example/oauth/token"},
        {"iat": None},
        {"iat": "now"},
        {"iat": 0},
        {"iat": True},
        {"header": {"typ": "JWT"}},
        {"header": {"typ": None}},
        {"header": {"jwk": None}},
        {"header": {"jwk": public_of(new_key())}},
        {"header": {"jwk": {"kty": "oct", "k": "AAAA"}}},
        {"header": {"jwk": KEY.as_dict(private=True)}},
    ],
    ids=lambda changes: "+".join(changes),
)
async def test_each_part_of_a_proof_is_checked(oauth: OAuth, changes: Mapping[str, Any]) -> None:
    application = await oauth.client()
    assert error_of(await application.token(headers={"dpop": proof(oauth, KEY, **changes)})) == BAD


@pytest.mark.spec("RFC 9449", "4.3", "MUST")
async def test_a_proof_is_fresh(oauth: OAuth) -> None:
    application = await oauth.client()
    now = oauth.now // SECOND
    for offset in (-61, 61, -3600, 3600):
        assert error_of(await application.token(headers={"dpop": proof(oauth, KEY, iat=now + offset)})) == BAD
    for offset in (-55, 55):
        await application.tokens(headers={"dpop": proof(oauth, KEY, iat=now + offset)})


@pytest.mark.spec("RFC 9449", "11.1", "SHOULD")
async def test_a_proof_counts_once(oauth: OAuth) -> None:
    application = await oauth.client()
    text = proof(oauth, KEY)
    await application.tokens(headers={"dpop": text})
    assert error_of(await application.token(headers={"dpop": text})) == BAD
    # The jti is of one key: another key may choose the same.
    await application.tokens(headers={"dpop": proof(oauth, KEY, jti="same")})
    await application.tokens(headers={"dpop": proof(oauth, new_key(), jti="same")})


@pytest.mark.spec("RFC 9449", "4.3", "MUST")
async def test_there_is_one_proof(oauth: OAuth) -> None:
    application = await oauth.client()
    fields: dict[str, Any] = {"grant_type": "client_credentials"}
    headers: dict[str, str] = {}
    application.credentials(fields, headers)
    twice = [*headers.items(), ("dpop", proof(oauth, KEY)), ("dpop", proof(oauth, KEY))]
    twice.append(("content-type", "application/x-www-form-urlencoded"))
    async with oauth.world.http("") as http:
        answer = await http.post("/oauth/token", content=b"grant_type=client_credentials", headers=twice)
    assert error_of(answer) == BAD
    for text in ("x", "a.b.c", "", proof(oauth, KEY)[:-2], proof(oauth, KEY) + "A"):
        assert error_of(await application.token(headers={"dpop": text})) == BAD


@pytest.mark.spec("RFC 9449", "4.3", "MUST")
async def test_the_url_is_compared_without_query_and_in_normal_form(oauth: OAuth) -> None:
    application = await oauth.client()
    for spelling in ("https://AUTH.example:443/oauth/token", ISSUER + "/oauth/token?x=1", ISSUER + "/oauth/token#x"):
        await application.tokens(headers={"dpop": proof(oauth, KEY, htu=spelling)})
    assert normalised("https://[::1]:443/a") == "https://[::1]/a"
    assert normalised("https://a.example") == "https://a.example/"
    assert normalised("::") == normalised("https://a:b") == ""


@pytest.mark.spec("RFC 9449", "5.2", "MUST")
async def test_a_client_that_wants_bound_tokens_gets_no_others(oauth: OAuth) -> None:
    application = await oauth.client(dpop_bound_access_tokens=True)
    assert error_of(await application.token()) == (400, "invalid_request")
    assert (await application.tokens(headers={"dpop": proof(oauth, KEY)}))["token_type"] == "DPoP"


@pytest.mark.spec("RFC 9449", "10", "MUST")
async def test_a_code_that_is_bound_to_a_key_needs_it(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    code = await consent.code(scopes=("orders:read",), key_thumbprint=thumbprint_of(public_of(KEY)))
    redeem = consent.application.redeem
    assert error_of(await redeem(code)) == (400, "invalid_grant")
    assert error_of(await redeem(code, headers={"dpop": proof(oauth, new_key())})) == (400, "invalid_grant")
    assert (await redeem(code, headers={"dpop": proof(oauth, KEY)})).json()["token_type"] == "DPoP"


@pytest.mark.spec("RFC 9449", "5", "MUST")
async def test_refresh_tokens_of_public_clients_are_bound(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    code = await consent.code(scopes=("orders:read",))
    said = (await consent.application.redeem(code, headers={"dpop": proof(oauth, KEY)})).json()
    refresh = consent.application.refresh
    assert error_of(await refresh(said["refresh_token"])) == (400, "invalid_grant")
    stranger = await refresh(said["refresh_token"], headers={"dpop": proof(oauth, new_key())})
    assert error_of(stranger) == (400, "invalid_grant")
    renewed = (await refresh(said["refresh_token"], headers={"dpop": proof(oauth, KEY)})).json()
    assert renewed["token_type"] == "DPoP"


@pytest.mark.spec("RFC 9449", "5", "MUST NOT")
async def test_refresh_tokens_of_confidential_clients_are_bound_by_their_authentication(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.client())
    code = await consent.code(scopes=("orders:read",))
    said = (await consent.application.redeem(code, headers={"dpop": proof(oauth, KEY)})).json()
    other = new_key()
    renewed = (await consent.application.refresh(said["refresh_token"], headers={"dpop": proof(oauth, other)})).json()
    found = await oauth.introspect(renewed["access_token"])
    assert found["cnf"] == {"jkt": thumbprint_of(public_of(other))}


@pytest.mark.spec("RFC 9449", "8", "MUST")
async def test_nonces() -> None:
    async with oauth_world(dpop_nonces=True) as oauth:
        application = await oauth.client()
        answer = await application.token(headers={"dpop": proof(oauth, KEY)})
        assert error_of(answer) == (400, "use_dpop_nonce")
        nonce = answer.headers["dpop-nonce"]
        good = await application.token(headers={"dpop": proof(oauth, KEY, nonce=nonce)})
        assert good.status_code == 200
        assert good.headers["dpop-nonce"] == nonce
        oauth.move(200)
        await application.tokens(headers={"dpop": proof(oauth, KEY, nonce=nonce)})
        oauth.move(200)
        stale = await application.token(headers={"dpop": proof(oauth, KEY, nonce=nonce)})
        assert error_of(stale) == (400, "use_dpop_nonce")
        assert stale.headers["dpop-nonce"] != nonce
        for wrong in ("", "x", nonce[:-1], nonce + "x", 7, ["x"]):
            answer = await application.token(headers={"dpop": proof(oauth, KEY, nonce=wrong)})
            assert error_of(answer) == (400, "use_dpop_nonce")


async def test_a_nonce_that_nobody_asked_for_is_checked_all_the_same(oauth: OAuth) -> None:
    application = await oauth.client()
    nonce = new_nonce(oauth.world.authority.keyring, oauth.now)
    await application.tokens(headers={"dpop": proof(oauth, KEY, nonce=nonce)})
    answer = await application.token(headers={"dpop": proof(oauth, KEY, nonce="made up")})
    assert error_of(answer) == (400, "use_dpop_nonce")


@pytest.mark.spec("RFC 9449", "4.3", "MUST")
async def test_a_proof_at_an_api_is_for_its_access_token(oauth: OAuth) -> None:
    url, token = "https://orders.example/orders/1", "kb_at_x"

    async def check(text: str, **more: Any) -> str:
        return await check_proof(oauth.world.authority, text, method="GET", url=url, access_token=token, **more)

    asked = {"method": "GET", "htu": url}
    assert await check(proof(oauth, KEY, ath=ath(token), **asked)) == thumbprint_of(public_of(KEY))
    for wrong in (None, ath("other"), "", 7):
        with pytest.raises(InvalidDpopProof):
            await check(proof(oauth, KEY, ath=wrong, **asked))
    with pytest.raises(UseDpopNonce):
        await check(proof(oauth, KEY, ath=ath(token), **asked), needs_nonce=True)
