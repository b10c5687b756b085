"""What the challenge of a guarded API says to a client that has no token yet, a bad one, or one that is too narrow."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.oauth import API, OAuth, oauth_world

pytestmark = pytest.mark.anyio
PEER = ("127.0.0.1", 4711)
WHERE = f'resource_metadata="https://auth.example/oauth/resources/{API}"'


@pytest.fixture
async def oauth(anyio_backend: str) -> AsyncIterator[OAuth]:
    async with oauth_world(trusted_proxies=("127.0.0.0/8",)) as world:
        yield world


async def challenge_of(oauth: OAuth, token: str = "", **door: str) -> tuple[int, str]:
    """The status, and the challenge."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    headers |= {"x-forwarded-uri": "/", "x-forwarded-method": "GET"}
    async with oauth.world.http("", client=PEER) as http:
        answer = await http.get("/forward-auth", params=door, headers=headers)
    return answer.status_code, answer.headers.get("www-authenticate", "")


@pytest.mark.spec("RFC 6750", "3", "MAY")
async def test_a_challenge_says_the_scope_that_is_needed(oauth: OAuth) -> None:
    door = {"api": API, "permissions": "orders:read and (orders:write or orders:refund)"}
    needed = 'scope="orders:read orders:write orders:refund"'
    narrow = (await (await oauth.client()).tokens(scope="orders:read"))["access_token"]
    assert await challenge_of(oauth, **door) == (401, f"Bearer {needed}, {WHERE}")
    assert await challenge_of(oauth, "kb_at_x", **door) == (401, f'Bearer error="invalid_token", {needed}, {WHERE}')
    assert await challenge_of(oauth, narrow, **door) == (
        403,
        f'Bearer error="insufficient_scope", {needed}, {WHERE}',
    )


@pytest.mark.spec("RFC 6750", "3.1", "SHOULD NOT")
async def test_a_request_without_a_token_gets_no_error_code(oauth: OAuth) -> None:
    assert await challenge_of(oauth, api=API) == (401, f"Bearer {WHERE}")
    assert await challenge_of(oauth) == (401, "Bearer")
