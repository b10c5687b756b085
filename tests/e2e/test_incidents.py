"""docs/incidents.md as it is pasted, at a real authority: reports act, all are told, and no secret stays."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.shop import Shop
from tests.support.authority import Authority
from tests.support.https import HttpsServer, Received, Reply, https_server

pytestmark = pytest.mark.anyio

TEXT = (Path(__file__).parents[2] / "docs" / "incidents.md").read_text()
ASKED, REPORTED, GITHUB, GITLAB, IN_URLS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
GITLAB_TOKEN = "shared-with-gitlab-0123456789abcdef"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def wait_for(probe: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """The first true answer of a probe."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return answer


@dataclass
class Elsewhere:
    """What is out there: GitHub's keys, and a pager that is down at first."""

    public_key: str
    told: list[Received] = field(default_factory=list)
    is_up: bool = False

    async def answer(self, request: Received) -> Reply:
        if request.target == "/keys":
            found = [{"key_identifier": "kid1", "key": self.public_key, "is_current": True}]
            return Reply(200, json.dumps({"public_keys": found}).encode(), {"content-type": "application/json"})
        self.told.append(request)
        return Reply(200 if self.is_up else 503)


@dataclass
class Scene:
    """A shop, its authority, and the shell that the document is pasted into."""

    node: Authority
    shop: Shop
    outside: Elsewhere
    variables: dict[str, str]
    planted: list[str] = field(default_factory=list)

    def leaked(self) -> tuple[str, str]:
        """A new key, as ``LEAKED`` in the shell: its id and its credential."""
        body = {"project_id": self.shop.project["id"], "name": "leaky", "owner": "ada@example.com"}
        issued = self.shop.call("POST", "/v1/keys", body)
        self.planted.append(issued["credential"])
        self.variables["LEAKED"] = issued["credential"]
        return issued["key"]["id"], issued["credential"]

    async def paste(self, block: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euc", block],
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        assert self.variables["LEAKED"] not in done.stdout
        return done.stdout

    def code(self, credential: str) -> str:
        return str(self.shop.verify(credential)["code"])


def make_scene(
    authority: Callable[..., Authority], server: HttpsServer, outside: Elsewhere, folder: Path, private_key: Path
) -> Scene:
    shared = folder / "gitlab"
    shared.write_text(GITLAB_TOKEN)
    environment = {
        "KEYBEARER_LEAK_REPORTS": "possession,github,gitlab",
        "KEYBEARER_LEAK_REPORT_TOKEN_FILE": str(shared),
        "KEYBEARER_GITHUB_KEYS_URL": f"{server.url}/keys",
        "KEYBEARER_FETCH_NETWORKS": "127.0.0.0/8,::1/128",
        "KEYBEARER_FETCH_CA": str(server.ca),
        "KEYBEARER_USAGE_FLUSH_INTERVAL": "0.2",
    }
    node = authority(environment=environment)
    variables = {
        "KEYBEARER_URL": node.url,
        "KEYBEARER_KEY": node.root_key,
        "GITLAB_TOKEN": GITLAB_TOKEN,
        "KEY_IDENTIFIER": "kid1",
        "PRIVATE_KEY": str(private_key),
    }
    return Scene(node, Shop(node), outside, variables)


async def test_the_document_works_and_no_secret_stays(authority: Callable[..., Authority], tmp_path: Path) -> None:
    if shutil.which("openssl") is None or shutil.which("curl") is None:
        pytest.skip("openssl or curl is not installed")
    private_key = tmp_path / "github.pem"
    generate = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(private_key)]
    await asyncio.to_thread(subprocess.run, generate, check=True)
    public = ["openssl", "ec", "-in", str(private_key), "-pubout"]
    done = await asyncio.to_thread(subprocess.run, public, check=True, capture_output=True, text=True)
    outside = Elsewhere(done.stdout)
    async with https_server(tmp_path, outside.answer) as server:
        scene = await asyncio.to_thread(make_scene, authority, server, outside, tmp_path, private_key)
        body = {"project_id": scene.shop.project["id"], "name": "pager", "url": f"{server.url}/pager"}
        webhook = scene.shop.call("POST", "/v1/webhooks", body)
        await act(scene)
        await asyncio.to_thread(everybody_is_told, scene, webhook["webhook"]["id"])
    assert await asyncio.to_thread(scene.node.stop) == 0
    nothing_stays(scene, [webhook["secret"], GITLAB_TOKEN])


