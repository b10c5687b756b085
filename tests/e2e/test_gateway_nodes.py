"""The gateway on several nodes: one that is a gateway only, and one that loses its database."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.shop import API, Shop
from tests.support.authority import Authority, keybearer_command
from tests.support.ports import free_port
from tests.support.postgresql import PostgresqlServer
from tests.support.processes import stop, wait_for
from tests.support.upstream import Upstream

ROUTES = '[[routes]]\nname = "site"\nupstream = "{upstream}"\napi = "{api}"\n'


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    one = Upstream()
    yield one
    one.stop()


def _routes(folder: Path, upstream: Upstream) -> Path:
    file = folder / "routes.toml"
    file.write_text(ROUTES.format(upstream=upstream.url, api=API))
    return file


def test_a_node_that_is_a_gateway_only_keeps_the_promise(
    authority: Callable[..., Authority], upstream: Upstream, tmp_path: Path
) -> None:
    shop = Shop(authority())
    key_id, credential = shop.key("pages:read")
    port, log = free_port(), tmp_path / "gateway.log"
    arguments = ("--gateway-port", str(port), "--gateway-routes", str(_routes(tmp_path, upstream)))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [keybearer_command(), "gateway", "--data", str(shop.node.data), "--issuer", shop.node.issuer, *arguments],
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(
            lambda: re.search(rb"^ready http", log.read_bytes(), re.MULTILINE),
            seconds=30,
            what="ready",
            process=process,
        )
        url, headers = f"http://127.0.0.1:{port}/x", {"authorization": f"Bearer {credential}"}
        assert httpx.get(url, headers=headers).status_code == 200
        # Nothing of the authority itself is there.
        assert httpx.get(f"http://127.0.0.1:{port}/v1/keys", headers=headers).json()["target"] == "/v1/keys"
        assert httpx.get(f"{url}?key={credential}").status_code == 401
        wait_for(
            lambda: key_id in {use["key_id"] for use in shop.call("GET", "/v1/leaks/urls?start=-1h")["uses"]},
            seconds=15,
            what="the report of keys in URLs",
            process=process,
        )
        shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
        revoked_at = time.monotonic()
        while httpx.get(url, headers=headers).status_code != 401:
            assert time.monotonic() - revoked_at < 1
    finally:
        assert stop(process) == 0


def test_a_gateway_without_an_authority_does_not_start(tmp_path: Path, upstream: Upstream) -> None:
    arguments = ("--gateway-port", str(free_port()), "--gateway-routes", str(_routes(tmp_path, upstream)))
    done = subprocess.run(
        [keybearer_command(), "gateway", "--data", str(tmp_path / "none"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "keybearer init" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[routes]]\nname = "a"\nupstream = "http://h"\n', "api: name the API"),
        ('[[routes]]\nname = "a"\nupstream = "ftp://h"\npublic = true\n', "no http(s) URL"),
        ('[[routes]]\nname = "a"\nupstream = "http://h"\npublic = true\nopen = 1\n', "unknown field"),
        ('[[routes]]\nname = "a"\nupstream = "http://h"\npublic = true\npath = "/a/../b"\n', "in one way only"),
        ('[[routes]]\nname = "a"\nupstream = "http://h"\npublic = true\napi = "urn:x"\n', "asks for nothing"),
        ("[[routes]", "cannot be read"),
    ],
    ids=["no-door", "scheme", "unknown", "path", "both", "toml"],
)
def test_a_file_of_routes_that_is_wrong_is_named_before_anything_is_served(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(text)
    ports = ("--port", str(free_port()), "--gateway-port", str(free_port()))
    done = subprocess.run(
        [keybearer_command(), "serve", "--data", str(tmp_path / "d"), *ports, "--gateway-routes", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert said in done.stderr


def test_without_the_database_the_gateway_lets_nobody_pass(
    authority: Callable[..., Authority],
    postgresql_server: PostgresqlServer,
    postgresql_url: str,
    upstream: Upstream,
    tmp_path: Path,
) -> None:
    port = free_port()
    settings = {"KEYBEARER_GATEWAY_PORT": str(port), "KEYBEARER_GATEWAY_ROUTES": str(_routes(tmp_path, upstream))}
    shop = Shop(authority(database=postgresql_url, environment=settings))
    _, credential = shop.key("pages:read")
    url, headers = f"http://127.0.0.1:{port}/x", {"authorization": f"Bearer {credential}"}
    assert httpx.get(url, headers=headers).status_code == 200
    postgresql_server.kill9()
    try:
        time.sleep(1.2)
        upstream.forget()
        assert {httpx.get(url, headers=headers, timeout=20).status_code for _ in range(5)} == {503}
        assert upstream.asked == []
    finally:
        postgresql_server.start()
    until = time.monotonic() + 15
    while httpx.get(url, headers=headers, timeout=20).status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.1)
