"""What forward-auth believes when a field comes twice: nothing that another field contradicts."""

from __future__ import annotations

import pytest

from keybearer.wire.keys import RestrictionsSpec
from tests.support.embedded import Embedded
from tests.unit.web.test_known_requests import Door, key_of

pytestmark = pytest.mark.anyio


async def status_of(world: Embedded, *fields: str) -> int:
    request = "\r\n".join(["GET /forward-auth HTTP/1.1", "Host: a.test", *fields, "\r\n"]).encode()
    return (await Door(world).connect().ask(request))[0]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["X-Forwarded-Uri: /a"], 200),
        (["X-Forwarded-Uri: /a", "X-Forwarded-Uri: /a"], 200),
        (["X-Forwarded-Uri: /a", "X-Original-Uri: /a?b"], 401),
        (["X-Original-Uri: /a", "X-Forwarded-Uri: /b"], 401),
        (["X-Forwarded-Uri: /b", "X-Forwarded-Uri: /a"], 401),
        (["X-Forwarded-Uri: /a", "X-Forwarded-Uri: /b"], 401),
        (["X-Forwarded-Uri: /b"], 401),
        (["X-Forwarded-Uri: /a", "X-Forwarded-Method: get"], 200),
        (["X-Forwarded-Uri: /a", "X-Original-Method: GET", "X-Forwarded-Method: POST"], 401),
        (["X-Forwarded-Uri: /a", "Origin: https://a.test", "Origin: https://b.test"], 401),
        (["X-Forwarded-Uri: /a", "Via: 1.1 a", "Via: 1.1 b"], 200),
        ([], 401),
    ],
)
async def test_contradictions_are_refused(world: Embedded, fields: list[str], status: int) -> None:
    _, _, text = await key_of(world, restrictions=RestrictionsSpec(paths=["/a"]))
    assert await status_of(world, f"X-Api-Key: {text}", *fields) == status


async def test_a_credential_that_comes_twice_is_refused_though_it_is_the_same(world: Embedded) -> None:
    _, _, text = await key_of(world)
    for fields in (
        [f"X-Api-Key: {text}"] * 2,
        [f"Authorization: Bearer {text}"] * 2,
        [f"X-Api-Key: {text}", f"Authorization: Bearer {text}"],
    ):
        assert await status_of(world, *fields) == 401


async def test_the_client_is_the_last_that_no_trusted_proxy_named_in_whichever_field(world: Embedded) -> None:
    _, _, text = await key_of(world, restrictions=RestrictionsSpec(ip_networks=["203.0.113.7"]))
    key = f"X-Api-Key: {text}"
    client, other = "X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 198.51.100.1"
    assert await status_of(world, key, client) == 200
    assert await status_of(world, key, other, client) == 200
    assert await status_of(world, key, client, other) == 401
    assert await status_of(world, key) == 401
