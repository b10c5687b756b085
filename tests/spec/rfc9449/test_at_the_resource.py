"""DPoP where tokens are used: at verify, at forward-auth, and at userinfo."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from keybearer.core.credential import mint, new_expiring_id
from keybearer.core.tokens import AccessToken
from tests.support.oauth import API, OAuth, ath, new_key, oauth_world, proof

pytestmark = pytest.mark.anyio
KEY, OTHER = new_key(), new_key()
ORDERS = API + "/orders/17"
PEER = ("127.0.0.1", 4711)


@pytest.fixture
async def oauth(anyio_backend: str) -> AsyncIterator[OAuth]:
    async with oauth_world(trusted_proxies=("127.0.0.0/8",)) as world:
        yield world


async def bound(oauth: OAuth, key: Any = KEY) -> str:
    return str((await (await oauth.client()).tokens(headers={"dpop": proof(oauth, key)}))["access_token"])


def proven(oauth: OAuth, token: str, key: Any = KEY, **changes: Any) -> str:
    return proof(oauth, key, **{"method": "GET", "htu": ORDERS, "ath": ath(token), **changes})


async def verify(oauth: OAuth, token: str, **asked: Any) -> str:
    asked = {"method": "GET", "url": ORDERS + "?page=2", "api": API, **asked}
    said = await oauth.world.verify(token, **{name: value for name, value in asked.items() if value is not None})
    assert said["valid"] is (said["code"] == "VALID")
    return str(said["code"])


@pytest.mark.spec("RFC 9449", "7", "MUST")
async def test_a_bound_token_needs_a_proof_with_each_request(oauth: OAuth) -> None:
    token = await bound(oauth)
    assert await verify(oauth, token) == "PROOF_REQUIRED"
    one = proven(oauth, token)
    assert await verify(oauth, token, dpop=one) == "VALID"
    assert await verify(oauth, token, dpop=one) == "PROOF_INVALID", "a proof counts once"
    assert await verify(oauth, token, dpop=proven(oauth, token)) == "VALID"
    assert await verify(oauth, token) == "PROOF_REQUIRED", "nothing is remembered of a proof"


@pytest.mark.spec("RFC 9449", "4.3", "MUST")
@pytest.mark.spec("RFC 9449", "7.1", "MUST")
@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "POST"},
        {"htu": API + "/orders/18"},
        {"htu": "https://other.example/orders/17"},
        {"ath": ath("kb_at_other")},
        {"ath": None},
        {"iat": 0},
        {"header": {"typ": "JWT"}},
    ],
    ids=str,
)
async def test_a_proof_that_is_for_something_else(oauth: OAuth, changes: dict[str, Any]) -> None:
    token = await bound(oauth)
    assert await verify(oauth, token, dpop=proven(oauth, token, **changes)) == "PROOF_INVALID"


async def test_the_proof_of_another_key_and_a_proof_for_a_token_that_needs_none(oauth: OAuth) -> None:
    token = await bound(oauth)
    assert await verify(oauth, token, dpop=proven(oauth, token, OTHER)) == "PROOF_INVALID"
    plain = (await (await oauth.client()).tokens())["access_token"]
    assert await verify(oauth, plain) == "VALID"
    assert await verify(oauth, plain, dpop=proven(oauth, plain)) == "PROOF_INVALID"
    assert await verify(oauth, oauth.world.root_key, dpop=proven(oauth, "x"), api=None) == "PROOF_INVALID"


async def test_a_proof_cannot_be_checked_without_method_and_url(oauth: OAuth) -> None:
    token = await bound(oauth)
    async with oauth.world.http() as http:
        for missing in ({"url": ORDERS}, {"method": "GET"}, {"method": "GET", "url": "/orders/17"}):
            body = {"credential": token, "dpop": proven(oauth, token), **missing}
            answer = await http.post("/v1/verify", json=body)
            assert answer.status_code == 400
            assert answer.json()["errors"][0]["field"] in ("method", "url")


async def test_forward_auth_checks_the_proof_for_the_url_that_the_proxy_says(oauth: OAuth) -> None:
    token = await bound(oauth)

    async def ask(scheme: str = "DPoP", dpop: Any = ..., **said: str) -> int:
        headers = {
            "authorization": f"{scheme} {token}",
            "x-forwarded-proto": "https",
            "x-forwarded-host": "orders.example",
            "x-forwarded-method": "GET",
            "x-forwarded-uri": "/orders/17?page=2",
            **said,
        }
        if dpop is not None:
            headers["dpop"] = proven(oauth, token) if dpop is ... else dpop
        async with oauth.world.http("", client=PEER) as http:
            return (await http.get("/forward-auth", params={"api": API}, headers=headers)).status_code

    assert await ask() == 200
    assert await ask(dpop=None) == 401
    assert await ask("Bearer") == 401
    assert await ask("Bearer", dpop=None) == 401
    assert await ask(**{"x-forwarded-uri": "/orders/18"}) == 401
    assert await ask(**{"x-forwarded-host": "other.example"}) == 401
    assert await ask(**{"x-forwarded-method": "POST"}) == 401
    assert await ask(dpop=proven(oauth, token, OTHER)) == 401
    used = proven(oauth, token)
    assert await ask(dpop=used) == 200
    assert await ask(dpop=used) == 401


async def test_ext_authz_checks_the_proof_for_the_request_that_envoy_repeats(oauth: OAuth) -> None:
    token = await bound(oauth)

    async def ask(path: str = "/orders/17?page=2", method: str = "GET", **said: str) -> int:
        headers = {
            "authorization": f"DPoP {token}",
            "dpop": proven(oauth, token),
            "host": "orders.example",
            "x-forwarded-proto": "https",
            "x-keybearer-door": f"api={API}",
            **said,
        }
        async with oauth.world.http("", client=PEER) as http:
            return (await http.request(method, f"/ext-authz{path}", headers=headers)).status_code

    assert await ask() == 200
    assert await ask("/orders/18") == 401
    assert await ask(method="POST") == 401
    assert await ask(host="other.example") == 401
    # The client's own words for the same thing are not believed.
    for name, lie in {"x-forwarded-host": "orders.example", "x-forwarded-uri": "/orders/17"}.items():
        assert await ask("/orders/18", **{name: lie}) == 401
        assert await ask(host="other.example", **{name: lie}) == 401


@pytest.mark.spec("RFC 9449", "7.2", "MUST")
async def test_userinfo_takes_bound_tokens_with_their_proof_alone(oauth: OAuth) -> None:
    application = await oauth.client()
    consent = await oauth.consent(application)
    answer = await application.redeem(
        await consent.code(scopes=("openid", "email")), headers={"dpop": proof(oauth, KEY)}
    )
    token = answer.json()["access_token"]

    async def ask(scheme: str, *proofs: str) -> Any:
        headers = [("authorization", f"{scheme} {token}"), *(("dpop", text) for text in proofs)]
        async with oauth.world.http("") as http:
            return await http.get("/oauth/userinfo", headers=headers)

    def fresh(key: Any = KEY) -> str:
        return proof(oauth, key, method="GET", path="/oauth/userinfo", ath=ath(token))

    good = await ask("DPoP", fresh())
    assert good.status_code == 200, good.text
    assert good.json()["sub"] == consent.user.id
    assert good.json()["email"] == consent.user.email
    for scheme, proofs in (
        ("Bearer", ()),
        ("Bearer", (fresh(),)),
        ("DPoP", ()),
        ("DPoP", (fresh(), fresh())),
        ("DPoP", (fresh(OTHER),)),
    ):
        assert (await ask(scheme, *proofs)).status_code == 401


@pytest.mark.spec("RFC 8705", "3", "MUST")
async def test_tokens_bound_to_a_certificate_need_its_thumbprint_at_verify(oauth: OAuth) -> None:
    """The caller, who ended the TLS connection, says which certificate the client had."""
    world = oauth.world
    token = (await (await oauth.client()).tokens())["access_token"]
    thumbprint, other = "A" * 43, "B" * 43
    stored = (await world.authority.store.find_token("at_" + token.split("_")[2])).token  # type: ignore[union-attr]
    text, bound_to = await _bound_to_certificate(oauth, stored, thumbprint)
    assert await verify(oauth, text) == "PROOF_REQUIRED"
    assert await verify(oauth, text, certificate_thumbprint=other) == "PROOF_INVALID"
    assert await verify(oauth, text, certificate_thumbprint=thumbprint) == "VALID"
    assert bound_to != stored.id
    async with world.http() as http:
        answer = await http.post("/v1/verify", json={"credential": text, "certificate_thumbprint": "short"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "certificate_thumbprint"


async def _bound_to_certificate(oauth: OAuth, token: AccessToken, thumbprint: str) -> tuple[str, str]:
    """The same token once more, bound to a certificate."""
    keyring = oauth.world.authority.keyring
    public_id = new_expiring_id(token.expires_at)
    secret = mint("kb_at", public_id)
    digest = keyring.digest(keyring.active_pepper_id, secret.reveal())
    copy = replace(token, id="at_" + public_id, digest=digest, certificate_thumbprint=thumbprint)
    await oauth.world.authority.store.transact(lambda uow: uow.add_token(copy))
    return secret.reveal(), copy.id
