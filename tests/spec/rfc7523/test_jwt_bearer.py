"""JWT bearer: an upstream provider vouches for a user who is linked to it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

import pytest

from keybearer.core.credential import new_id
from keybearer.core.errors import Unreachable
from keybearer.core.records import State
from keybearer.core.upstreams import Upstream
from keybearer.core.users import Link
from keybearer.ports import Fetched
from tests.support.oauth import API, ISSUER, Consent, OAuth, error_of, new_key, public_of, signed

pytestmark = pytest.mark.anyio
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
UPSTREAM = "https://idp.example"
KEY = new_key()
BAD = (400, "invalid_grant")


class Provider:
    """What the provider publishes, as a fetcher sees it."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {
            UPSTREAM + "/.well-known/openid-configuration": {"issuer": UPSTREAM, "jwks_uri": UPSTREAM + "/keys"},
            UPSTREAM + "/keys": {"keys": [public_of(KEY, kid="1")]},
        }
        self.asked: list[str] = []

    async def get(self, url: str, **options: Any) -> Fetched:
        self.asked.append(url)
        if url not in self.pages:
            raise Unreachable("The URL does not answer.")
        return Fetched(200, "application/json", json.dumps(self.pages[url]).encode())


@pytest.fixture
async def linked(oauth: OAuth) -> Consent:
    """A user who is linked to the provider and agreed to the client."""
    object.__setattr__(oauth.world.authority, "fetcher", Provider())
    consent = await oauth.consent(await oauth.client(), scopes=("openid", "orders:read"))
    at = {"created_at": oauth.now, "updated_at": oauth.now}
    await oauth.insert(
        Upstream(id="idp_" + new_id(oauth.now), **at, name="IdP", issuer=UPSTREAM, client_id="us"),
        Link(id="lnk_" + new_id(oauth.now), **at, user_id=consent.user.id, issuer=UPSTREAM, subject="ada"),
    )
    return consent


def assertion(oauth: OAuth, key: Any = KEY, **changes: Any) -> str:
    now = oauth.now // 1_000_000
    header = changes.pop("header", {"kid": "1"})
    claims = {
        "iss": UPSTREAM,
        "sub": "ada",
        "aud": ISSUER,
        "exp": now + 60,
        "jti": secrets.token_urlsafe(9),
        **changes,
    }
    return signed({name: value for name, value in claims.items() if value is not None}, key, **header)


@pytest.mark.spec("RFC 7523", "3.1", "MUST")
async def test_the_client_is_given_what_the_user_agreed_to(linked: Consent) -> None:
    oauth = linked.oauth
    said = await linked.application.tokens(BEARER, assertion=assertion(oauth))
    assert said["scope"] == "orders:read"
    assert "refresh_token" not in said
    assert "id_token" not in said
    found = await oauth.introspect(said["access_token"])
    assert (found["sub"], found["aud"]) == (linked.user.id, API)
    refused = await linked.application.token(BEARER, assertion=assertion(oauth), scope="orders:write")
    assert error_of(refused) == (400, "invalid_scope")
    await oauth.change(linked.grant, state=State.REVOKED)
    assert not await oauth.is_active(said["access_token"])
    assert error_of(await linked.application.token(BEARER, assertion=assertion(oauth))) == BAD


@pytest.mark.spec("RFC 7523", "3", "MUST")
@pytest.mark.parametrize(
    "changes",
    [
        {"iss": None},
        {"sub": None},
        {"aud": None},
        {"exp": None},
        {"jti": None},
        {"iss": "https://other.example"},
        {"iss": UPSTREAM + "/"},
        {"sub": "bob"},
        {"sub": 7},
        {"aud": UPSTREAM},
        {"aud": [ISSUER, UPSTREAM]},
        {"exp": 1},
        {"exp": 1 << 39},
        {"nbf": 1 << 39},
        {"header": {"kid": "2"}},
        {"header": {"typ": "at+jwt"}},
    ],
    ids=str,
)
async def test_each_claim_is_checked(linked: Consent, changes: Mapping[str, Any]) -> None:
    answer = await linked.application.token(BEARER, assertion=assertion(linked.oauth, **changes))
    assert error_of(answer) == BAD


@pytest.mark.spec("RFC 7523", "3", "MAY")
async def test_an_assertion_counts_once(linked: Consent) -> None:
    text = assertion(linked.oauth)
    assert (await linked.application.token(BEARER, assertion=text)).status_code == 200
    assert error_of(await linked.application.token(BEARER, assertion=text)) == BAD


async def test_who_signs_must_be_trusted(linked: Consent) -> None:
    oauth = linked.oauth
    for text in (assertion(oauth, new_key()), assertion(oauth)[:-2], "x", "a.b.c"):
        assert error_of(await linked.application.token(BEARER, assertion=text)) == BAD
    assert error_of(await linked.application.token(BEARER)) == (400, "invalid_request")
    object.__setattr__(oauth.world.authority, "fetcher", None)
    unknown = assertion(oauth, iss="https://unknown.example")
    assert error_of(await linked.application.token(BEARER, assertion=unknown)) == BAD


async def test_a_provider_is_not_asked_for_each_assertion(linked: Consent) -> None:
    for _ in range(3):
        await linked.application.tokens(BEARER, assertion=assertion(linked.oauth))
    provider: Any = linked.oauth.world.authority.fetcher
    assert provider.asked == [UPSTREAM + "/.well-known/openid-configuration", UPSTREAM + "/keys"]


async def test_an_issuer_is_who_its_metadata_says(linked: Consent) -> None:
    oauth = linked.oauth
    provider = Provider()
    provider.pages[UPSTREAM + "/.well-known/openid-configuration"]["issuer"] = "https://other.example"
    object.__setattr__(oauth.world.authority, "fetcher", provider)
    assert error_of(await linked.application.token(BEARER, assertion=assertion(oauth))) == BAD


async def test_a_user_who_did_not_agree_or_is_disabled_is_nobody(linked: Consent) -> None:
    oauth = linked.oauth
    stranger = await oauth.client()
    assert error_of(await stranger.token(BEARER, assertion=assertion(oauth))) == BAD
    own = await oauth.client(is_first_party=True, scopes=("orders:read",))
    assert (await own.tokens(BEARER, assertion=assertion(oauth)))["scope"] == "orders:read"
    await oauth.change(linked.user, state=State.DISABLED)
    for application in (own, linked.application):
        assert error_of(await application.token(BEARER, assertion=assertion(oauth))) == BAD
