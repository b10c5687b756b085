"""Forward-auth against clients who lie and proxies that were configured in haste: it fails closed.

Spec: SECURITY-BAR, oauth2-proxy #3506 (an empty list trusted everyone), APISIX CVE-2022-29266 (a missing secret opens),
Unkey (client IP from the leftmost ``X-Forwarded-For``), Caddy CVE-2026-30851 (identity headers); DESIGN §8.
"""

from __future__ import annotations

from typing import Any

import pytest

from keybearer.services import keys
from keybearer.wire.keys import CreateKey, RestrictionsSpec
from tests.security.conftest import anyone
from tests.support.embedded import Embedded, embedded
from tests.support.requests import Scene

pytestmark = pytest.mark.anyio

PROXY = {"trusted_proxies": ("192.0.2.1/32", "10.0.0.0/8")}


async def issue(world: Embedded, project: str, *permissions: str, **settings: Any) -> str:
    body = CreateKey(project, "k", permissions=list(permissions), **settings)
    return (await keys.create(world.authority, world.root, body)).credential


async def ask(
    world: Embedded, target: str, credential: str, *said: tuple[bytes, bytes], peer: str = "192.0.2.1"
) -> Any:
    async with world.http("", client=(peer, 1)) as http:
        return await http.get(target, headers=[*anyone(credential), *said])


@pytest.mark.parametrize("networks", [(), ("198.51.100.0/24",)])
async def test_who_is_not_trusted_may_not_ask(networks: tuple[str, ...]) -> None:
    """An empty list trusts nobody, not everybody; also with the best of keys."""
    async with embedded(trusted_proxies=networks) as world:
        for peer in ("192.0.2.1", "127.0.0.1", "::1", "10.0.0.1", "::ffff:127.0.0.1"):
            answer = await ask(world, "/forward-auth", world.root_key, peer=peer)
            assert answer.status_code == 403
            assert not [name for name in answer.headers if name.startswith("x-keybearer-key")]


@pytest.mark.parametrize(
    "query",
    [
        *(
            "api=",
            "permissions=",
            "api=&permissions=",
            "cost=",
            "api=urn:nothing",
            "permissions=()",
            "permissions=a and",
        ),
        *("permission=x", "API=x", "scope=x", "cost=-1", "cost=1.5", "cost=1e3", "cost=٣", "api=%00", "=x", "&&&x"),
    ],
)
async def test_a_door_that_is_not_understood_stays_shut(query: str) -> None:
    """Above all one whose variable was left empty by the proxy's configuration."""
    async with embedded(**PROXY) as world:
        scene = await Scene.of(world, 1)
        good = await issue(world, scene.project, f"orders{scene.number}:read")
        assert (await ask(world, "/forward-auth", good)).status_code == 200
        for path in ("/forward-auth", "/forward-auth/nginx"):
            answer = await ask(world, f"{path}?{query}", good)
            assert answer.status_code == 400, query
            assert good not in answer.text


async def test_the_address_is_what_the_last_proxy_saw() -> None:
    async with embedded(**PROXY) as world:
        scene = await Scene.of(world, 1)
        near = await issue(world, scene.project, restrictions=RestrictionsSpec(ip_networks=["203.0.113.0/24"]))
        for chain, status in {
            "203.0.113.5": 200,
            "6.6.6.6, 203.0.113.5": 200,
            "203.0.113.5, 6.6.6.6": 401,
            "203.0.113.5, 6.6.6.6, 10.1.1.1": 401,
            "6.6.6.6, 203.0.113.5, 10.1.1.1, 10.2.2.2": 200,
            "203.0.113.5, for=6.6.6.6": 401,
            "203.0.113.5,,": 401,
            "": 401,
        }.items():
            said = [(b"authorization", f"Bearer {near}".encode()), (b"x-forwarded-for", chain.encode())]
            async with world.http("") as http:
                assert (await http.get("/forward-auth", headers=said)).status_code == status, chain
        async with world.http("") as http:
            silent = [(b"authorization", f"Bearer {near}".encode()), (b"x-real-ip", b"203.0.113.5")]
            assert (await http.get("/forward-auth", headers=silent)).status_code == 401


