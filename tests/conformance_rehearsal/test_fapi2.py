"""The plan ``fapi2-security-profile-final-test-plan`` (plain FAPI, private_key_jwt, DPoP, OpenID Connect).

And of ``fapi2-message-signing-final-test-plan`` what signed requests and JARM add.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from joserfc import jws as joserfc_jws

from keybearer.core.clients import Client, ClientAuthMethod, GrantType
from keybearer.core.pkce import challenge_of
from tests.conformance_rehearsal.party import CALLBACK, ISSUER, KEY, OTHER_KEY, Party, Rehearsal, rehearsal
from tests.support.authorizing import make_client
from tests.support.browser import Page
from tests.support.oauth import ASSERTION_TYPE, ath, error_of, new_key, public_of, signed

pytestmark = pytest.mark.anyio

VERIFIER = secrets.token_urlsafe(48)
PROOF_KEY, OTHER_PROOF_KEY = new_key(), new_key()


class Fapi(Party):
    """A static client of the profile: it pushes its requests and proves its keys."""

    algorithm = "PS256"

    def __init__(self, suite: Rehearsal, client: Client, key: Any, callback: str) -> None:
        registration = {
            "client_id": client.id,
            "token_endpoint_auth_method": "private_key_jwt",
            "id_token_signed_response_alg": "ES256",
        }
        super().__init__(suite, registration, key, algorithm="PS256", audience=ISSUER)
        self.callback = callback
        self.proof_key = PROOF_KEY

    def parameters(self, **changes: Any) -> dict[str, Any]:
        usual = {
            "client_id": self.id,
            "redirect_uri": self.callback,
            "scope": "openid",
            "state": secrets.token_urlsafe(8),
            "nonce": secrets.token_urlsafe(8),
            "response_type": "code",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
            **changes,
        }
        self.asked = {name: value for name, value in usual.items() if value is not None}
        return self.asked

    async def push(self, headers: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
        return await self.post("/oauth/par", self.parameters(**changes), headers)

    async def pushed(self, headers: dict[str, str] | None = None, **changes: Any) -> str:
        """The address for the browser, with nothing beside ``client_id`` and ``request_uri``."""
        return self.address(await self.push(headers, **changes))

    def address(self, answer: httpx.Response, **beside: str) -> str:
        assert answer.status_code == 201, answer.text
        assert answer.headers["cache-control"] == "no-store"
        said = answer.json()
        assert 5 <= said["expires_in"] < 600
        return "/oauth/authorize?" + urlencode({"client_id": self.id, "request_uri": said["request_uri"], **beside})

    async def go(self, url: str) -> Page:
        return await self.through(self.suite.browser, await self.suite.browser.get(url))

    def dpop(self, path: str = "/oauth/token", method: str = "POST", **changes: Any) -> str:
        """A DPoP proof; ``header`` changes its header, and what is ``None`` is left out."""
        key, algorithm = changes.pop("key", self.proof_key), changes.pop("algorithm", "ES256")
        header = {"typ": "dpop+jwt", "jwk": public_of(key), **changes.pop("header", {})}
        claims = {
            "jti": secrets.token_urlsafe(12),
            "htm": method,
            "htu": ISSUER + path,
            "iat": self.suite.now,
            **changes,
        }
        return signed({name: value for name, value in claims.items() if value is not None}, key, algorithm, **header)

    async def exchange(self, page: Page, **changes: str) -> httpx.Response:
        headers = {"dpop": self.dpop()} if "dpop" not in changes else {"dpop": changes.pop("dpop")}
        headers = {name: value for name, value in headers.items() if value}
        fields = {"code_verifier": VERIFIER, "redirect_uri": self.callback, **changes}
        return await self.redeem(page.answer["code"], headers, **fields)

    async def get_tokens(self, **changes: Any) -> dict[str, Any]:
        page = await self.go(await self.pushed(**changes))
        assert page.answer["iss"] == ISSUER
        assert page.answer.get("state") == self.asked.get("state")
        said = await self.checked(await self.exchange(page))
        assert said["token_type"] == "DPoP"
        return said

    async def resource(self, token: str, scheme: str = "DPoP", proofs: tuple[str, ...] | None = None) -> int:
        """The status of userinfo, as the protected resource."""
        if proofs is None:
            proofs = (self.dpop("/oauth/userinfo", "GET", ath=ath(token)),)
        headers = [("authorization", f"{scheme} {token}"), *(("dpop", one) for one in proofs)]
        return (await self.suite.http("GET", "/oauth/userinfo", headers=headers)).status_code


@pytest.fixture
async def fapi(anyio_backend: str) -> AsyncIterator[Rehearsal]:
    async with rehearsal(client_registration="off", assertion_audience="issuer") as running:
        yield running


async def static(suite: Rehearsal, key: Any, callback: str, kid: str, **more: Any) -> Fapi:
    """A client as ``docs/certification.md`` says to create it."""
    client = await make_client(
        suite.world,
        name="FAPI",
        token_endpoint_auth_method=ClientAuthMethod.PRIVATE_KEY_JWT,
        token_endpoint_auth_signing_alg="PS256",
        jwks={"keys": [public_of(key, use="sig", alg="PS256", kid=kid)]},
        redirect_uris=(callback,),
        grant_types=(GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN),
        scopes=("openid", "offline_access"),
        require_pushed_authorization_requests=True,
        dpop_bound_access_tokens=True,
        **more,
    )
    return Fapi(suite, client, key, callback)


@pytest.fixture
async def party(fapi: Rehearsal) -> Fapi:
    return await static(fapi, KEY, CALLBACK, "one")


@pytest.fixture
async def second(fapi: Rehearsal) -> Fapi:
    return await static(fapi, OTHER_KEY, CALLBACK + "?dummy1=lorem&dummy2=ipsum", "two")


async def test_discovery_end_point_verification(fapi: Rehearsal) -> None:
    said = await fapi.metadata()
    assert "ES256" in said["id_token_signing_alg_values_supported"]
    assert "private_key_jwt" in said["token_endpoint_auth_methods_supported"]
    for name in ("token_endpoint_auth_signing_alg_values_supported", "dpop_signing_alg_values_supported"):
        assert {"PS256", "ES256", "EdDSA"} <= set(said[name])
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["authorization_response_iss_parameter_supported"] is True
    assert said["pushed_authorization_request_endpoint"].startswith(ISSUER)


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.2", "MUST")
async def test_happy_flow(party: Fapi, second: Fapi) -> None:
    tokens = await party.get_tokens()
    assert await party.resource(tokens["access_token"]) == 200
    others = await second.get_tokens()
    assert await second.resource(others["access_token"]) == 200
    party.proof_key = OTHER_PROOF_KEY
    assert await party.resource(others["access_token"]) == 401


async def test_user_rejects_authentication(fapi: Rehearsal, party: Fapi) -> None:
    page = await fapi.browser.get(await party.pushed())
    page = await fapi.browser.send(page, action="/sign-in/cancel")
    assert page.answer["error"] == "access_denied"
    assert page.answer["state"] == party.asked["state"]
    assert page.answer["iss"] == ISSUER


@pytest.mark.parametrize(
    "changes",
    [
        {"state": None},
        {"nonce": None},
        {"nonce": "n" * 64},
        {"nonce": "n" * 384},
        {"state": "s" * 384},
        {"scope": "offline_access openid", "prompt": "consent"},
    ],
    ids=lambda changes: f"{next(iter(changes))}-{len(next(iter(changes.values())) or '')}",
)
async def test_requests_that_succeed(party: Fapi, changes: dict[str, Any]) -> None:
    assert "id_token" in await party.get_tokens(**changes)


@pytest.mark.parametrize("scheme", ["dpop", "DPOP", "dPoP"])
async def test_access_token_type_header_case_sensitivity(party: Fapi, scheme: str) -> None:
    assert await party.resource((await party.get_tokens())["access_token"], scheme) == 200


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.1", "MUST")
@pytest.mark.parametrize(("seconds", "status"), [(-10, 200), (10, 200), (-3600, 400), (3600, 400)])
async def test_ensure_dpop_proof_with_iat_10_seconds_off_succeeds(party: Fapi, seconds: int, status: int) -> None:
    page = await party.go(await party.pushed())
    proof = party.dpop(iat=party.suite.now + seconds)
    assert (await party.exchange(page, dpop=proof)).status_code == status


async def test_check_dpop_proof_nbf_exp(party: Fapi) -> None:
    now = party.suite.now
    page = await party.go(await party.pushed())
    said = await party.checked(await party.exchange(page, dpop=party.dpop(nbf=now, exp=now + 300)))
    token = said["access_token"]
    proof = party.dpop("/oauth/userinfo", "GET", ath=ath(token), nbf=now, exp=now + 300)
    assert await party.resource(token, proofs=(proof,)) == 200


@pytest.mark.spec("RFC 9449", "10", "MUST")
async def test_dpop_auth_code_binding(party: Fapi) -> None:
    """``mismatched-dpop-jkt``, ``token-endpoint-…-mismatched-dpop-jkt`` and ``-proof-jkt``, and the two successes."""
    right, wrong = _thumbprint(PROOF_KEY), _thumbprint(OTHER_PROOF_KEY)
    at_par = {"dpop": party.dpop("/oauth/par")}
    assert error_of(await party.push(at_par, dpop_jkt=wrong)) == (400, "invalid_request")
    page = await party.go(await party.pushed(dpop_jkt=wrong))
    assert error_of(await party.exchange(page)) == (400, "invalid_grant")
    page = await party.go(await party.pushed({"dpop": party.dpop("/oauth/par", key=OTHER_PROOF_KEY)}))
    assert error_of(await party.exchange(page)) == (400, "invalid_grant")
    page = await party.go(await party.pushed({"dpop": party.dpop("/oauth/par")}))
    await party.checked(await party.exchange(page))
    await party.get_tokens(dpop_jkt=right)


def _thumbprint(key: Any) -> str:
    return str(key.thumbprint())


@pytest.mark.spec("RFC 9126", "4", "MUST")
async def test_what_stands_outside_the_pushed_request_is_not_used(party: Fapi) -> None:
    """State and nonce outside the request, other ones or the only ones."""
    page = await party.go(party.address(await party.push(state=None), state="outside", nonce="outside"))
    assert "state" not in page.answer
    page = await party.go(party.address(await party.push(), state="outside", nonce="outside"))
    said = await party.tokens(page, {"dpop": party.dpop()}, code_verifier=VERIFIER)
    assert said["claims"]["nonce"] == party.asked["nonce"]


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.2", "MUST")
@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": None},
        {"redirect_uri": CALLBACK + "/other"},
        {"response_type": "code id_token"},
        {"response_type": "token"},
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": VERIFIER, "code_challenge_method": "plain"},
        {"request_uri": "urn:ietf:params:oauth:request_uri:x"},
    ],
    ids=lambda changes: "-".join(f"{name}" for name in changes) + str(len(str(changes))),
)
async def test_pushed_requests_that_are_refused(party: Fapi, changes: dict[str, Any]) -> None:
    status, error = error_of(await party.push(**changes))
    assert status == 400
    assert error == ("unsupported_response_type" if "response_type" in changes else "invalid_request")


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.2", "MUST")
async def test_ensure_unsigned_authorization_request_without_using_par_fails(party: Fapi) -> None:
    page = await party.go("/oauth/authorize?" + urlencode(party.parameters()))
    assert page.answer["error"] == "invalid_request"
    assert page.answer["state"] == party.asked["state"]


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.1", "MUST")
async def test_ensure_holder_of_key_required(party: Fapi) -> None:
    page = await party.go(await party.pushed())
    assert error_of(await party.exchange(page, dpop="")) == (400, "invalid_request")


@pytest.mark.spec("RFC 6749", "4.1.3", "MUST")
async def test_ensure_authorization_code_is_bound_to_client(party: Fapi, second: Fapi) -> None:
    page = await party.go(await party.pushed())
    assert error_of(await second.exchange(page, redirect_uri=CALLBACK)) == (400, "invalid_grant")


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.1", "MUST")
async def test_reused_and_expired_codes(party: Fapi) -> None:
    page = await party.go(await party.pushed())
    await party.checked(await party.exchange(page))
    party.suite.world.clock.move(1)
    assert error_of(await party.exchange(page)) == (400, "invalid_grant")
    page = await party.go(await party.pushed())
    party.suite.world.clock.move(61)
    assert error_of(await party.exchange(page)) == (400, "invalid_grant")


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.1", "MUST")
async def test_client_assertions_that_are_refused(party: Fapi, second: Fapi) -> None:
    """At the token and the PAR endpoint: RS256, none at all, expired, for others, without sub, of another client."""
    page, now = await party.go(await party.pushed()), party.suite.now
    bad: list[dict[str, str]] = [
        {"client_assertion": party.assertion(**changes)}
        for changes in (
            {"exp": now - 300, "iat": now - 360, "nbf": now - 360},
            {"aud": "https://other.example"},
            {"aud": [ISSUER + "/oauth/par", "https://other.example"]},
            {"aud": ISSUER + "/oauth/par"},
            {"aud": ISSUER + "/oauth/token"},
            {"sub": None},
            {"iss": second.id},
            {"iat": now + 61, "nbf": now + 61, "exp": now + 121},
        )
    ]
    party.algorithm = "RS256"
    bad.append({"client_assertion": party.assertion()})
    party.algorithm = "PS256"
    for fields in bad:
        fields["client_assertion_type"] = ASSERTION_TYPE
        assert error_of(await party.exchange(page, **fields)) == (401, "invalid_client"), fields
        assert error_of(await party.push(**fields)) == (401, "invalid_client"), fields
    bare = {"client_id": party.id, "grant_type": "authorization_code", "code": page.answer["code"]}
    answer = await party.suite.http("POST", "/oauth/token", data=bare, headers={"dpop": party.dpop()})
    assert error_of(answer) == (401, "invalid_client")
    mixed = party.assertion(iss=second.id, sub=second.id)
    answer = await party.exchange(
        page, client_assertion=mixed, client_assertion_type=ASSERTION_TYPE, client_id=second.id
    )
    assert error_of(answer) == (401, "invalid_client")
    other = await party.exchange(page, client_id=second.id)
    assert error_of(other)[1] in ("invalid_client", "invalid_request", "invalid_grant")
    page = await party.go(await party.pushed())
    ahead = party.assertion(iat=now + 8, nbf=now + 8)
    said = await party.exchange(page, client_assertion=ahead, client_assertion_type=ASSERTION_TYPE)
    await party.checked(said)


@pytest.mark.spec("RFC 9449", "4.3", "MUST")
@pytest.mark.spec("RFC 9449", "7.1", "MUST")
async def test_dpop_negative_tests(party: Fapi) -> None:
    token = (await party.get_tokens())["access_token"]

    def proof(**changes: Any) -> str:
        return party.dpop("/oauth/userinfo", "GET", **{"ath": ath(token), **changes})

    good = proof()
    head, payload, signature = good.split(".")
    none = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6Im5vbmUifQ." + payload + "."
    private = PROOF_KEY.as_dict(private=True)
    bad: list[tuple[str, ...]] = [
        (proof(), proof()),
        (head + payload,),
        (none,),
        (f"{head}.{payload}.{signature[:-6]}AAAAAA",),
        (proof(header={"typ": None}),),
        (proof(header={"typ": "jwt"}),),
        (proof(header={"jwk": None}),),
        (proof(header={"jwk": private}),),
        *((proof(**{name: None}),) for name in ("jti", "htm", "htu", "iat", "ath")),
        (proof(htm="PUT"),),
        (proof(htu="https://www.google.com/"),),
        (proof(iat=party.suite.now + 3600),),
        (proof(iat=party.suite.now - 3600),),
        (proof(ath=ath("other")),),
        (proof(key=OTHER_PROOF_KEY),),
        (),
    ]
    for proofs in bad:
        assert await party.resource(token, proofs=proofs) in (400, 401), proofs
    assert await party.resource(token, "Bearer", ()) in (400, 401)
    for fine in (
        proof(htu=ISSUER + "/oauth/userinfo?a=b#c"),
        proof(htu="HTTPS://OP.EXAMPLE.COM/oauth/userinfo"),
        proof(htu="https://op.example.com:443/oauth/userinfo"),
        proof(header={"extra": "1"}, more={"a": 1}),
    ):
        assert await party.resource(token, proofs=(fine,)) == 200
    again = proof(jti="fixed")
    assert await party.resource(token, proofs=(again,)) == 200
    assert await party.resource(token, proofs=(again,)) in (400, 401)


@pytest.mark.spec("RFC 7515", "4", "MUST")
async def test_a_proof_with_a_long_rsa_key_and_members_that_nobody_knows(party: Fapi) -> None:
    party.proof_key = OTHER_KEY
    page = await party.go(await party.pushed())
    proof = party.dpop(algorithm="PS256", header={"extra": "x" * 200})
    said = await party.checked(await party.exchange(page, dpop=proof))
    proof = party.dpop("/oauth/userinfo", "GET", algorithm="PS256", ath=ath(said["access_token"]))
    assert await party.resource(said["access_token"], proofs=(proof,)) == 200


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.1", "MUST NOT")
async def test_refresh_token(party: Fapi, second: Fapi) -> None:
    """The token is not rotated, works again after half a minute and under a new key, and needs a proof."""
    first = await party.get_tokens(scope="openid offline_access", prompt="consent")
    fields = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    for key in (new_key(), new_key()):
        party.suite.world.clock.move(31)
        answer = await party.post("/oauth/token", fields, {"dpop": party.dpop(key=key)})
        said = await party.checked(answer, is_renewal=True)
        assert "refresh_token" not in said
        party.proof_key = key
        assert await party.resource(said["access_token"]) == 200
    assert error_of(await party.post("/oauth/token", fields)) == (400, "invalid_request")
    others = await second.get_tokens(scope="openid offline_access", prompt="consent")
    fields["refresh_token"] = others["refresh_token"]
    answer = await party.post("/oauth/token", fields, {"dpop": party.dpop()})
    assert error_of(answer) == (400, "invalid_grant")


@pytest.mark.spec("RFC 9126", "4", "MUST")
async def test_par_request_uris(fapi: Rehearsal, party: Fapi, second: Fapi) -> None:
    """Reused before and after the user answered, over, of another client; another verb."""
    url = await party.pushed()
    assert (await fapi.browser.get(url)).form("/sign-in")
    assert (await party.go(url)).answer["code"]
    page = await party.go(url)
    assert (page.status, page.location) == (400, "")
    url = await party.pushed()
    assert (await party.go(url.replace(party.id, second.id))).status == 400
    fapi.world.clock.move(91)
    assert (await party.go(url)).status == 400
    assert (await fapi.http("PUT", "/oauth/par", data=party.parameters())).status_code == 405


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.2", "MUST")
async def test_pkce(party: Fapi) -> None:
    page = await party.go(await party.pushed())
    assert error_of(await party.exchange(page, code_verifier=secrets.token_urlsafe(48))) == (400, "invalid_grant")
    assert error_of(await party.exchange(page, code_verifier="")) == (400, "invalid_request")


async def test_claims_parameter_identity_claims(party: Fapi) -> None:
    claims = (
        '{"userinfo": {"name": null}, "id_token": {"email": {"essential": true}}, "Xy7": {"a": {"essential": true}}}'
    )
    said = await party.get_tokens(claims=claims)
    assert said["claims"]["email"] == "ada@example.com"


# Message signing


async def test_message_signing_signed_requests_and_jarm(fapi: Rehearsal) -> None:
    party = await static(fapi, KEY, CALLBACK, "one", require_signed_request_object=True)
    other = await static(fapi, OTHER_KEY, CALLBACK, "two", require_signed_request_object=True)
    now = fapi.now

    def request(key: Any = KEY, alg: str = "PS256", **changes: Any) -> dict[str, Any]:
        claims = {**party.parameters(response_mode="jwt"), "iss": party.id, "aud": ISSUER, "nbf": now, "exp": now + 300}
        claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return {"request": signed(claims, key, alg, kid="one", typ="oauth-authz-req+jwt")}

    async def push(fields: dict[str, Any]) -> httpx.Response:
        return await party.post("/oauth/par", {"client_id": party.id, **fields})

    none = joserfc_jws.serialize_compact({"alg": "PS256"}, b"{}", KEY, algorithms=["PS256"]).split(".")
    for fields, error in (
        (request(exp=None), "invalid_request_object"),
        (request(nbf=None), "invalid_request_object"),
        (request(exp=now - 120), "invalid_request_object"),
        (request(aud="https://other.example"), "invalid_request_object"),
        (request(exp=now + 4200), "invalid_request_object"),
        (request(nbf=now - 4200), "invalid_request_object"),
        (request(alg="RS256"), "invalid_request_object"),
        (request(OTHER_KEY), "invalid_request_object"),
        (request(request_uri="urn:x"), "invalid_request_object"),
        (request(redirect_uri=None), "invalid_request"),
        ({"request": f"eyJhbGciOiJub25lIn0.{none[1]}."}, "request_not_supported"),
        (party.parameters(), "invalid_request"),
    ):
        answer = await push(fields)
        assert error_of(answer) == (400, error), fields
    assert error_of(await other.post("/oauth/par", {"client_id": other.id, **request()}))[0] == 400
    for changes in ({}, {"nbf": now + 8}, {"aud": [ISSUER, "https://other.example"]}):
        page = await party.go(party.address(await push(request(**changes))))
        assert set(page.answer) == {"response"}
        said = await fapi.verified(page.answer["response"])
        assert (said["iss"], said["aud"], said["state"]) == (ISSUER, party.id, party.asked["state"])
        assert now < said["exp"] <= now + 600
        headers = {"dpop": party.dpop()}
        answer = await party.redeem(said["code"], headers, code_verifier=VERIFIER)
        await party.checked(answer)
