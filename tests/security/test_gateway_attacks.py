"""Attacks on the gateway's own machinery: waits without an end, memory, limits and doors passed by another way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from tests.e2e.gated import Gated, gated
from tests.e2e.raw import Closed, request
from tests.e2e.shop import API
from tests.support.upstream import Asked, Upstream

ROUTES = """
[[routes]]
name = "small"
upstream = "{upstream}"
path = "/small"
public = true
max_body = 1000

[[routes]]
name = "everything"
upstream = "{upstream}"
path = "/files"
public = true

[[routes]]
name = "secret-files"
upstream = "{upstream}"
path = "/files/a@b-%C3%A9"
api = "{api}"
"""


async def _plenty(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """More than all buffers on the way take."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
    for _ in range(2000):
        writer.write(b"x" * 100_000)
        await writer.drain()


async def _cut(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
    await writer.drain()
    raise ConnectionResetError


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    upstream = Upstream({"/orders/plenty": _plenty, "/inner/cut": _cut})
    routes = ROUTES.format(upstream=upstream.url, api=API)
    with gated(tmp_path_factory.mktemp("attacked"), upstream, routes=routes) as made:
        yield made
    upstream.stop()


def _all_of(client: socket.socket) -> int:
    """How many bytes come until the end."""
    count = 0
    while piece := client.recv(1_000_000):
        count += len(piece)
    return count


# Waits.


@pytest.mark.parametrize(
    "begun",
    [b"GET /open/2 HTTP/1.1\r\nHo", request("POST", "/open/2", "Content-Length: 9") + b"x"],
    ids=["head", "body"],
)
def test_what_is_begun_behind_another_request_must_arrive_in_time_too(scene: Gated, begun: bytes) -> None:
    """Slow loris: the deadline of the first request is over when it is answered; the next one has its own."""
    with scene.raw() as raw:
        raw.send(request("GET", "/open/1") + begun)
        assert raw.receive().status == 200
        began = time.monotonic()
        with contextlib.suppress(Closed):
            assert raw.receive().status == 408
        assert time.monotonic() - began < 5


def test_trailers_without_an_end_are_refused_before_they_cost_anything(scene: Gated) -> None:
    with socket.create_connection(("127.0.0.1", scene.port), timeout=10) as client:
        client.sendall(request("POST", "/open/1", "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\nX-Trailer: ")
        before, sent = psutil.Process(scene.node.pid).memory_info().rss, 0
        with contextlib.suppress(OSError):
            while sent < 500_000_000:
                sent += client.send(b"a" * 65536)
        assert psutil.Process(scene.node.pid).memory_info().rss - before < 16_000_000
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_revoked_key_ends_an_answer_that_its_client_takes_slowly(scene: Gated) -> None:
    key_id, credential = scene.shop.key("pages:read")
    with socket.create_connection(("127.0.0.1", scene.port), timeout=10) as client:
        client.sendall(request("GET", "/orders/plenty", f"Authorization: Bearer {credential}"))
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        scene.shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            client.recv(1000)
            time.sleep(0.005)
        assert _all_of(client) < 20_000_000  # what was on its way; the rest of 200 MB is not


def test_what_is_cut_short_does_not_look_whole_to_an_old_client(scene: Gated) -> None:
    """A client of HTTP/1.0 takes the end of the connection for the end of the body, unless it is reset."""
    with socket.create_connection(("127.0.0.1", scene.port), timeout=10) as client:
        client.sendall(request("GET", "/open/cut", version="1.0"))
        with pytest.raises(ConnectionResetError):
            _all_of(client)


# Limits and doors.


def test_a_chunked_body_that_came_at_once_is_measured_too(scene: Gated) -> None:
    scene.upstream.forget()
    with scene.raw() as raw:
        chunk = b"7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n"
        raw.send(request("POST", "/small/1", "Transfer-Encoding: chunked") + chunk)
        assert raw.receive().status == 413
    assert scene.upstream.asked == []


@pytest.mark.parametrize(
    "path",
    ["/files/a@b-%C3%A9", "/files/a@b-%c3%a9", "/files/a%40b-%C3%A9/x", "/files/a%40b-%c3%A9"],
    ids=["plain", "lower-case", "encoded", "both"],
)
def test_a_narrow_route_is_not_passed_by_in_another_spelling(scene: Gated, path: str) -> None:
    with scene.raw() as raw:
        raw.send(request("GET", path))
        assert raw.receive().status == 401


@pytest.mark.parametrize("path", ["/files/%61", "/files/%2561", "/files/%252561", "/files/%252541"])
def test_what_becomes_another_path_when_it_is_decoded_again_is_refused(scene: Gated, path: str) -> None:
    with scene.raw() as raw:
        raw.send(request("GET", path))
        assert raw.receive().status == 400


@pytest.mark.parametrize("version", ["0.9", "2.0"])
def test_only_the_versions_that_are_spoken_here_are_answered(scene: Gated, version: str) -> None:
    scene.upstream.forget()
    with scene.raw() as raw:
        raw.send(request("GET", "/open/1", version=version))
        assert raw.receive().status in (400, 505)
    assert scene.upstream.asked == []


def test_a_credential_for_another_door_does_not_reach_the_upstream_of_an_open_one(scene: Gated) -> None:
    _, credential = scene.shop.key("pages:read")
    scene.upstream.forget()
    headers = ["Cookie: theme=dark; __Host-session=" + credential, "X-Shop-Key: " + credential]
    with scene.raw() as raw:
        raw.send(request("GET", "/open/1", *headers))
        assert raw.receive().status == 200
    asked = scene.upstream.asked[-1]
    assert credential not in str(asked)
    assert asked.field("cookie") == "theme=dark"


def test_a_narrow_route_that_is_switched_off_lets_no_wider_one_answer(scene: Gated) -> None:
    route = {"name": "shut", "upstream": "https://u.example", "path": "/files/shut", "api": API}
    made = scene.shop.call("POST", "/v1/routes", route)
    assert scene.http.get("/files/shut/x", headers={"authorization": ""}).status_code == 401
    scene.shop.call("POST", f"/v1/routes/{made['id']}/disable")
    assert scene.http.get("/files/shut/x").status_code == 404


def test_a_route_of_the_api_does_not_take_the_place_of_one_in_the_file(scene: Gated) -> None:
    taken = {"name": "mine", "upstream": "https://u.example", "path": "/open", "methods": ["GET"], "public": True}
    made = scene.shop.call("POST", "/v1/routes", taken)
    try:
        assert scene.echoed("/open/1")["target"] == "/inner/1"
    finally:
        scene.shop.call("DELETE", f"/v1/routes/{made['id']}")


def test_a_phantom_token_ends_with_the_key_that_it_stands_for(scene: Gated) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=20)
    _, credential = scene.shop.key("pages:read", expires_at=ends.isoformat())
    fields = dict(scene.echoed("/orders/1", headers={"authorization": f"Bearer {credential}"})["fields"])
    payload = fields["authorization"].split(".")[1]
    claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["exp"] <= ends.timestamp()
