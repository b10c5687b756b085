"""`keybearer init` and `keybearer serve` as an operator meets them: output, errors, a graceful end, and no leaks."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.raw import Closed, Raw, request
from tests.e2e.shop import Shop
from tests.support.authority import Authority, keybearer_command
from tests.support.ports import free_port


def keybearer(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """One run of the command, in an environment without Keybearer's variables but these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KEYBEARER_")}
    return subprocess.run(
        [keybearer_command(), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        env=inherited | environment,
    )


def weak_keyring() -> str:
    short = base64.b64encode(b"short").decode()
    return json.dumps({"root": short, "peppers": [{"id": "p1", "key": short}]})


# What it prints.


def test_init_prints_one_json_object_and_only_once(tmp_path: Path) -> None:
    command = ("init", "--data", str(tmp_path / "data"), "--admin-email", "a@example.com")
    first = keybearer(*command, "--issuer", "https://keys.example")
    assert (first.returncode, first.stderr, first.stdout.count("\n")) == (0, "", 1)
    answer = json.loads(first.stdout)
    assert sorted(answer) == ["issuer", "root_key", "sign_in_link"]
    assert answer["sign_in_link"].startswith("https://keys.example/sign-in/link?link=kb_ml_")
    assert answer["issuer"] == "https://keys.example"
    assert answer["root_key"].startswith("kb_sk_live_")
    second = keybearer(*command)
    assert (second.returncode, second.stdout, second.stderr.count("\n")) == (1, "", 1)
    assert "exists already" in second.stderr


def test_serve_prints_ready_and_nothing_else(authority: Callable[..., Authority]) -> None:
    node = authority()
    httpx.get(f"{node.url}/nowhere", trust_env=False)
    assert node.stop() == 0
    assert node.output == f"ready {node.url}\n"


def test_init_with_a_password_needs_no_link(tmp_path: Path) -> None:
    command = ("init", "--data", str(tmp_path / "data"), "--admin-email", "a@example.com", "--admin-password-stdin")
    refused = keybearer(*command, stdin="keybearer12345\n")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "admin-password" in refused.stderr
    made = keybearer(*command, stdin="correct-horse-battery-staple\n")
    assert sorted(json.loads(made.stdout)) == ["issuer", "root_key"]
    assert not any("correct-horse" in str(file.read_bytes()) for file in (tmp_path / "data").iterdir())


def test_the_operator_can_have_another_sign_in_link(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    keybearer("init", *data, "--admin-email", "a@example.com")
    link = keybearer("sign-in-link", *data, "--issuer", "https://keys.example", "A@example.com")
    assert (link.returncode, link.stderr) == (0, "")
    assert link.stdout.startswith("https://keys.example/sign-in/link?link=kb_ml_")
    nobody = keybearer("sign-in-link", *data, "b@example.com")
    assert (nobody.returncode, nobody.stdout) == (1, "")


def test_the_first_serve_hands_over_a_root_key_in_a_file_of_its_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = subprocess.Popen(
        [keybearer_command(), "serve", "--data", str(data), "--port", str(free_port())],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(3)]
    finally:
        process.terminate()
        process.communicate(timeout=20)
    file = data / "root-key.txt"
    assert lines[0] == f"root key written to {file}; keep it safe and delete the file\n"
    link = data / "sign-in-link.txt"
    assert lines[1] == f"sign-in link of the first administrator written to {link}; keep it safe and delete the file\n"
    assert lines[2].startswith("ready http://127.0.0.1:")
    assert file.stat().st_mode & 0o777 == link.stat().st_mode & 0o777 == 0o600
    assert "/sign-in/link?link=kb_ml_" in link.read_text()
    assert data.stat().st_mode & 0o777 == 0o700
    assert file.read_text().startswith("kb_sk_live_")


def test_health_readiness_and_metrics(authority: Callable[..., Authority]) -> None:
    shop = Shop(authority())
    _, credential = shop.key()
    shop.verify(credential)
    with httpx.Client(base_url=shop.node.url, trust_env=False) as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").json() == {"status": "ready"}
        for _ in range(100):
            metrics = client.get("/metrics")
            if 'keybearer_verifications_total{code="VALID"}' in metrics.text:
                break
            time.sleep(0.05)
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'keybearer_verifications_total{code="VALID"}' in metrics.text
    assert "keybearer_build_info" in metrics.text
    assert "key_" not in metrics.text.replace("keybearer", "")


# What it refuses.


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["--port", "65536"], {}, "port must lie between"),
        (["--port", "eighty"], {}, "port"),
        (["--workers", "0"], {}, "workers"),
        (["--no-such-flag"], {}, "no-such-flag"),
        (["--database", "mysql://host/db"], {}, "--database must begin with"),
        (["--database", "postgresql://127.0.0.1:1/none"], {}, ""),
        (["--issuer", "keys.example"], {}, "--issuer must be"),
        (["--host", "192.0.2.1"], {}, "Cannot listen on 192.0.2.1"),
        (["--host", "no such host"], {}, "Cannot listen on no such host"),
        ([], {"KEYBEARER_WORKERS": "two"}, "KEYBEARER_WORKERS"),
        ([], {"KEYBEARER_TRUSTED_PROXIES": "10.0.0.1/8"}, "KEYBEARER_TRUSTED_PROXIES"),
        ([], {"KEYBEARER_LOG_LEVEL": "loud"}, "log_level must be"),
        ([], {"KEYBEARER_REQUEST_TIMEOUT": "nan"}, "request_timeout must lie between"),
        ([], {"KEYBEARER_MAX_CONNECTIONS": "0"}, "max_connections must lie between"),
        ([], {"KEYBEARER_FAILURES_PER_MINUTE": "-1"}, "failures_per_minute must lie between"),
        ([], {"KEYBEARER_HOST": ""}, "host is empty"),
        ([], {"KEYBEARER_KEYRING": weak_keyring()}, "weak"),
        ([], {"KEYBEARER_KEYRING": "{"}, "KEYBEARER_KEYRING"),
        ([], {"KEYBEARER_KEYRING_FILE": "/nowhere/keyring.json"}, "/nowhere/keyring.json does not exist"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], expected: str
) -> None:
    port = () if "--port" in arguments else ("--port", str(free_port()))
    done = keybearer("serve", "--data", str(tmp_path / "data"), *port, *arguments, **environment)
    assert done.stdout == ""
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    if "postgresql" in str(arguments):
        assert done.returncode in (1, 2)
    else:
        assert done.returncode == 2
    if not done.stderr.startswith("Usage"):  # wrong usage is explained by the command-line parser
        assert done.stderr.count("\n") == 1, done.stderr


