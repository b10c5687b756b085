"""The log configurations of deploy/: real servers are sent keys in every place, and their logs have none."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.guarded import DEPLOY
from tests.e2e.leaking import requests, send, wait_for_lines
from tests.support.apache import Apache, find_apache
from tests.support.authority import keybearer_command
from tests.support.caddy import Caddy, find_caddy
from tests.support.envoy import Envoy, find_envoy
from tests.support.nginx import Nginx, find_nginx
from tests.support.processes import stop, wait_for
from tests.support.spelling import credential

KEYS = [credential("kb_sk_live", 1), credential("acme_pk_test", 2), credential("kb_at", 3)]


def send_all(port: int) -> int:
    """Every request with every key, and one with two keys in it; returns how many that were."""
    sent = [(path, headers) for key in KEYS for path, headers in requests(key)]
    sent += [(f"/two?a={KEYS[0]}&b={KEYS[1]}", {}), ("/plain?page=2", {})]
    for path, headers in sent:
        send(port, path, headers)
    return len(sent)


def assert_clean(log: Path, lines: int) -> None:
    """Nothing is left of any secret, and all else is there."""
    wait_for_lines(log, lines)
    text = log.read_text()
    assert "/plain?page=2" in text
    for key in KEYS:
        assert key.rpartition("_")[2][:12] not in text
    scan = subprocess.run([keybearer_command(), "leaks", "scan", log, "--offline"], capture_output=True, text=True)
    assert scan.returncode == 0, scan.stdout
    assert text.count("edacted]") + text.count("REDACTED") >= len(KEYS) * 5


def test_nginx(tmp_path: Path) -> None:
    program = find_nginx()
    if program is None:
        pytest.skip("nginx is not installed")
    nginx = Nginx(program, tmp_path)
    configuration = (DEPLOY / "nginx/redacted-log.conf").read_text()
    server = "server { listen 127.0.0.1:@PORT@; access_log clean.log keybearer_redacted; location / { return 204; } }"
    nginx.start(configuration + server)
    try:
        assert_clean(tmp_path / "clean.log", send_all(nginx.port))
        assert "kb_sk_live_" in (tmp_path / "clean.log").read_text()
    finally:
        nginx.stop()


def test_the_error_log_of_nginx_through_a_pipe(tmp_path: Path) -> None:
    program = find_nginx()
    if program is None:
        pytest.skip("nginx is not installed")
    pipe, clean = tmp_path / "error.pipe", tmp_path / "clean.log"
    os.mkfifo(pipe)
    quoted = [shlex.quote(str(one)) for one in (keybearer_command(), pipe, clean)]
    # Open for writing too, so that it does not end when nginx opens its log anew.
    redacting = subprocess.Popen(["sh", "-c", f"exec {quoted[0]} leaks redact <> {quoted[1]} >> {quoted[2]}"])
    nginx = Nginx(program, tmp_path)
    server = (
        "server { listen 127.0.0.1:@PORT@; error_log @PREFIX@/error.pipe info; location / { root @PREFIX@/none; } }"
    )
    try:
        nginx.start(server)
        try:
            send(nginx.port, f"/{KEYS[0]}", {})
            send(nginx.port, "/plain", {"Referer": f"https://a.example/?k={KEYS[1]}"})
            wait_for(
                lambda: clean.exists() and "/plain" in clean.read_text(), seconds=10, what="log", process=redacting
            )
        finally:
            nginx.stop()
    finally:
        stop(redacting)
    assert "REDACTED" in clean.read_text()
    assert KEYS[0].rpartition("_")[2] not in clean.read_text()
    assert KEYS[1].rpartition("_")[2] not in clean.read_text()


def test_apache(tmp_path: Path) -> None:
    found = find_apache()
    if found is None:
        pytest.skip("Apache is not installed")
    apache = Apache(found[0], tmp_path, modules=found[1])
    configuration = (DEPLOY / "apache/redacted-log.conf").read_text()
    configuration = configuration.replace("/usr/local/bin/keybearer", keybearer_command())
    configuration = configuration.replace("/var/log/apache2/", f"{tmp_path}/clean-")
    (tmp_path / "nothing").mkdir()
    apache.start(configuration + f'DocumentRoot "{tmp_path}/nothing"\n')
    try:
        count = send_all(apache.port)
        assert_clean(tmp_path / "clean-access.log", count)
        assert "kb_sk_live_" in (tmp_path / "clean-access.log").read_text()
    finally:
        apache.stop()


def test_caddy(tmp_path: Path) -> None:
    program = find_caddy()
    if program is None:
        pytest.skip("Caddy is not installed")
    caddy = Caddy(program, tmp_path)
    configuration = (DEPLOY / "caddy/redacted-log.caddy").read_text()
    configuration = configuration.replace("/var/log/caddy/access.log", f"{tmp_path}/clean.log")
    caddy.start(configuration + ":@PORT@ {\n\timport keybearer_redacted_log\n\trespond 204\n}\n")
    try:
        assert_clean(tmp_path / "clean.log", send_all(caddy.port))
    finally:
        caddy.stop()


ENVOY = """
static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: @PORT@ } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: site
          delayed_close_timeout: 0s
@ACCESS_LOG@
          route_config:
            virtual_hosts:
            - name: site
              domains: ["*"]
              routes:
              - match: { prefix: "/" }
                direct_response: { status: 204 }
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
"""


def test_envoy(tmp_path: Path) -> None:
    program = find_envoy()
    if program is None:
        pytest.skip("Envoy is not installed")
    access_log = (DEPLOY / "envoy/redacted-log.yaml").read_text()
    indented = "\n".join(" " * 10 + line for line in access_log.splitlines())
    envoy = Envoy(program, tmp_path)
    envoy.start(ENVOY.replace("@ACCESS_LOG@", indented))
    try:
        count = send_all(envoy.port)
        time.sleep(0.3)
    finally:
        envoy.stop()
    # What Envoy wrote, through the filter that deploy/ puts behind it.
    lines = [line for line in envoy.output.splitlines(keepends=True) if line.startswith("{")]
    assert len(lines) == count
    done = subprocess.run([keybearer_command(), "leaks", "redact"], input="".join(lines).encode(), capture_output=True)
    (tmp_path / "clean.log").write_bytes(done.stdout)
    assert_clean(tmp_path / "clean.log", count)
