"""JWTs read by the guard itself: accepted unseen when nothing has happened, exact about revocation and rotation."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from keybearer.core.errors import Code
from keybearer.guards import Guard
from tests.e2e.shop import Shop
from tests.e2e.test_guards import code_of, counts
from tests.support.guarding import eventually, guarding, shop_at
from tests.support.oauth import basic


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop_at(tmp_path_factory.mktemp("jwts"), token_format="jwt") as found:
        yield found


@pytest.fixture
def guard(shop: Shop) -> Iterator[Guard]:
    """One that has followed the events for long: else it knows nothing of the minute before a token was issued."""
    with guarding(shop) as found:
        eventually(lambda: found._follower.heard.known_since is not None)
        found._follower.heard.known_since = 0
        yield found


class Issuing:
    """One client, and its tokens."""

    def __init__(self, shop: Shop, **client: Any) -> None:
        self.shop = shop
        self.id, self.secret = shop.client(grant_types=["client_credentials"], **client)

    def token(self, scope: str = "pages:read") -> str:
        answer = self.shop.send(
            "POST", "/oauth/token",
            data={"grant_type": "client_credentials", "scope": scope, "resource": self.shop.api["identifier"]},
            headers={"authorization": basic(self.id, self.secret)},
        )  # fmt: skip
        assert answer.is_success, answer.text
        return str(answer.json()["access_token"])


def known(guard: Guard, issuing: Issuing) -> None:
    """Make the guard know what the tokens of a client come from, as it does a minute after the client was made."""
    assert code_of(guard, issuing.token()) is Code.VALID
    time.sleep(0.5)  # all events so far have come
    heard = guard._follower.heard
    heard._last = {subject: (seq, 0) for subject, (seq, _) in heard._last.items()}
    heard.known_since = 0
    guard._jwts.sources.clear()
    assert code_of(guard, issuing.token()) is Code.VALID


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def test_a_jwt_that_was_never_seen_is_accepted_unasked(shop: Shop, guard: Guard) -> None:
    issuing = Issuing(shop)
    known(guard, issuing)
    before = counts(guard)
    for _ in range(3):
        token = issuing.token()
        caller = guard.verify(token, "pages:read")
        assert caller.credential_id == "at_" + claims_of(token)["jti"]
        assert caller.permissions == {"pages:read"}
        assert caller.claims["aud"] == shop.api["identifier"]
        assert caller.client_id == claims_of(token)["client_id"]
        assert code_of(guard, token, "pages:write") is Code.INSUFFICIENT_PERMISSIONS
    assert counts(guard)["online"] == before["online"]


def test_it_is_asked_about_while_the_minute_before_it_is_not_known(shop: Shop) -> None:
    issuing = Issuing(shop)
    with guarding(shop) as young:
        eventually(lambda: code_of(young, issuing.token()) is Code.VALID)
        before = counts(young)["online"]
        assert code_of(young, issuing.token()) is Code.VALID
        assert counts(young)["online"] == before + 1


def test_what_ends_a_token_ends_it_here(shop: Shop, guard: Guard) -> None:
    issuing = Issuing(shop)
    known(guard, issuing)
    first, second = issuing.token(), issuing.token()
    assert code_of(guard, first) is Code.VALID
    headers = {"authorization": basic(issuing.id, issuing.secret)}
    assert shop.send("POST", "/oauth/revoke", data={"token": first}, headers=headers).is_success
    eventually(lambda: code_of(guard, first) is Code.REVOKED, 1.5)
    assert code_of(guard, second) is Code.VALID
    unseen = issuing.token()
    assert shop.send("POST", "/oauth/revoke", data={"token": unseen}, headers=headers).is_success
    time.sleep(0.5)
    assert code_of(guard, unseen) is Code.REVOKED  # though its signature is good and it was never seen
    shop.call("POST", f"/v1/clients/{issuing.id}/disable")
    eventually(lambda: code_of(guard, second) is Code.OWNER_DISABLED, 1.5)


def test_limits_are_still_asked_about(shop: Shop, guard: Guard) -> None:
    issuing = Issuing(shop, limits=[{"name": "all", "limit": 3, "period_in": 3600}])
    tokens = [issuing.token() for _ in range(4)]
    assert [code_of(guard, token) for token in tokens] == [Code.VALID] * 3 + [Code.RATE_LIMITED]


def test_forgeries_are_refused_without_asking(shop: Shop, guard: Guard) -> None:
    issuing = Issuing(shop)
    known(guard, issuing)
    token = issuing.token()
    head, payload, signature = token.split(".")

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    claims = claims_of(token)
    other = "A" if signature[0] != "A" else "B"
    forged = {
        "signature": f"{head}.{payload}.{other}{signature[1:]}",
        "cut off": f"{head}.{payload}.{signature[:-4]}",
        "empty": f"{head}.{payload}.",
        "four parts": f"{token}.{signature}",
        "padding": f"{token}==",
        "scope": f"{head}.{part(claims | {'scope': 'pages:read pages:write'})}.{signature}",
        "none": f"{part(header | {'alg': 'none'})}.{payload}.",
        "HS256": f"{part(header | {'alg': 'HS256'})}.{payload}.{signature}",
        "crit": f"{part(header | {'crit': ['exp']})}.{payload}.{signature}",
        "jwk": f"{part(header | {'jwk': {}})}.{payload}.{signature}",
        "typ": f"{part(header | {'typ': 'JWT'})}.{payload}.{signature}",
    }
    before = counts(guard)["online"]
    for name, text in forged.items():
        assert code_of(guard, text) in (Code.MALFORMED, Code.NOT_FOUND), name
    assert counts(guard)["online"] == before
    # A key that nobody knows may be a new one: the authority says.
    assert code_of(guard, f"{part(header | {'kid': 'sk_nobody'})}.{payload}.{signature}") is Code.NOT_FOUND


def test_rotation_of_keys_is_followed(shop: Shop, guard: Guard) -> None:
    issuing = Issuing(shop)
    known(guard, issuing)
    old = issuing.token()
    shop.call("POST", "/v1/signing-keys/rotate", {"algorithm": "ES256", "at_once": True})
    time.sleep(0.5)
    new = issuing.token()
    kids = [json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "==="))["kid"] for token in (old, new)]
    assert kids[0] != kids[1]
    for token in (old, new, issuing.token()):
        assert code_of(guard, token) is Code.VALID
    shop.call("POST", f"/v1/signing-keys/{kids[1]}/revoke")
    eventually(lambda: code_of(guard, new) is not Code.VALID, 1.5)
    assert code_of(guard, old) is Code.VALID