async def act(scene: Scene) -> None:
    """Each of the blocks, about a key of its own."""
    key_id, credential = await asyncio.to_thread(scene.leaked)
    (found,) = json.loads(await scene.paste(ASKED))["findings"]
    assert (found["state"], found["action"], found["key_id"]) == ("live", "revoked", key_id)
    assert scene.code(credential) == "REVOKED"

    _, credential = await asyncio.to_thread(scene.leaked)
    assert json.loads(await scene.paste(REPORTED)) == {"accepted": 1}
    await asyncio.to_thread(wait_for, lambda: scene.code(credential) == "REVOKED", seconds=10, what="the report")

    _, credential = await asyncio.to_thread(scene.leaked)
    (label,) = json.loads(await scene.paste(GITHUB))
    assert label["label"] == "true_positive"
    assert scene.code(credential) == "REVOKED"

    _, credential = await asyncio.to_thread(scene.leaked)
    assert await scene.paste(GITLAB) == "204"
    assert scene.code(credential) == "REVOKED"

    key_id, credential = await asyncio.to_thread(scene.leaked)
    # The second as nginx asks, with the address that a trusted proxy names.
    original = {"x-original-uri": f"/orders?api_key={credential}", "x-forwarded-for": "203.0.113.7"}
    for path, headers in ((f"/v1/whoami?key={credential}", {}), ("/forward-auth", original)):
        refused = await asyncio.to_thread(httpx.get, scene.node.url + path, headers=headers)
        assert refused.status_code == 401
        assert "end up in logs" in refused.text

    def counted() -> Any:
        text = subprocess.run(
            ["bash", "-euc", IN_URLS], env={**os.environ, **scene.variables}, capture_output=True, timeout=30
        ).stdout
        uses = json.loads(text)["uses"]
        return uses if len(uses) == 2 else None

    uses = await asyncio.to_thread(wait_for, counted, seconds=10, what="the count of uses in URLs")
    assert {(use["key_id"], use["source"], use["code"]) for use in uses} == {
        (key_id, "", "KIND_NOT_ACCEPTED"),
        (key_id, "203.0.113.7", "KIND_NOT_ACCEPTED"),
    }


def everybody_is_told(scene: Scene, webhook_id: str) -> None:
    """The pager is down at first, and hears of all four all the same; the owner is written to four times."""
    wait_for(lambda: len(scene.outside.told) >= 4, seconds=20, what="the first attempts")
    first = {request.headers["webhook-id"] for request in scene.outside.told}
    scene.outside.is_up = True

    def delivered() -> bool:
        found = scene.shop.call("GET", f"/v1/webhooks/{webhook_id}/deliveries", params={"status": "delivered"})
        return len(found["items"]) == 4

    wait_for(delivered, seconds=20, what="the messages")
    assert {request.headers["webhook-id"] for request in scene.outside.told} == first
    letters = wait_for(
        lambda: (found := [*(scene.node.data / "outbox").glob("*.eml")]) and len(found) == 4 and found,
        seconds=10,
        what="the letters",
    )
    assert all("ada@example.com" in letter.read_text() for letter in letters)
    metrics = scene.shop.send("GET", "/metrics").text
    assert 'keybearer_leaks_found_total{action="revoked",kind="secret_key",state="live"} 4.0' in metrics
    assert 'keybearer_webhook_attempts_total{outcome="delivered"} 4.0' in metrics


def nothing_stays(scene: Scene, more: list[str]) -> None:
    """No planted secret is in any file of the data directory, in a message, a letter or a log."""
    places = {str(path): path.read_bytes() for path in scene.node.data.rglob("*") if path.is_file()}
    places["the logs"] = scene.node.output.encode()
    places |= {request.target: request.body for request in scene.outside.told}
    assert any(path.endswith(".db") for path in places)
    for credential in (*scene.planted, *more):
        secret = credential.rpartition("_")[2].encode()
        for place, content in places.items():
            assert secret not in content, place
