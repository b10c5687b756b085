"""Envoy's ext_authz, over HTTP and gRPC, against clients who lie and configurations made in haste: it fails closed.

Spec: SECURITY-BAR, Envoy CVE-2019-9901 (path), CVE-2021-32777 (the last of several values), oauth2-proxy #3506 (an
empty list trusts nobody), APISIX CVE-2022-29266 (what is missing does not open).
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import msgspec
import pytest

from keybearer.core.errors import ConfigurationError
from keybearer.http.client_address import TrustedProxies
from keybearer.ports import NotReady
from keybearer.services import keys
from keybearer.settings import Settings
from keybearer.web import ext_authz_grpc
from keybearer.web.credentials import waiting_for
from keybearer.web.ext_authz import headers_to_remove
from keybearer.web.forward_auth import ForwardAuthEdge
from keybearer.wire.keys import CreateKey, RestrictionsSpec
from tests.support.embedded import Embedded, embedded
from tests.support.envoys_question import ask, check_request, set_headers
from tests.support.ports import free_port
from tests.support.requests import Scene

pytestmark = pytest.mark.anyio

PROXY = {"trusted_proxies": ("192.0.2.1/32", "127.0.0.0/8")}


async def issue(world: Embedded, project: str, *permissions: str, **settings: Any) -> str:
    body = CreateKey(project, "k", permissions=list(permissions), **settings)
    return (await keys.create(world.authority, world.root, body)).credential


async def http(
    world: Embedded, path: str, *headers: tuple[str, str], method: str = "GET", peer: str = "192.0.2.1"
) -> Any:
    async with world.http("", client=(peer, 1)) as client:
        return await client.request(method, f"/ext-authz{path}", headers=list(headers))


@asynccontextmanager
async def served(world: Embedded, **more: Any) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the gRPC service of this authority."""
    settings = Settings(**{**PROXY, "ext_authz_port": free_port(), **more})
    records, verifier = world.authority.records, world.verifier
    forward = ForwardAuthEdge(records, TrustedProxies(settings.proxies), verifier, "https://authority.example")
    server = await ext_authz_grpc.start(settings, records, forward, waiting_for(world.authority, verifier))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{settings.ext_authz_port}") as channel:
            yield channel
    finally:
        await server.stop(None)


