"""The conformance tests of the Model Context Protocol for authorization servers, run by their own program."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from keybearer.services.client_registration import PROJECT
from tests.e2e.shop import API, Shop
from tests.support.node import NotInstalled, environment, node, packages
from tests.support.ports import free_port
from tests.support.processes import kill_tree, wait_for
from tests.support.visitor import Visitor

PROGRAM = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
SCENARIOS = ("authorization-server-metadata", "authorization-server-metadata-cimd", "authorization-code-grant")


@pytest.fixture
def program() -> list[str]:
    """What runs the conformance tests."""
    try:
        return [str(node()), str(packages("conformance") / PROGRAM)]
    except NotInstalled as reason:
        pytest.skip(str(reason))


def _register(shop: Shop, redirect_uri: str) -> str:
    """As MCP clients do: nobody knows them before."""
    metadata = {"client_name": "Agent", "redirect_uris": [redirect_uri], "token_endpoint_auth_method": "none"}
    answer = httpx.post(shop.node.issuer + "/oauth/register", json=metadata, trust_env=False)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["client_id"])


def _checks(folder: Path) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for file in folder.rglob("checks.json") for one in json.loads(file.read_text())}


def test_the_authorization_server_conforms(
    program: list[str], authority: Any, visitor: Visitor, tmp_path: Path
) -> None:
    settings = {"KEYBEARER_CLIENT_REGISTRATION": "open", "KEYBEARER_CLIENT_METADATA_DOCUMENTS": "1"}
    shop = Shop(authority(environment=settings))
    port = free_port()
    callback = f"http://127.0.0.1:{port}/callback"
    _register(shop, callback)  # the first one makes the project of the registered clients
    shop.call("PATCH", f"/v1/projects/{PROJECT}", {"enabled_apis": [shop.api["id"]]})
    client_id = _register(shop, callback)

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
