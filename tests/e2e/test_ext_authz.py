"""`keybearer serve` answers Envoy over gRPC: several workers behind one port, over TLS, and only where asked to."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from keybearer import app
from keybearer.core.errors import ConfigurationError
from keybearer.settings import Settings, load
from tests.e2e.curl import bearer, curl
from tests.e2e.shop import API, Shop
from tests.support.authority import Authority
from tests.support.certificates import make
from tests.support.envoys_question import ask, check_request, set_headers
from tests.support.ports import free_port

DOOR = {"api": API, "permissions": "pages:read"}


def test_every_worker_answers_and_a_revoke_counts_at_all_of_them(authority: Callable[..., Authority]) -> None:
    port = free_port()
    node = authority(workers=2, arguments=("--ext-authz-port", str(port)))
    shop = Shop(node)
    key_id, credential = shop.key("pages:read")
    request = check_request(("authorization", f"Bearer {credential}"), door=DOOR)

    async def codes() -> set[int]:
        """What fresh connections are answered; the system spreads them over the workers."""
        found = set()
        for number in range(24):
            options = (("grpc.use_local_subchannel_pool", 1), ("keybearer.number", number))
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                answer = await ask(channel, request)
                assert answer.status.code or set_headers(answer)["x-keybearer-key"] == key_id
                found.add(answer.status.code)
        return found

    assert asyncio.run(codes()) == {0}
    shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
    assert asyncio.run(codes()) == {16}
    assert len(node.worker_pids()) == 2
    assert node.stop() == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port))


def test_it_speaks_tls_where_the_server_does(authority: Callable[..., Authority], tmp_path: Path) -> None:
    addresses = [x509.IPAddress(ip_address("127.0.0.1"))]
    server = make("localhost", at=datetime.now(UTC), names=addresses, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    (tmp_path / "server.pem").write_bytes(server.pem)
    (tmp_path / "server.key").write_bytes(server.key_pem)
    port = free_port()
    settings = {
        "KEYBEARER_EXT_AUTHZ_PORT": str(port),
        "KEYBEARER_TLS_CERTIFICATE": str(tmp_path / "server.pem"),
        "KEYBEARER_TLS_KEY": str(tmp_path / "server.key"),
    }
    shop = Shop(authority(environment=settings))
    _, credential = shop.key("pages:read")
    request = check_request(("x-api-key", credential), door=DOOR)

    async def code() -> int:
        trust = grpc.ssl_channel_credentials(server.pem)
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", trust) as channel:
            return int((await ask(channel, request)).status.code)

    async def in_the_clear() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await ask(channel, request)

    assert asyncio.run(code()) == 0
    with pytest.raises(grpc.aio.AioRpcError):
        asyncio.run(in_the_clear())


def test_the_access_log_tells_no_path_of_a_client(authority: Callable[..., Authority]) -> None:
    port = free_port()
    settings = {"KEYBEARER_ACCESS_LOG": "true", "KEYBEARER_EXT_AUTHZ_PORT": str(port)}
    shop = Shop(authority(environment=settings))
    _, credential = shop.key("pages:read")
    door = ("-H", f"X-Keybearer-Door: api={API}&permissions=pages:read")
    assert curl(f"{shop.node.url}/ext-authz/a-path-of-somebody?x", *bearer(credential), *door).status == 200

    async def over_grpc() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            lines = ("authorization", f"Bearer {credential}")
            assert (await ask(channel, check_request(lines, door=DOOR, path="/a-path-of-somebody"))).status.code == 0

    asyncio.run(over_grpc())
    assert shop.node.stop() == 0
    for route in ("/ext-authz", "envoy.service.auth.v3.Authorization"):
        assert route in shop.node.output
    assert "a-path-of-somebody" not in shop.node.output
    assert credential not in shop.node.output


def test_without_grpc_installed_the_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keybearer.web.ext_authz_grpc", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'keybearer\[envoy\]'"):
        asyncio.run(app._ext_authz_server(Settings(ext_authz_port=1), None, None, None))  # type: ignore[arg-type]


def test_the_two_ports_differ() -> None:
    with pytest.raises(ConfigurationError, match="another port"):
        load({"port": 8090, "ext_authz_port": 8090}, {})