def test_a_database_without_its_pepper_does_not_start(authority: Callable[..., Authority]) -> None:
    node = authority()
    node.stop()
    keyring = node.data / "keyring.json"
    document = json.loads(keyring.read_text())
    other = json.loads(keyring.read_text())
    other["peppers"][0]["id"] = "p0"
    keyring.write_text(json.dumps(other))
    missing = keybearer("serve", "--data", str(node.data), "--port", str(node.port))
    other["peppers"] = [{"id": document["peppers"][0]["id"], "key": base64.b64encode(os.urandom(32)).decode()}]
    keyring.write_text(json.dumps(other))
    changed = keybearer("serve", "--data", str(node.data), "--port", str(node.port))
    keyring.write_text(json.dumps(document))
    keyring.chmod(0o644)
    readable = keybearer("serve", "--data", str(node.data), "--port", str(node.port))
    keyring.chmod(0o600)
    for done, expected in ((missing, "keyring lacks"), (changed, "not the one"), (readable, "chmod 600")):
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert expected in done.stderr
    node.restart()
    assert httpx.get(f"{node.url}/readyz", trust_env=False).status_code == 200


def test_two_cannot_serve_on_one_port(authority: Callable[..., Authority], tmp_path: Path) -> None:
    node = authority()
    second = keybearer("serve", "--data", str(tmp_path / "other"), "--port", str(node.port))
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == f"keybearer: Cannot listen on 127.0.0.1:{node.port}: Address already in use.\n"
    assert httpx.get(f"{node.url}/healthz", trust_env=False).status_code == 200


# The end.


