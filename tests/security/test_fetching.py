"""The one way out cannot be talked into reaching what only this machine reaches. Spec: OWASP API7, SECURITY-BAR 27."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from keybearer.core.errors import Unreachable
from keybearer.fetch import GuardedFetcher
from tests.support.https import LOOPBACK, Received, Reply, https_server

pytestmark = pytest.mark.anyio


async def test_a_form_is_posted_once_with_the_headers_that_were_given(tmp_path: Path) -> None:
    async with https_server(tmp_path) as server:
        form, headers = {"token": "a b&c=d", "empty": ""}, {"authorization": "Basic eDp5"}
        fetched = await server.fetcher().post_form(server.url + "/path?q=1", form, headers)
    assert fetched.status == 200
    assert len(server.received) == 1
    request = server.received[0]
    assert (request.method, request.target) == ("POST", "/path?q=1")
    assert request.form == form
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["authorization"] == "Basic eDp5"
    assert request.headers["host"] == f"localhost:{server.port}"


async def test_headers_of_a_get(tmp_path: Path) -> None:
    async with https_server(tmp_path) as server:
        await server.fetcher().get(server.url, accept="text/plain", headers={"authorization": "Bearer x"})
    assert server.received[0].headers["authorization"] == "Bearer x"
    assert server.received[0].headers["accept"] == "text/plain"


@pytest.mark.parametrize("method", ["get", "post_form"])
async def test_loopback_is_reached_only_where_it_is_allowed(tmp_path: Path, method: str) -> None:
    async def fetch(fetcher: GuardedFetcher, url: str) -> None:
        await (fetcher.get(url) if method == "get" else fetcher.post_form(url, {"a": "b"}))

    async with https_server(tmp_path) as server:
        for url in (server.url, f"https://127.0.0.1:{server.port}", f"https://[::ffff:127.0.0.1]:{server.port}"):
            with pytest.raises(Unreachable, match="network that may not be reached"):
                await fetch(GuardedFetcher(ca=str(server.ca)), url)
        assert not server.received
        await fetch(server.fetcher(), server.url)
        assert len(server.received) == 1


@pytest.mark.parametrize(
    "address",
    [
        "[::1]",
        "[::7f00:1]",
        "[::ffff:0:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::a00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::80ff:fffe]",
        "[fec0::1]",
        "[fe80::1]",
        "[fd00::1]",
        "[ff02::1]",
        "0.0.0.0",
        "0x7f000001",
        "2130706433",
        "127.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.192",
        "192.88.99.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
async def test_addresses_that_lead_inwards_in_any_spelling(address: str) -> None:
    with pytest.raises(Unreachable, match=r"network that may not be reached|cannot be resolved"):
        await GuardedFetcher().get(f"https://{address}:9/")


async def test_a_name_with_one_private_address_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_arguments: Any, **_named: Any) -> list[Any]:
        addresses = ("93.184.216.34", "10.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    with pytest.raises(Unreachable, match="network that may not be reached"):
        await GuardedFetcher().post_form("https://rebind.example/", {})


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:PORT/",
        "https://user:secret@localhost:PORT/",
        "ftp://localhost:PORT/",
        "https:///etc/passwd",
        "https://localhost:0/",
        "https://localhost:PORT/a b",
        "https://localhost:PORT\\@example.com/",
        "https://localhost:PORT/\r\nx-evil: 1",
    ],
)
async def test_urls_that_are_not_fetched(tmp_path: Path, url: str) -> None:
    async with https_server(tmp_path) as server:
        with pytest.raises(Unreachable):
            await server.fetcher().post_form(url.replace("PORT", str(server.port)), {"a": "b"})
        assert not server.received


async def test_redirects_are_answers_and_not_followed(tmp_path: Path) -> None:
    async def elsewhere(_request: Received) -> Reply:
        return Reply(307, headers={"location": "https://169.254.169.254/latest/meta-data"})

    async with https_server(tmp_path, elsewhere) as server:
        assert (await server.fetcher().post_form(server.url, {"secret": "x"})).status == 307
        assert len(server.received) == 1


async def test_answers_are_bounded(tmp_path: Path) -> None:
    async def long(_request: Received) -> Reply:
        return Reply(body=b"x" * 2000)

    async with https_server(tmp_path, long) as server:
        with pytest.raises(Unreachable, match="larger"):
            await server.fetcher().post_form(server.url, {}, limit=1000)


async def test_a_server_that_nobody_vouches_for_is_not_believed(tmp_path: Path) -> None:
    async with https_server(tmp_path) as server:
        for fetcher in (GuardedFetcher(LOOPBACK), GuardedFetcher([ip_network("127.0.0.1/32")])):
            with pytest.raises(Unreachable, match="does not answer"):
                await fetcher.post_form(server.url, {"secret": "x"})
        assert not server.received