def bearer(credential: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {credential}")


async def test_without_a_door_nobody_passes() -> None:
    """Over HTTP the header that Envoy sets, over gRPC what the route says: missing, empty, unknown or twice."""
    async with embedded(**PROXY) as world, served(world) as channel:
        scene = await Scene.of(world, 1)
        good = await issue(world, scene.project, f"orders{scene.number}:read")
        door = f"api={scene.api}"
        assert (await http(world, "/x", bearer(good), ("x-keybearer-door", door))).status_code == 200
        for doors in ([], [""], ["api="], ["permission=x"], [door, door], [door, ""], ["api=urn:nothing"]):
            named = [("x-keybearer-door", one) for one in doors]
            answer = await http(world, "/x", bearer(good), *named)
            assert answer.status_code == 400, doors
            assert good not in answer.text
        assert (await ask(channel, check_request(bearer(good), door={"api": scene.api}))).status.code == 0
        for extensions in (
            {},
            {"api": ""},
            {"permission": "x"},
            {"api": "urn:nothing"},
            {"api": scene.api, "cost": "-1"},
        ):
            denied = await ask(channel, check_request(bearer(good), door=extensions))
            assert (denied.status.code, denied.denied_response.status.code) == (3, 400), extensions
            assert not denied.HasField("ok_response")


async def test_who_is_not_trusted_may_not_ask() -> None:
    async with embedded(**PROXY) as world, served(world, trusted_proxies=()) as channel:
        scene = await Scene.of(world, 1)
        door = ("x-keybearer-door", f"api={scene.api}")
        assert (await http(world, "/x", bearer(world.root_key), door, peer="198.51.100.7")).status_code == 403
        denied = await ask(channel, check_request(bearer(world.root_key), door={"api": scene.api}))
        assert (denied.status.code, denied.denied_response.status.code) == (7, 403)


async def test_the_path_is_the_one_that_envoy_says_byte_for_byte() -> None:
    """Neither a header of the client nor another reading of the path counts, over HTTP or gRPC."""
    async with embedded(**PROXY) as world, served(world) as channel:
        scene = await Scene.of(world, 1)
        near = await issue(world, scene.project, restrictions=RestrictionsSpec(paths=["/guide/*"], methods=["GET"]))
        lies = [(name, "/guide/x") for name in ("x-original-uri", "x-forwarded-uri")]
        lies += [(name, "GET") for name in ("x-original-method", "x-forwarded-method")]
        door = {"api": scene.api}
        header = ("x-keybearer-door", f"api={scene.api}")
        paths = {
            "/guide/x?y=%2F..%2f": 200,
            "/guide/x": 200,
            "/admin": 401,
            "/guide/../admin": 401,
            "/guide/%2e%2e/admin": 401,
            "/guide/..%2fadmin": 401,
            "/guide/%2e%2e%2fadmin": 401,
            "//guide/x": 401,
            "/guide/x;y": 401,
            "/guide/%00": 401,
        }
        for path, status in paths.items():
            assert (await http(world, path, bearer(near), header, *lies)).status_code == status, path
            answer = await ask(channel, check_request(bearer(near), *lies, door=door, path=path))
            assert (answer.denied_response.status.code or 200) == status, path
        assert (await http(world, "/guide/x", bearer(near), header, *lies, method="DELETE")).status_code == 401
        anything = await issue(world, scene.project)
        for method in ("DELETE", "PROPFIND", "OPTIONS", "TRACE"):
            assert (await http(world, "/guide/x", bearer(anything), header, method=method)).status_code == 200, method
        deleting = check_request(bearer(near), *lies, door=door, path="/guide/x", method="DELETE")
        assert (await ask(channel, deleting)).denied_response.status.code == 401
        # What does not stand behind the prefix as a path is about no request.
        for path in ("", "*", "?/guide/x", "x/guide/x"):
            assert (await http(world, path, bearer(near), header)).status_code == 400, path


async def test_several_values_are_never_one() -> None:
    """CVE-2021-32777: whichever line comes last, and merged by commas as Envoy does without ``encode_raw_headers``."""
    async with embedded(**PROXY) as world, served(world) as channel:
        scene = await Scene.of(world, 1)
        good = await issue(world, scene.project)
        door, header = {"api": scene.api}, ("x-keybearer-door", f"api={scene.api}")
        bad = bearer("kb_sk_live_nobody")
        for lines in ((bearer(good), bad), (bad, bearer(good)), (bearer(good), ("x-api-key", good))):
            assert (await http(world, "/", *lines, header)).status_code == 401
            assert (await ask(channel, check_request(*lines, door=door))).status.code == 16
        for merged in (f"Bearer {good},Bearer x", f"Bearer x,Bearer {good}", f"Bearer {good},"):
            assert (await ask(channel, check_request(merged={"authorization": merged}, door=door))).status.code == 16
        assert (
            await ask(channel, check_request(merged={"authorization": f"Bearer {good}"}, door=door))
        ).status.code == 0
        for host in ("site.example,admin.example", "", "/#@admin.example", "site.example admin.example"):
            assert (await ask(channel, check_request(bearer(good), door=door, host=host))).status.code == 3


async def test_the_site_gets_our_words_and_no_credential() -> None:
    async with embedded(**PROXY) as world, served(world) as channel:
        scene = await Scene.of(world, 1)
        good = await issue(world, scene.project, f"orders{scene.number}:read", owner="Ana; x=1")
        claims = [
            (f"x{dash}keybearer{dash}{name}", "forged")
            for name in ("key", "user", "status")
            for dash in ("-", "_", ".", "+")
        ]
        answer = await ask(channel, check_request(bearer(good), *claims, door={"api": scene.api}))
        said = set_headers(answer)
        assert said["x-keybearer-owner"] == "Ana%3B%20x%3D1"
        assert said["x-keybearer-permissions"] == f"orders{scene.number}:read"
        assert "forged" not in str(answer)
        assert {option.append_action for option in answer.ok_response.headers} == {2}  # OVERWRITE_IF_EXISTS_OR_ADD
        removed = set(answer.ok_response.headers_to_remove)
        # Each claim is overwritten or taken away, and never both.
        assert {name for name, _ in claims} <= removed | set(said)
        assert not removed & set(said)
        assert {"authorization", "x-api-key", "dpop", "x-keybearer-user", "x-keybearer-token"} <= removed
        over_http = await http(world, "/", bearer(good), *claims, ("x-keybearer-door", f"api={scene.api}"))
        assert over_http.headers["x-envoy-auth-headers-to-remove"] == "authorization, x-api-key, dpop"
        assert "forged" not in str(over_http.headers)


async def test_the_key_header_of_an_api_is_taken_away_too() -> None:
    async with embedded(**PROXY) as world:
        await world.authority.records.refresh()
        own = world.authority.records.api(world.authority.own_api_id)
        assert own is not None
        named = dataclasses.replace(own, key_header="X-Auth-Token")
        assert headers_to_remove(named) == ["authorization", "x-api-key", "dpop", "x-auth-token"]


async def test_the_address_is_the_one_that_envoy_saw() -> None:
    """Over gRPC the connection's source, whatever the client wrote into ``X-Forwarded-For``."""
    async with embedded(**PROXY) as world, served(world) as channel:
        scene = await Scene.of(world, 1)
        near = await issue(world, scene.project, restrictions=RestrictionsSpec(ip_networks=["203.0.113.0/24"]))
        lie = ("x-forwarded-for", "203.0.113.5")
        for source, code in {"203.0.113.9": 0, "198.51.100.1": 16, "": 16, "not an address": 16}.items():
            request = check_request(bearer(near), lie, door={"api": scene.api}, source=source)
            assert (await ask(channel, request)).status.code == code, source


async def test_refusals_say_what_to_do() -> None:
    async with embedded(**PROXY) as world, served(world) as channel:
        scene = await Scene.of(world, 1)
        limit = [{"name": "requests", "limit": 1, "period_in": 3600}]
        body = msgspec.convert(
            {"project_id": scene.project, "name": "k", "permissions": [], "limits": limit}, CreateKey
        )
        once = (await keys.create(world.authority, world.root, body)).credential
        request = check_request(bearer(once), door={"api": scene.api})
        admitted = await ask(channel, request)
        (ratelimit,) = admitted.ok_response.response_headers_to_add
        assert (ratelimit.header.key, ratelimit.header.value[:15]) == ("ratelimit", '"requests";r=0;')
        denied = await ask(channel, request)
        headers = {one.header.key: one.header.value for one in denied.denied_response.headers}
        assert (denied.status.code, denied.denied_response.status.code) == (8, 429)
        assert 0 < int(headers["retry-after"]) <= 3600
        assert '"status":429' in denied.denied_response.body
        lacking = check_request(bearer(once), door={"api": scene.api, "permissions": f"orders{scene.number}:read"})
        denied = await ask(channel, lacking)
        headers = {one.header.key: one.header.value for one in denied.denied_response.headers}
        assert denied.denied_response.status.code == 403
        assert f'scope="orders{scene.number}:read"' in headers["www-authenticate"]
        nobody = await ask(channel, check_request(door={"api": scene.api}))
        assert nobody.denied_response.status.code == 401


@pytest.mark.parametrize(
    "data", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05\x22\x03\x12\x01\xff", b"GET / HTTP/1.1"]
)
async def test_what_is_no_question_is_denied(data: bytes) -> None:
    async with embedded(**PROXY) as world, served(world) as channel:
        denied = await ask(channel, data)
        assert (denied.status.code, denied.denied_response.status.code) == (3, 400)


async def test_an_error_of_ours_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    async with embedded(**PROXY) as world, served(world) as channel:
        scene = await Scene.of(world, 1)
        good = await issue(world, scene.project)

        def fail(*arguments: object) -> None:
            raise RuntimeError(good)

        monkeypatch.setattr(world.verifier, "verify_now", fail)
        denied = await ask(channel, check_request(bearer(good), door={"api": scene.api}))
        assert denied.denied_response.status.code == 500
        assert good not in str(denied)


@pytest.mark.parametrize("times", [1, 3])
async def test_a_view_that_is_not_fresh_is_waited_for(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """And the limit is taken from once, however often the API had to be looked for."""
    async with embedded(**PROXY) as world, served(world) as channel:
        scene = await Scene.of(world, 1)
        limited = {"limits": [{"name": "requests", "limit": 4, "period_in": 3600}]}
        body = msgspec.convert({"project_id": scene.project, "name": "k", "permissions": [], **limited}, CreateKey)
        good = (await keys.create(world.authority, world.root, body)).credential
        found, left = world.authority.records.api, 0

        def stale_at_first(name: str) -> Any:
            nonlocal left
            if left:
                left -= 1
                raise NotReady
            return found(name)

        monkeypatch.setattr(world.authority.records, "api", stale_at_first)
        header = ("x-keybearer-door", f"api={scene.api}")
        for remaining in (3, 1):
            left = times
            answer = await ask(channel, check_request(bearer(good), door={"api": scene.api}))
            (ratelimit,) = answer.ok_response.response_headers_to_add
            assert f";r={remaining};" in ratelimit.header.value
            left = times
            assert f";r={remaining - 1};" in (await http(world, "/", bearer(good), header)).headers["ratelimit"]


async def test_a_question_that_is_too_large_is_no_answer() -> None:
    """Envoy then denies, as ``failure_mode_allow: false`` says."""
    async with embedded(**PROXY) as world, served(world) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await ask(channel, check_request(("x-large", "x" * 300_000), door={"api": "urn:x"}))
        assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_port_that_is_taken_is_said() -> None:
    async with embedded(**PROXY) as world:
        port = free_port()
        async with served(world, ext_authz_port=port):
            with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"):
                async with served(world, ext_authz_port=port):
                    pass


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:1234", "192.0.2.1"),
        ("ipv6:%5B::1%5D:1234", "::1"),
        ("ipv6:[fe80::1%25eth0]:1", "fe80::1%eth0"),
        ("unix:/run/envoy.sock", None),
        ("", None),
    ],
)
async def test_peers_are_read(peer: str, address: str | None) -> None:
    assert ext_authz_grpc.peer_of(peer) == address
