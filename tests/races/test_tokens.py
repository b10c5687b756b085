"""Codes, refresh tokens and device codes that many redeem at once, at two processes: never more than one success.

Spec: SECURITY-BAR 3 and 10; Keycloak CVE-2026-1035, Hydra #3604, fosite CVE-2020-15222.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from joserfc import jwk, jws

from tests.e2e.shop import API, Shop
from tests.e2e.verifying import ask_all
from tests.races.token_pair import TokenPair, basic
from tests.support.authority import Authority

AT_ONCE = 50
REDIRECT = "https://app.example/callback"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, authority: Callable[..., Authority]) -> TokenPair:
    if request.param == "sqlite":
        node = authority(workers=2)
        pair = TokenPair(Shop(node), [node])
    else:
        first = authority(database=request.getfixturevalue("postgresql_url"))
        pair = TokenPair(Shop(first), [first, authority(of=first)])
    pair.setup()
    return pair


def statuses(answers: list[Any]) -> Counter[Any]:
    return Counter(
        answer.status_code if answer.status_code == 200 else (answer.status_code, answer.json()["error"])
        for answer in answers
    )


def test_a_code_is_redeemed_once_however_many_try(pair: TokenPair) -> None:
    for _ in range(4):
        code = pair.code()
        answers = pair.all_at_once([pair.redeeming(code)] * AT_ONCE)
        outcomes = statuses(answers)
        assert outcomes == {200: 1, (400, "invalid_grant"): AT_ONCE - 1}, outcomes
        # The others were repetitions: they took back what the first was given.
        (winner,) = (answer.json() for answer in answers if answer.status_code == 200)
        time.sleep(1.0)
        assert not pair.is_valid(winner["access_token"])
        refresh = {"grant_type": "refresh_token", "refresh_token": winner["refresh_token"]}
        assert statuses(pair.all_at_once([refresh] * 2)) == {(400, "invalid_grant"): 2}


def test_a_refresh_token_has_one_successor_however_many_try(pair: TokenPair) -> None:
    """Keycloak CVE-2026-1035 (several successors), Hydra #3604 (500)."""
    current = pair.tokens()["refresh_token"]
    for _ in range(4):
        answers = pair.all_at_once([{"grant_type": "refresh_token", "refresh_token": current}] * AT_ONCE)
        assert statuses(answers) == {200: AT_ONCE}
        successors = {answer.json()["refresh_token"] for answer in answers}
        assert len(successors) == 1
        (current,) = successors
    assert pair.is_valid(answers[0].json()["access_token"])


def test_old_and_new_at_once_never_leave_two_living_lines(pair: TokenPair) -> None:
    """The owner renews with the newest while a thief tries the oldest: the line ends, or goes on once."""
    for _ in range(3):
        first = pair.tokens()["refresh_token"]
        second = pair.post(0, "/oauth/token", {"grant_type": "refresh_token", "refresh_token": first}).json()
        third = pair.post(1, "/oauth/token", {"grant_type": "refresh_token", "refresh_token": second["refresh_token"]})
        newest = third.json()["refresh_token"]
        forms = [{"grant_type": "refresh_token", "refresh_token": text} for text in (first, newest) * 10]
        answers = pair.all_at_once(forms)
        assert {answer.status_code for answer in answers} <= {200, 400}
        assert all(answer.status_code == 400 for answer in answers[0::2])
        living = {answer.json()["refresh_token"] for answer in answers if answer.status_code == 200}
        assert len(living) <= 1
        over = pair.all_at_once([{"grant_type": "refresh_token", "refresh_token": text} for text in (newest, *living)])
        assert {answer.status_code for answer in over} == {400}


def test_a_device_code_is_redeemed_once_however_many_try(pair: TokenPair) -> None:
    for _ in range(3):
        started = pair.post(0, "/oauth/device_authorization", {"scope": "pages:read"}).json()
        pair.approve(started["user_code"])
        answers = pair.all_at_once([{"grant_type": DEVICE, "device_code": started["device_code"]}] * AT_ONCE)
        outcomes = statuses(answers)
        assert outcomes == {200: 1, (400, "invalid_grant"): AT_ONCE - 1}, outcomes
        assert pair.is_valid(next(a.json()["access_token"] for a in answers if a.status_code == 200))