async def test_identity_headers_are_ours_alone() -> None:
    """The answer has each identity header once, whatever the client sent under such names in any spelling."""
    async with embedded(**PROXY) as world:
        scene = await Scene.of(world, 1)
        good = await issue(world, scene.project, owner="Ana\u00e9; x=1, \u2603")
        names = (
            "Key",
            "Project",
            "Kind",
            "Environment",
            "Permissions",
            "Owner",
            "Identity",
            "Status",
            "Token",
            "Client",
            "User",
        )
        lies = [(f"X{dash}Keybearer{dash}{name}".encode(), b"forged") for name in names for dash in ("-", "_", ".")]
        answer = await ask(world, "/forward-auth", good, *lies)
        assert answer.status_code == 200
        assert "forged" not in str(answer.headers)
        mine = [name for name, _ in answer.headers.multi_items() if name.startswith("x-keybearer-")]
        assert len(mine) == len(set(mine))
        # What is not known is said to be empty, so that no proxy hands on what a client wrote in its place.
        for name in ("identity", "token", "client", "subject", "user"):
            assert answer.headers[f"x-keybearer-{name}"] == ""
        assert answer.headers["x-keybearer-owner"] == "Ana%C3%A9%3B%20x%3D1%2C%20%E2%98%83"


async def test_a_method_that_is_overridden_is_not_the_method() -> None:
    """``X-HTTP-Method-Override: DELETE`` beside a GET: some frameworks behind the proxy would delete."""
    async with embedded(**PROXY) as world:
        scene = await Scene.of(world, 1)
        reader = await issue(world, scene.project, restrictions=RestrictionsSpec(methods=["GET"]))
        anything = await issue(world, scene.project)
        said = (b"x-original-method", b"GET")
        assert (await ask(world, "/forward-auth", reader, said)).status_code == 200
        assert (await ask(world, "/forward-auth", reader)).status_code == 401
        for name in (b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override"):
            assert (await ask(world, "/forward-auth", reader, said, (name, b"DELETE"))).status_code == 401
            assert (await ask(world, "/forward-auth", reader, (name, b"GET"))).status_code == 401
            assert (await ask(world, "/forward-auth", reader, said, (name, b"get"))).status_code == 200
            assert (await ask(world, "/forward-auth", anything, said, (name, b"DELETE"))).status_code == 200


async def test_a_path_that_is_rewritten_is_not_the_path() -> None:
    """``X-Original-URL: /admin`` beside an innocent path: some servers behind the proxy would go there."""
    async with embedded(**PROXY) as world:
        scene = await Scene.of(world, 1)
        near = await issue(world, scene.project, restrictions=RestrictionsSpec(paths=["/guide/*"]))
        anything = await issue(world, scene.project)
        said = (b"x-original-uri", b"/guide/x?y")
        assert (await ask(world, "/forward-auth", near, said)).status_code == 200
        for name in (b"X-Original-URL", b"X-Rewrite-URL"):
            for lie in (b"/admin", b"https://site.example/admin", b"", b"x", b"/guide/x"):
                assert (await ask(world, "/forward-auth", near, said, (name, lie))).status_code == 401, lie
                assert (await ask(world, "/forward-auth", anything, said, (name, lie))).status_code == 200
            for truth in (b"/guide/x?y", b"https://site.example/guide/x?y"):
                assert (await ask(world, "/forward-auth", near, said, (name, truth))).status_code == 200
            assert (await ask(world, "/forward-auth", near, (name, b"/guide/x?y"))).status_code == 401
            key_in_url = (b"x-original-uri", f"/guide/x?key={near}".encode())
            assert (await ask(world, "/forward-auth", near, key_in_url, (name, b"/admin"))).status_code == 401


async def test_what_is_restricted_but_not_said_is_refused() -> None:
    async with embedded(**PROXY) as world:
        scene = await Scene.of(world, 1)
        for restrictions in (
            RestrictionsSpec(origins=["https://a.example"]),
            RestrictionsSpec(referrers=["https://a.example/*"]),
            RestrictionsSpec(methods=["GET"]),
            RestrictionsSpec(paths=["/*"]),
            RestrictionsSpec(ios_bundle_ids=["com.example.app"]),
            RestrictionsSpec(ip_networks=["198.51.100.0/24"]),
        ):
            key = await issue(world, scene.project, restrictions=restrictions)
            for target in ("/forward-auth", f"/forward-auth?api={scene.api}"):
                assert (await ask(world, target, key)).status_code == 401, restrictions


async def test_a_known_request_is_refused_when_anything_about_it_changes() -> None:
    """Asked often, then with another API, another peer, another address, another permission: never by memory."""
    async with embedded(**PROXY) as world:
        scene, other = await Scene.of(world, 1), await Scene.of(world, 2)
        good = await issue(world, scene.project, f"orders{scene.number}:read")
        door = f"/forward-auth?api={scene.api}&permissions=orders{scene.number}:read"
        for _ in range(3):
            assert (await ask(world, door, good)).status_code == 200
            assert (await ask(world, f"/forward-auth?api={other.api}", good)).status_code == 401
            assert (await ask(world, door.replace(":read", ":write"), good)).status_code == 403
            assert (await ask(world, door, good, peer="198.51.100.9")).status_code == 403