@pytest.mark.parametrize("workers", [None, 2])
def test_a_request_that_is_open_at_sigterm_is_finished(
    authority: Callable[..., Authority], workers: int | None
) -> None:
    shop = Shop(authority(workers=workers))
    body = json.dumps({"name": "Asked before the end"}).encode()
    head = request(
        "POST",
        "/v1/projects",
        f"Authorization: Bearer {shop.node.root_key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    with Raw(shop.node.port) as connection, Raw(shop.node.port) as idle:
        connection.send(head + body[:5])
        time.sleep(0.3)
        stopped: list[int] = []
        stopping = threading.Thread(target=lambda: stopped.append(shop.node.stop()))
        stopping.start()
        time.sleep(0.7)
        assert stopping.is_alive()
        connection.send(body[5:])
        answer = connection.receive()
        assert (answer.status, json.loads(answer.body)["name"]) == (201, "Asked before the end")
        with pytest.raises(Closed):
            idle.receive()
        stopping.join(20)
    assert stopped == [0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", shop.node.port), timeout=5)
    shop.node.start()
    names = [item["name"] for item in shop.call("GET", "/v1/projects")["items"]]
    assert "Asked before the end" in names


def test_a_worker_that_dies_is_replaced_and_the_others_go_on(authority: Callable[..., Authority]) -> None:
    shop = Shop(authority(workers=2))
    _, credential = shop.key()
    before = set(shop.node.worker_pids())
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    until = time.monotonic() + 20
    while len(set(shop.node.worker_pids()) - before) < 1 and time.monotonic() < until:
        time.sleep(0.05)
    assert len(shop.node.worker_pids()) == 2
    time.sleep(0.5)
    assert all(shop.verify(credential)["valid"] for _ in range(20))


# Leaks.


def test_no_credential_is_ever_written_down(authority: Callable[..., Authority]) -> None:
    environment = {"KEYBEARER_ACCESS_LOG": "true", "KEYBEARER_FAILURES_PER_MINUTE": "0"}
    shop = Shop(authority(environment=environment, arguments=("--log-level", "debug")), allow_publishable_in_query=True)
    _, secret = shop.key("pages:read", metadata={"note": "x"})
    key_id, _ = shop.key("pages:read")
    rotated = shop.call("POST", f"/v1/keys/{key_id}/rotate", {})["credential"]
    _, publishable = shop.key("pages:read", kind="publishable_key", restrictions={"origins": ["https://shop.example"]})
    nobody = "kb_sk_live_" + secret.split("_")[-1]
    credentials = [secret, rotated, publishable, nobody, shop.node.root_key]
    for credential in credentials:
        present_everywhere(shop, credential)
    sealed = shop.call(
        "POST",
        "/v1/keys",
        {"project_id": shop.project["id"], "name": "remembered"},
        headers={"idempotency-key": "one"},
    )["credential"]
    time.sleep(1.5)  # usage and the log of failures are written behind
    assert shop.node.stop() == 0
    written = {"output": shop.node.output.encode()}
    for file in shop.node.data.rglob("*"):
        if file.is_file():
            written[file.name] = file.read_bytes()
    assert "keybearer.db" in written
    for credential in (*credentials, sealed):
        last_part = credential.rpartition("_")[2]  # the secret and its checksum
        for form in (last_part.encode(), base64.b64encode(credential.encode())[8:-8]):
            assert not [name for name, content in written.items() if form in content], credential[:20]


def present_everywhere(shop: Shop, credential: str) -> None:
    """Sends a credential wherever somebody might put it."""
    basic = base64.b64encode(f"x:{credential}".encode()).decode()
    with httpx.Client(base_url=shop.node.url, trust_env=False) as client:
        for path in ("/v1/whoami", "/v1/projects", "/forward-auth", "/forward-auth/nginx?api=https://site.example"):
            for name, value in {
                "authorization": f"Bearer {credential}",
                "x-api-key": credential,
                "x-auth-token": credential,
                "cookie": f"token={credential}",
                "x-original-uri": f"/?key={credential}",
                "x-request-id": credential,
                "user-agent": credential,
                "idempotency-key": credential,
                "x-forwarded-for": credential,
            }.items():
                client.get(path, headers={name: value})
            client.get(path, headers={"authorization": f"Basic {basic}"})
            client.get(path, params={"key": credential, "access_token": credential})
        client.get(f"/v1/keys/{credential}")
        client.get(f"/{credential}", headers={"authorization": f"Bearer {shop.node.root_key}"})
        root = {"authorization": f"Bearer {shop.node.root_key}"}
        client.get(f"/v1/keys/{credential}", headers=root)
        client.get("/v1/usage", params={"key_id": credential}, headers=root)
        client.get("/v1/keys", params={"cursor": credential}, headers=root)
        wrong: list[Any] = [{"credential": credential, "unknown": credential}, [credential], credential]
        for body in ({"credential": credential}, {"credential": credential + "x"}, *wrong):
            client.post("/v1/verify", json=body, headers=root)
            client.post("/v1/keys", json=body, headers=root)
        client.post("/v1/verify", json={"credential": credential, "api": credential}, headers=root)
        client.post("/v1/verify", json={"credential": credential, "request_id": credential[:12]}, headers=root)
        client.post("/v1/verify", content=b'{"credential":"' + credential.encode(), headers=root)
    with Raw(shop.node.port) as connection:
        connection.send(request("GET", f"/healthz?{credential}", f"Bad Header: {credential}"))
        connection.rest()


def test_logs_are_json_lines_with_what_an_operator_needs(authority: Callable[..., Authority]) -> None:
    node = authority(arguments=("--log-format", "json", "--log-level", "debug"))
    httpx.get(f"{node.url}/v1/whoami", headers={"authorization": "Bearer x\ty"}, trust_env=False)
    node.stop()
    lines = [line for line in node.output.splitlines() if not line.startswith("ready ")]
    for line in lines:
        entry = json.loads(line)
        assert {"event", "level", "timestamp"} <= set(entry)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", entry["timestamp"])


def test_version_and_help_are_quick_to_find() -> None:
    assert re.fullmatch(r"keybearer \d+\.\d+\.\d+\S*\n", keybearer("--version").stdout)
    shown = keybearer("serve", "--help").stdout
    for flag in ("--host", "--port", "--data", "--database", "--issuer", "--workers"):
        assert flag in shown
    assert sys.version_info >= (3, 11)