def test_an_assertion_and_a_proof_count_once_at_two_nodes(pair: TokenPair) -> None:
    """fosite CVE-2020-15222; RFC 9449 §11.1: replays at the other node."""
    key = jwk.ECKey.generate_key("P-256")
    body = {
        "project_id": pair.shop.project["id"],
        "name": "signs",
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key.as_dict(private=False)]},
        "grant_types": ["client_credentials"],
        "scopes": ["pages:read"],
        "redirect_uris": [],
    }
    client_id = pair.shop.call("POST", "/v1/clients", body)["client"]["id"]
    now, issuer = int(time.time()), pair.nodes[0].issuer

    def signed(claims: dict[str, Any], **header: Any) -> str:
        return str(jws.serialize_compact({"alg": "ES256", **header}, json.dumps(claims), key, algorithms=["ES256"]))

    assertion = signed({"iss": client_id, "sub": client_id, "aud": issuer, "jti": "once", "exp": now + 60})
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion,
    }
    with ThreadPoolExecutor(20) as pool:

        def send(number: int) -> int:
            with httpx.Client(trust_env=False, timeout=30) as client:
                return client.post(pair.nodes[number % len(pair.nodes)].url + "/oauth/token", data=form).status_code

        assert Counter(pool.map(send, range(20))) == {200: 1, 401: 19}
    claims = {"jti": "once", "htm": "POST", "htu": issuer.rstrip("/") + "/oauth/token", "iat": now}
    proof = signed(claims, typ="dpop+jwt", jwk=key.as_dict(private=False))
    answers = pair.all_at_once([{"grant_type": "client_credentials"}] * 20, headers={"dpop": proof})
    assert statuses(answers) == {200: 1, (400, "invalid_dpop_proof"): 19}


def test_a_restart_forgets_no_rotation(pair: TokenPair) -> None:
    """Keycloak CVE-2026-9802: after a restart the token before the rotation was good again."""
    first = pair.tokens()["refresh_token"]
    second = pair.post(0, "/oauth/token", {"grant_type": "refresh_token", "refresh_token": first}).json()
    third = pair.post(0, "/oauth/token", {"grant_type": "refresh_token", "refresh_token": second["refresh_token"]})
    newest = third.json()["refresh_token"]
    for node in pair.nodes:
        node.kill9()
        node.start()
    refused = pair.post(0, "/oauth/token", {"grant_type": "refresh_token", "refresh_token": first})
    assert statuses([refused]) == {(400, "invalid_grant"): 1}
    refused = pair.post(1, "/oauth/token", {"grant_type": "refresh_token", "refresh_token": newest})
    assert statuses([refused]) == {(400, "invalid_grant"): 1}


def test_revocation_reaches_every_process(pair: TokenPair) -> None:
    said = pair.tokens()
    assert pair.is_valid(said["access_token"])
    assert pair.post(0, "/oauth/revoke", {"token": said["refresh_token"]}).status_code == 200
    time.sleep(1.0)
    for node in pair.nodes * 4:
        assert pair.shop.verify(said["access_token"], at=node)["code"] == "REVOKED"


def test_all_tokens_of_a_client_share_its_limit(pair: TokenPair) -> None:
    """A budget of the client cannot be doubled by another token; on SQLite the limiter is one for both processes."""
    month = 30 * 86_400
    body = {
        "project_id": pair.shop.project["id"],
        "name": "limited",
        "grant_types": ["client_credentials"],
        "scopes": ["pages:read"],
        "redirect_uris": [],
        "quotas": [{"name": "calls", "limit": 40, "per": "year"}],
        "limits": [{"name": "requests", "limit": 1000, "period_in": month}],
    }
    made = pair.shop.call("POST", "/v1/clients", body)
    header = basic(made["client"]["id"], made["client_secret"])
    grant = {"grant_type": "client_credentials"}
    answers = pair.all_at_once([grant] * 6, headers={"authorization": header})
    tokens = [answer.json()["access_token"] for answer in answers]
    assert len(set(tokens)) == 6
    questions = [{"credential": tokens[number % 6], "api": API} for number in range(120)]
    assert Counter(ask_all(pair.nodes, questions, at_once=40)) == {"VALID": 40, "RATE_LIMITED": 80}


def test_tokens_of_a_key_spend_its_credits(pair: TokenPair) -> None:
    """A key that is exchanged many times has one budget: its own."""
    key_id, credential = pair.shop.key("pages:read", credits={"balance": 30})
    exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
    body = {
        "project_id": pair.shop.project["id"],
        "name": "exchanges",
        "grant_types": [exchange],
        "scopes": ["pages:read"],
        "redirect_uris": [],
    }
    made = pair.shop.call("POST", "/v1/clients", body)
    form = {
        "grant_type": exchange,
        "subject_token": credential,
        "subject_token_type": "urn:keybearer:params:oauth:token-type:api-key",
        "resource": API,
    }
    header = basic(made["client"]["id"], made["client_secret"])
    answers = pair.all_at_once([form] * 4, headers={"authorization": header})
    assert statuses(answers) == {200: 4}
    spenders = [credential, *(answer.json()["access_token"] for answer in answers)]
    questions = [{"credential": spenders[number % 5], "api": API} for number in range(100)]
    assert Counter(ask_all(pair.nodes, questions, at_once=40)) == {"VALID": 30, "CREDITS_EXHAUSTED": 70}
    assert pair.shop.call("GET", f"/v1/keys/{key_id}")["credits"]["balance"] == 0
    assert pair.shop.send("POST", f"/v1/keys/{key_id}/revoke", {}).is_success
    time.sleep(1.0)
    for token in spenders:
        for node in pair.nodes * 2:
            assert pair.shop.verify(token, at=node)["code"] == "REVOKED"
