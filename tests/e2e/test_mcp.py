"""The Model Context Protocol: its conformance tests for authorization servers, and the client half of its SDK."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from keybearer.services.client_registration import PROJECT
from tests.e2e.shop import API, Shop
from tests.e2e.static_site import StaticSite
from tests.support.authority import Authority
from tests.support.certificates import make
from tests.support.node import NotInstalled, converse, environment, node, packages
from tests.support.ports import free_port
from tests.support.processes import kill_tree, wait_for
from tests.support.visitor import Visitor

PROGRAM = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
CALLBACK = "http://127.0.0.1:1/callback"
SCENARIOS = ("authorization-server-metadata", "authorization-server-metadata-cimd", "authorization-code-grant")


@pytest.fixture
def program() -> list[str]:
    """What runs the conformance tests."""
    try:
        return [str(node()), str(packages("mcp") / PROGRAM)]
    except NotInstalled as reason:
        pytest.skip(str(reason))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[StaticSite]:
    """The client's own site, over TLS; its certificate is in `site.pem`."""
    pair = make(
        "client",
        at=datetime.now(UTC),
        names=[x509.IPAddress(ip_address("127.0.0.1"))],
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
    )
    (tmp_path / "site.pem").write_bytes(pair.pem)
    (tmp_path / "both.pem").write_bytes(pair.pem + pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    (tmp_path / "site").mkdir()
    one = StaticSite(tmp_path / "site", context)
    yield one
    one.stop()


@pytest.fixture
def shop(authority: Callable[..., Authority], site: StaticSite, tmp_path: Path) -> Shop:
    """An authority that takes clients which nobody made known before, and an API for them."""
    settings = {
        "KEYBEARER_CLIENT_REGISTRATION": "open",
        "KEYBEARER_CLIENT_METADATA_DOCUMENTS": "1",
        "KEYBEARER_FETCH_NETWORKS": "127.0.0.0/8",
        "KEYBEARER_FETCH_CA": str(tmp_path / "site.pem"),
    }
    one = Shop(authority(environment=settings))
    _registered(one, CALLBACK)  # the first of them makes the project that they belong to
    one.call("PATCH", f"/v1/projects/{PROJECT}", {"enabled_apis": [one.api["id"]]})
    return one


def _metadata(redirect_uri: str) -> dict[str, Any]:
    return {
        "client_name": "Agent",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
    }


def _registered(shop: Shop, redirect_uri: str) -> str:
    answer = httpx.post(shop.node.issuer + "/oauth/register", json=_metadata(redirect_uri), trust_env=False)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["client_id"])


def _described(site: StaticSite, folder: Path, redirect_uri: str) -> str:
    client_id = f"https://127.0.0.1:{site.port}/client.json"
    (folder / "client.json").write_text(json.dumps({"client_id": client_id, **_metadata(redirect_uri)}))
    return client_id


def _checks(folder: Path) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for file in folder.rglob("checks.json") for one in json.loads(file.read_text())}


@pytest.mark.parametrize("known_by", ["registration", "document"])
def test_the_authorization_server_conforms(
    program: list[str], shop: Shop, site: StaticSite, visitor: Visitor, tmp_path: Path, known_by: str
) -> None:
    port = free_port()
    callback = f"http://127.0.0.1:{port}/callback"
    is_described = known_by == "document"
    client_id = _described(site, tmp_path / "site", callback) if is_described else _registered(shop, callback)

    said, results = tmp_path / "said.txt", tmp_path / "results"
    options = ["--url", shop.node.issuer, "--client-id", client_id, "--resource", API]
    with open(said, "wb") as output:
        process = subprocess.Popen(
            [*program, "authorization", *options, "--port", str(port), "--output-dir", str(results)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(),
        )
        try:
            asking = wait_for(
                lambda: re.search(r"^http\S+/oauth/authorize\?\S+$", said.read_text(), re.MULTILINE),
                seconds=60,
                what="the conformance tests",
                process=process,
            )
            assert visitor.open(visitor.arrives(asking[0], callback)).status == 200
            status = process.wait(60)
        finally:
            if process.poll() is None:
                kill_tree(process)
    assert status == 0, said.read_text()
    checks = _checks(results)
    assert {name: checks[name]["status"] for name in SCENARIOS} == dict.fromkeys(SCENARIOS, "SUCCESS"), said.read_text()
    assert [path for path, _ in site.requests] == (["/client.json"] if is_described else [])


@pytest.mark.parametrize("known_by", ["registration", "document"])
def test_the_sdk_finds_its_way_from_a_401(
    program: list[str], shop: Shop, site: StaticSite, visitor: Visitor, tmp_path: Path, known_by: str
) -> None:
    settings = {"issuer": shop.node.issuer, "api": API, "redirect_uri": CALLBACK}
    if known_by == "document":
        settings["document"] = _described(site, tmp_path / "site", CALLBACK)
    seen = converse(tmp_path, "mcp/sdk.mjs", settings, lambda asked: visitor.arrives(asked["open"], CALLBACK))
    assert seen["statuses"] == [401, 200, 403, 200, 401, 200]
    assert seen["steps"] == [["REDIRECT", "AUTHORIZED"], ["REDIRECT", "AUTHORIZED"], ["AUTHORIZED"]]
    assert seen["scopes"] == ["pages:read", "pages:write"]
    assert (seen["resource"], seen["rotated"]) == (API, True)
    assert seen["client_id"].startswith("https://" if known_by == "document" else "client_")
