"""The promise of revocation, on real processes: the same node at the next request, every other node within a second."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.raw import Raw, request
from tests.e2e.shop import API, Shop
from tests.e2e.verifying import ask
from tests.support.authority import Authority
from tests.support.oauth import basic
from tests.support.ports import free_port
from tests.support.postgresql import PostgresqlServer

PROMISE = 1.0
"""Seconds after which no other node may accept what was revoked."""
LATENESS = 0.9
"""Seconds for which a cached record may be trusted without the database (DESIGN §5)."""


def ways_to_refuse(shop: Shop, plan_id: str, key_id: str) -> dict[str, tuple[Callable[[], Any], str]]:
    """Every change that must hold at once: how to make it, and the code that follows."""

    def key(verb: str, body: Any = None) -> Callable[[], Any]:
        return lambda: shop.call("POST", f"/v1/keys/{key_id}/{verb}", body)

    project = f"/v1/projects/{shop.project['id']}"
    return {
        "revoke": (key("revoke", {}), "REVOKED"),
        "disable": (key("disable"), "DISABLED"),
        "revoke the version": (
            lambda: (key("rotate", {"grace_in": 600})(), key("versions/1/revoke", {})()),
            "REVOKED",
        ),
        "delete": (lambda: shop.call("DELETE", f"/v1/keys/{key_id}"), "NOT_FOUND"),
        "take the permission": (
            lambda: shop.call("PATCH", f"/v1/keys/{key_id}", {"permissions": []}),
            "INSUFFICIENT_PERMISSIONS",
        ),
        "disable the project": (lambda: shop.call("POST", f"{project}/disable"), "OWNER_DISABLED"),
        "take the API": (lambda: shop.call("PATCH", project, {"enabled_apis": []}), "API_NOT_ALLOWED"),
        "restrict": (
            lambda: shop.call("PATCH", f"/v1/keys/{key_id}", {"restrictions": {"ip_networks": ["10.0.0.0/8"]}}),
            "IP_NOT_ALLOWED",
        ),
        "lower the plan": (
            lambda: shop.call("PATCH", f"/v1/plans/{plan_id}", {"limits": [limit(1)]}),
            "RATE_LIMITED",
        ),
    }


def limit(count: int) -> dict[str, Any]:
    return {"name": "requests", "limit": count, "period_in": 3600}


def test_every_worker_refuses_as_soon_as_it_is_acknowledged(authority: Callable[..., Authority]) -> None:
    # Asking for what is deleted counts as guessing, and would be slowed down.
    shop = Shop(authority(workers=2, environment={"KEYBEARER_FAILURES_PER_MINUTE": "0"}))
    plan_id = shop.call("POST", "/v1/plans", {"name": "Large", "limits": [limit(1_000_000)]})["id"]
    asked = {"api": API, "permissions": ["pages:read"], "client_ip": "192.0.2.7"}
    for name in ways_to_refuse(shop, plan_id, "any"):
        key_id, credential = shop.key("pages:read", plan_id=plan_id)
        assert ask(shop.node, credential, times=60, **asked) == {"VALID": 60}
        change, code = ways_to_refuse(shop, plan_id, key_id)[name]
        change()
        after = ask(shop.node, credential, times=200, **asked)
        if name == "lower the plan":
            assert after["VALID"] <= 1
            after["RATE_LIMITED"] += after.pop("VALID", 0)
        assert after == {code: 200}, name
        project = f"/v1/projects/{shop.project['id']}"
        shop.call("POST", f"{project}/enable")
        shop.call("PATCH", project, {"enabled_apis": [shop.api["id"]]})
        if name in ("disable", "disable the project"):
            if name == "disable":
                shop.call("POST", f"/v1/keys/{key_id}/enable")
            assert ask(shop.node, credential, times=60, **asked) == {"VALID": 60}


def test_the_connections_of_these_tests_do_reach_every_worker(authority: Callable[..., Authority]) -> None:
    shop = Shop(authority(workers=2))
    key_id, credential = shop.key()
    connections = [Raw(shop.node.port) for _ in range(60)]
    body = f'{{"credential":"{credential}"}}'.encode()
    data = request("POST", "/v1/verify", f"Authorization: Bearer {shop.node.root_key}", body=body)

    def count(outcome: bytes) -> int:
        for connection in connections:
            connection.send(data)
        return sum(outcome in connection.receive().body for connection in connections)

    assert count(b'"VALID"') == 60
    served = [
        sum(found.status == psutil.CONN_ESTABLISHED for found in psutil.Process(pid).net_connections())
        for pid in shop.node.worker_pids()
    ]
    assert len(served) == 2
    assert min(served) > 0
    shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
    assert count(b'"REVOKED"') == 60  # connections that were open before it are no way around it
    for connection in connections:
        connection.__exit__(None, None, None)


def test_every_worker_hears_of_tokens_and_clients_at_once(authority: Callable[..., Authority]) -> None:
    shop = Shop(authority(workers=2, environment={"KEYBEARER_FAILURES_PER_MINUTE": "0"}))
    shop.call("PATCH", f"/v1/apis/{shop.api['id']}", {"accepts": ["secret_key", "access_token"]})
    made = shop.call(
        "POST",
        "/v1/clients",
        {
            "project_id": shop.project["id"],
            "name": "Shop",
            "grant_types": ["client_credentials"],
            "scopes": ["pages:read"],
        },
    )
    client_id, secret = made["client"]["id"], made["client_secret"]
    connections = [Raw(shop.node.port) for _ in range(60)]
    proof = f"Authorization: {basic(client_id, secret)}"
    form = "Content-Type: application/x-www-form-urlencoded"
    issue = request("POST", "/oauth/token", proof, form, body=b"grant_type=client_credentials&scope=pages:read")

    def answers(data: bytes) -> list[bytes]:
        for connection in connections:
            connection.send(data)
        return [connection.receive().body for connection in connections]

    for _ in range(3):  # the same bytes over and over, so that they are known
        issued = answers(issue)
        texts = {json.loads(body)["access_token"] for body in issued}
        assert len(texts) == 60
    text = next(iter(texts))
    question = request("POST", "/oauth/introspect", proof, form, body=f"token={text}".encode())
    by_key = request(
        "POST",
        "/oauth/introspect",
        f"Authorization: Bearer {shop.node.root_key}",
        form,
        body=f"token={text}".encode(),
    )
    for _ in range(3):
        assert all(b'"active":true' in body for body in answers(question) + answers(by_key))
    revoke = request("POST", "/oauth/revoke", proof, form, body=f"token={text}".encode())
    connections[0].send(revoke)
    assert connections[0].receive().body == b""
    assert set(answers(question) + answers(by_key)) == {b'{"active":false}'}
    other = (texts - {text}).pop()
    still = request("POST", "/oauth/introspect", proof, form, body=f"token={other}".encode())
    for _ in range(3):
        assert all(b'"active":true' in body for body in answers(still))
    shop.call("POST", f"/v1/clients/{client_id}/disable")
    for data in (issue, still):
        assert all(b'"invalid_client"' in body for body in answers(data))
    for connection in connections:
        connection.__exit__(None, None, None)


def test_a_holder_burns_a_key_for_all_workers(authority: Callable[..., Authority]) -> None:
    shop = Shop(authority(workers=2))
    key_id, credential = shop.key("pages:read")
    answer = shop.send("POST", "/v1/revoke-mine", {}, headers={"authorization": f"Bearer {credential}"})
    assert (answer.status_code, answer.json()) == (200, {"id": key_id, "revoked": True})
    assert ask(shop.node, credential, times=200) == {"REVOKED": 200}


# Several nodes on one PostgreSQL.


@pytest.fixture
def nodes(authority: Callable[..., Authority], postgresql_url: str, tmp_path: Path) -> Iterator[tuple[Shop, Authority]]:
    """The shop on one node, and another node that shares nothing with it but the database and the keyring."""
    first = authority(database=postgresql_url)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    shutil.copy2(first.data / "keyring.json", elsewhere)
    port = free_port()
    second = replace(first, data=elsewhere, logs=tmp_path / "node-elsewhere", port=port, url="", _process=None)
    second.start()
    yield Shop(first), second
    second.stop()


def test_another_node_refuses_within_a_second(nodes: tuple[Shop, Authority]) -> None:
    shop, other = nodes
    slowest = 0.0
    for _ in range(8):
        key_id, credential = shop.key("pages:read")
        assert ask(other, credential, times=20) == {"VALID": 20}
        shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
        acknowledged = time.monotonic()
        assert ask(shop.node, credential, times=20) == {"REVOKED": 20}
        while "VALID" in ask(other, credential):
            asked = time.monotonic() - acknowledged
            assert asked < PROMISE + 0.5  # it was asked a little earlier than this
        slowest = max(slowest, time.monotonic() - acknowledged)
        time.sleep(max(0.0, acknowledged + PROMISE - time.monotonic()))
        assert ask(other, credential, times=50) == {"REVOKED": 50}
    print(f"the slowest of 8 took {slowest:.3f} s")


def test_with_wait_every_node_refuses_when_the_answer_comes(nodes: tuple[Shop, Authority]) -> None:
    shop, other = nodes
    for _ in range(3):
        key_id, credential = shop.key("pages:read")
        assert ask(other, credential, times=10) == {"VALID": 10}
        shop.call("POST", f"/v1/keys/{key_id}/revoke", {"wait": True})
        assert ask(other, credential, times=50) == {"REVOKED": 50}


def test_a_node_that_was_frozen_does_not_wake_up_with_old_answers(nodes: tuple[Shop, Authority]) -> None:
    shop, other = nodes
    for _ in range(3):
        key_id, credential = shop.key("pages:read")
        assert ask(other, credential, times=10) == {"VALID": 10}
        os.kill(other.pid, signal.SIGSTOP)
        try:
            shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
            time.sleep(PROMISE)
        finally:
            os.kill(other.pid, signal.SIGCONT)
        assert ask(other, credential, times=50) == {"REVOKED": 50}


# Without the database.


@contextmanager
def frozen(server: PostgresqlServer) -> Iterator[None]:
    """PostgreSQL stops answering, as behind a network that drops everything; its connections stay open."""
    postmaster = psutil.Process(server.pid)
    postmaster.suspend()
    stopped = [postmaster]
    for child in postmaster.children(recursive=True):
        child.suspend()
        stopped.append(child)
    try:
        yield
    finally:
        for process in stopped:
            process.resume()


@contextmanager
def killed(server: PostgresqlServer) -> Iterator[None]:
    """PostgreSQL crashes and comes back later."""
    server.kill9()
    try:
        yield
    finally:
        server.start()


@pytest.mark.parametrize("lost", [frozen, killed])
def test_without_the_database_nothing_is_accepted_after_the_bound(
    authority: Callable[..., Authority], postgresql_server: PostgresqlServer, postgresql_url: str, lost: Any
) -> None:
    shop = Shop(authority(database=postgresql_url))
    key_id, credential = shop.key("pages:read")
    assert ask(shop.node, credential, times=20) == {"VALID": 20}
    with lost(postgresql_server):
        time.sleep(LATENESS + 0.1)
        outcomes = ask(shop.node, credential, times=40)
        assert outcomes["VALID"] == 0
        assert set(outcomes) == {"HTTP 503"}
        # Nothing is acknowledged that cannot be kept.
        for method, path, body in (
            ("POST", "/v1/projects", {"name": "Never"}),
            ("POST", f"/v1/keys/{key_id}/disable", None),
            ("GET", "/v1/projects", None),
        ):
            refused = shop.send(method, path, body)
            assert refused.status_code == 503, path
            assert refused.headers["content-type"] == "application/problem+json"
        assert shop.send("GET", "/readyz").status_code == 503
        assert shop.send("GET", "/healthz").status_code == 200
        assert set(ask(shop.node, credential, times=10)) == {"HTTP 503"}
    until = time.monotonic() + 15
    while (outcomes := ask(shop.node, credential)) != {"VALID": 1} and time.monotonic() < until:
        time.sleep(0.1)
    assert outcomes == {"VALID": 1}
    assert shop.send("GET", "/readyz").status_code == 200
    names = [item["name"] for item in shop.call("GET", "/v1/projects")["items"]]
    assert "Never" not in names
    shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
    assert ask(shop.node, credential, times=20) == {"REVOKED": 20}
    assert "Traceback" not in shop.node.output
