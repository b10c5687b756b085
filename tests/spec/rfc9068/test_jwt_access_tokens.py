"""JWT access tokens: what is in one, and that it can be revoked like any other."""

from __future__ import annotations

from typing import Any

import pytest

from keybearer.core.records import TokenFormat
from keybearer.services.jwt_tokens import TYP
from tests.support.oauth import ISSUER, Application, OAuth, claims_in, header_in, new_key, signed

pytestmark = pytest.mark.anyio
ORDERS = "https://jwt.orders.example"


async def scene(oauth: OAuth) -> tuple[Application, str]:
    await oauth.another_api(ORDERS, "parcels:read", token_format=TokenFormat.JWT)
    application = await oauth.client(scopes=("parcels:read",))
    said = await application.tokens(resource=ORDERS, scope="parcels:read")
    return application, str(said["access_token"])


async def code_of(oauth: OAuth, token: str, **asked: Any) -> str:
    return str((await oauth.world.verify(token, api=ORDERS, **asked))["code"])


@pytest.mark.spec("RFC 9068", "2.1", "MUST")
@pytest.mark.spec("RFC 9068", "2.2", "MUST")
async def test_what_stands_in_one(oauth: OAuth) -> None:
    application, token = await scene(oauth)
    assert header_in(token)["typ"] == "at+jwt"
    assert header_in(token)["alg"] == "ES256"
    claims = claims_in(token)
    assert {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} <= claims.keys()
    assert (claims["iss"], claims["aud"], claims["client_id"]) == (ISSUER, ORDERS, application.client.id)
    assert claims["scope"] == "parcels:read"
    assert claims["exp"] - claims["iat"] <= 600


@pytest.mark.spec("RFC 9068", "4", "MUST")
async def test_it_opens_its_own_api_alone(oauth: OAuth) -> None:
    _, token = await scene(oauth)
    assert await code_of(oauth, token, permissions=["parcels:read"]) == "VALID"
    assert await code_of(oauth, token, permissions=["parcels:write"]) == "INSUFFICIENT_PERMISSIONS"
    assert (await oauth.world.verify(token, api=oauth.api.id))["code"] == "API_NOT_ALLOWED"
    oauth.move(601)
    assert await code_of(oauth, token) == "EXPIRED"


async def test_revoking_it_ends_it_at_the_next_request(oauth: OAuth) -> None:
    application, token = await scene(oauth)
    assert await code_of(oauth, token) == "VALID"
    assert (await application.post("/oauth/revoke", {"token": token})).status_code == 200
    assert await code_of(oauth, token) == "REVOKED"
    assert not await oauth.is_active(token)


@pytest.mark.parametrize("action", ["disable", "revoke", "delete"])
async def test_what_happens_to_its_client_happens_to_it(oauth: OAuth, action: str) -> None:
    application, token = await scene(oauth)
    assert await code_of(oauth, token) == "VALID"
    async with oauth.world.http() as http:
        path = f"/v1/clients/{application.client.id}"
        answer = await (http.delete(path) if action == "delete" else http.post(f"{path}/{action}"))
    assert answer.status_code == 200, answer.text
    assert await code_of(oauth, token) == ("OWNER_DISABLED" if action == "disable" else "REVOKED")


async def test_a_revoked_signing_key_takes_all_its_tokens_along(oauth: OAuth) -> None:
    application, token = await scene(oauth)
    assert await code_of(oauth, token) == "VALID"
    assert await code_of(oauth, token) == "VALID"  # and is known by now
    async with oauth.world.http() as http:
        assert (await http.post(f"/v1/signing-keys/{header_in(token)['kid']}/revoke")).status_code == 200
    assert await code_of(oauth, token) == "NOT_FOUND"
    fresh = (await application.tokens(resource=ORDERS, scope="parcels:read"))["access_token"]
    assert await code_of(oauth, fresh) == "VALID"


async def test_a_scope_that_is_taken_from_the_client_is_gone_from_its_tokens(oauth: OAuth) -> None:
    application, token = await scene(oauth)
    assert await code_of(oauth, token, permissions=["parcels:read"]) == "VALID"
    async with oauth.world.http() as http:
        answer = await http.patch(f"/v1/clients/{application.client.id}", json={"scopes": []})
    assert answer.status_code == 200, answer.text
    assert await code_of(oauth, token, permissions=["parcels:read"]) == "INSUFFICIENT_PERMISSIONS"


@pytest.mark.spec("RFC 8725", "3.10", "MUST")
@pytest.mark.parametrize("name", ["iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope", "kb"])
async def test_each_claim_that_is_missing_or_wrong(oauth: OAuth, name: str) -> None:
    """ZITADEL CVE-2026-56665: missing exp was accepted; PyJWT GHSA-75c5-xw7c-p5pm: a part of the issuer was."""
    _, token = await scene(oauth)
    claims = claims_in(token)
    wrongs: list[Any] = [..., None, [], {}, 7.5, True]
    wrongs += [ISSUER[:-1], ISSUER + "/", [ISSUER]] if name == "iss" else []
    wrongs += [[ORDERS, ORDERS]] if name == "aud" else []
    for wrong in wrongs:
        changed = {**claims, name: wrong}
        if wrong is ...:
            del changed[name]
        text = await oauth.world.authority.signing_keys.sign(changed, typ=TYP)
        if name == "client_id":
            continue  # for the API to read; our own id of the client stands in kb
        assert await code_of(oauth, text) in ("NOT_FOUND", "MALFORMED", "API_NOT_ALLOWED"), (name, wrong)


@pytest.mark.spec("RFC 8725", "3.11", "MUST")
@pytest.mark.parametrize("typ", ["JWT", "logout+jwt", "dpop+jwt", "token-introspection+jwt", ""])
async def test_other_jwts_of_ours_are_no_access_tokens(oauth: OAuth, typ: str) -> None:
    _, token = await scene(oauth)
    text = await oauth.world.authority.signing_keys.sign(claims_in(token), typ=typ)
    assert await code_of(oauth, text) == "MALFORMED"


async def test_somebody_elses_signature_under_our_kid(oauth: OAuth) -> None:
    _, token = await scene(oauth)
    forged = signed(claims_in(token), new_key(), typ=TYP, kid=header_in(token)["kid"])
    assert await code_of(oauth, forged) == "NOT_FOUND"
    assert await code_of(oauth, signed(claims_in(token), new_key(), typ=TYP, kid="sig_unknown")) == "NOT_FOUND"


async def test_every_prefix_of_a_token_is_refused(oauth: OAuth) -> None:
    _, token = await scene(oauth)
    for length in range(0, len(token), 7):
        if token[:length]:
            assert await code_of(oauth, token[:length]) in ("MALFORMED", "NOT_FOUND")
