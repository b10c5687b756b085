"""What real servers log of real requests, scanned with the authority at hand, its database, and a filter.

nginx and Apache are sent keys in every place of a request; what they write is the corpus.
"""

from __future__ import annotations

import json
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.leaking import requests, send, wait_for_lines
from tests.e2e.shop import Shop
from tests.support.apache import Apache, find_apache
from tests.support.authority import Authority
from tests.support.nginx import Nginx, find_nginx
from tests.support.spelling import credential

NGINX = """
log_format everything '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" auth="$http_authorization" key="$http_x_api_key" cookie="$http_cookie"';
log_format lines escape=json '{"time_iso8601":"$time_iso8601","remote_addr":"$remote_addr","uri":"$request_uri",'
                             '"referer":"$http_referer","authorization":"$http_authorization"}';
server {
    listen 127.0.0.1:@PORT@;
    access_log combined.log combined;
    access_log everything.log everything;
    access_log lines.log lines;
    location / { root @PREFIX@/nothing; }
}
"""
APACHE = r"""
LogFormat "%h %l %u %t \"%r\" %>s %b" common
LogFormat "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"" combined
LogFormat "%{%Y-%m-%dT%H:%M:%S%z}t %a %V \"%r\" key=%{X-Api-Key}i cookie=%{Cookie}i" custom
CustomLog "@PREFIX@/common.log" common
CustomLog "@PREFIX@/combined.log" combined
CustomLog "@PREFIX@/custom.log" custom
DocumentRoot "@PREFIX@/nothing"
<Directory "/">
    Require all granted
</Directory>
"""


@dataclass
class Corpus:
    """The logs, and what was planted in them."""

    folder: Path
    shop: Shop
    credentials: dict[str, str]
    ids: dict[str, str]

    def scan(self, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, list[dict[str, Any]], Any]:
        """Scans all logs; no output has any secret."""
        node = self.shop.node
        node.environment = {"KEYBEARER_KEY": node.root_key, "KEYBEARER_URL": node.url, **(environment or {})}
        done = node.run("leaks", "scan", str(self.folder), "-f", "jsonl", *arguments)
        for text in self.credentials.values():
            assert text.rpartition("_")[2][:16] not in done.stdout + done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return (
            done.returncode,
            [one["finding"] for one in lines if "finding" in one],
            lines[-1]["summary"] if lines else None,
        )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    """Real logs of nginx and Apache, with live, revoked, expired, disabled, foreign and broken credentials."""
    nginx_program, apache_program = find_nginx(), find_apache()
    if nginx_program is None or apache_program is None:
        pytest.skip("nginx and Apache are not installed")
    home = tmp_path_factory.mktemp("corpus")
    node = Authority(home / "data", home / "logs")
    node.init()
    node.start()
    folder = home / "corpus"
    folder.mkdir()
    try:
        shop = Shop(node)
        credentials, ids = {}, {}
        for name in ("live", "revoked", "disabled", "expired", "test"):
            more = {"environment": "test"} if name == "test" else {}
            ids[name], credentials[name] = shop.key("pages:read", **{"name": f"the {name} one", **more})
        shop.call("POST", f"/v1/keys/{ids['revoked']}/revoke", {})
        shop.call("POST", f"/v1/keys/{ids['disabled']}/disable")
        shop.call("POST", f"/v1/keys/{ids['expired']}/rotate", {"grace_in": 0})
        credentials["foreign"] = credential("acme_sk_live")
        # Another secret with a right checksum behind an id that is ours: nobody ever had it from us.
        body = credentials["live"].rpartition("_")[0] + "_" + "q9Z7" * 8
        from keybearer.core.credential import checksum

        credentials["guessed"] = body + checksum(body)
        last = credentials["test"][-1]
        credentials["broken"] = credentials["test"][:-1] + ("0" if last != "0" else "1")
        fill(folder, credentials, nginx_program, apache_program)
        yield Corpus(folder, shop, credentials, ids)
    finally:
        node.stop()


def fill(folder: Path, credentials: dict[str, str], nginx_program: str, apache_program: tuple[str, Path]) -> None:
    """Have the servers write their logs."""
    for name in ("nginx", "apache"):
        (folder / name / "nothing").mkdir(parents=True)
    os.chmod(folder.parent, 0o755)
    nginx, apache = (
        Nginx(nginx_program, folder / "nginx"),
        Apache(apache_program[0], folder / "apache", modules=apache_program[1]),
    )
    nginx.start(NGINX)
    try:
        apache.start(APACHE.replace("@PREFIX@", str(folder / "apache")))
        try:
            count = 0
            for text in credentials.values():
                for path, headers in requests(text):
                    send(nginx.port, path, headers)
                    send(apache.port, path, headers)
                    count += 1
            for log in ("nginx/combined.log", "nginx/everything.log", "nginx/lines.log", "apache/common.log"):
                wait_for_lines(folder / log, count)
            for log in ("apache/combined.log", "apache/custom.log"):
                wait_for_lines(folder / log, count)
        finally:
            apache.stop()
    finally:
        nginx.stop()
    for other in ("nginx.conf", "access.log", "output.log"):
        (folder / "nginx" / other).unlink(missing_ok=True)
    for other in ("apache.conf", "output.log"):
        (folder / "apache" / other).unlink(missing_ok=True)


REQUEST_LINES = ["query", "path", "next", "once", "twice", "blob"]
IN_LOG = {
    "nginx/combined.log": [*REQUEST_LINES, "referer", "fragment"],
    "nginx/everything.log": [*REQUEST_LINES, "header", "bearer", "basic", "referer", "fragment", "cookie"],
    "nginx/lines.log": [*REQUEST_LINES, "bearer", "basic", "referer", "fragment"],
    "apache/common.log": REQUEST_LINES,
    "apache/combined.log": [*REQUEST_LINES, "referer", "fragment"],
    "apache/custom.log": [*REQUEST_LINES, "header", "cookie"],
}
"""Which requests leave their key in which log."""

STATES = {
    "live": "live",
    "revoked": "revoked",
    "disabled": "disabled",
    "expired": "expired",
    "test": "live",
    "foreign": "unknown",
    "guessed": "unknown",
}


def by_log(findings: list[dict[str, Any]], corpus: Corpus) -> dict[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for one in findings:
        name = str(Path(one["name"]).relative_to(corpus.folder))
        found.setdefault(name, []).append((one["line"], one["state"]))
    return found


def expected(log: str) -> list[tuple[int, str]]:
    names = [path.split("?")[0].split("/")[1] for path, _ in requests(credential())]
    return [
        (number * len(names) + place + 1, state)
        for number, state in enumerate(STATES.values())
        for place, name in enumerate(names)
        if name in IN_LOG[log]
    ]


@pytest.mark.parametrize("how", ["online", "database"])
def test_every_planted_credential_is_found_with_its_state(corpus: Corpus, how: str) -> None:
    asked = () if how == "online" else ("--data", str(corpus.shop.node.data))
    code, findings, summary = corpus.scan(*asked)
    assert code == 1
    found = by_log(findings, corpus)
    for log in IN_LOG:
        assert found[log] == expected(log), log
    assert summary["wrong_checksums"] >= sum(map(len, IN_LOG.values()))
    for one in findings:
        if Path(one["name"]).name == "error.log":
            continue
        # A format of one's own must be declared before an address is believed.
        assert (one.get("client_ip") == "127.0.0.1") is not one["name"].endswith("custom.log"), one
        assert one["at"].startswith("20"), one
        if one["state"] == "live":
            assert one["project_name"] == "Shop"
            assert one["key_name"] in ("the live one", "the test one")
        assert one["action"] == "none"
    # nginx says in its error log too which file it did not find.
    assert any(state == "live" for _, state in found["nginx/error.log"])


def test_a_declared_format_tells_the_client(corpus: Corpus) -> None:
    declared = '%{%Y-%m-%dT%H:%M:%S%z}t %a %V "%r" key=%{X-Api-Key}i cookie=%{Cookie}i'
    _, findings, _ = corpus.scan("--offline", "--log-format", declared, "--exclude", "nginx")
    assert {one.get("client_ip") for one in findings if one["name"].endswith("custom.log")} == {"127.0.0.1"}


def test_a_filter_tells_whose_ids_they_are_and_no_more(corpus: Corpus, tmp_path: Path) -> None:
    node = corpus.shop.node
    node.environment = {"KEYBEARER_KEY": node.root_key, "KEYBEARER_URL": node.url}
    exported = node.run("leaks", "digests", "export")
    assert exported.returncode == 0
    for text in corpus.credentials.values():
        assert text.rpartition("_")[2][:16] not in exported.stdout
    (tmp_path / "ids").write_text(exported.stdout)
    code, findings, _ = corpus.scan("--filter", str(tmp_path / "ids"), environment={"KEYBEARER_KEY": ""})
    assert code == 1
    states = {(one["credential_id"], one["state"]) for one in findings}
    ids = {name: key_id.partition("_")[2] for name, key_id in corpus.ids.items()}
    assert (ids["live"], "id_match") in states
    assert (ids["revoked"], "revoked") in states
    assert (ids["disabled"], "disabled") in states
    assert not any(state == "live" for _, state in states)
    assert ("unknown" in {state for _, state in states}) is True
    assert corpus.scan("--filter", str(tmp_path / "ids"), "--act")[0] == 2


def test_acting_revokes_the_live_one_and_a_second_scan_is_clean_of_it(corpus: Corpus) -> None:
    key_id, text = corpus.shop.key("pages:read", name="to be revoked")
    corpus.credentials["acted"] = text
    (corpus.folder / "app.log").write_text(f"2026-11-26T08:00:00Z token={text}\n")
    try:
        node = corpus.shop.node
        node.environment = {"KEYBEARER_KEY": node.root_key, "KEYBEARER_URL": node.url}
        done = node.run("leaks", "scan", str(corpus.folder / "app.log"), "--act", "-f", "jsonl")
        assert done.returncode == 1
        finding = json.loads(done.stdout.splitlines()[0])["finding"]
        assert finding["action"] == "revoked"
        assert finding["incident_id"]
        assert corpus.shop.verify(text)["code"] == "REVOKED"
        assert node.run("leaks", "scan", str(corpus.folder / "app.log")).returncode == 0
        assert corpus.shop.call("GET", f"/v1/keys/{key_id}")["state"] in ("revoked", "enabled")
    finally:
        (corpus.folder / "app.log").unlink()


def test_strange_names_and_times_do_not_keep_the_authority_from_learning(corpus: Corpus, tmp_path: Path) -> None:
    text = corpus.credentials["live"]
    for name in ("line\nbreak", "escape\x1b[2J", "surrogate\udcff", "x" * 200):
        (tmp_path / name).write_text(f"0001-01-01T00:00:00Z {text}\n9999-12-31T23:59:59Z {text}\n")
    node = corpus.shop.node
    node.environment = {"KEYBEARER_KEY": node.root_key, "KEYBEARER_URL": node.url}
    done = node.run("leaks", "scan", str(tmp_path), "-f", "jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["finding"]["state"] for one in lines[:-1]] == ["live"] * 8
    assert not any("at" in one["finding"] for one in lines[:-1])
    assert "\x1b" not in node.run("leaks", "scan", str(tmp_path)).stdout


def test_an_authority_that_does_not_answer_is_said(corpus: Corpus) -> None:
    code, findings, summary = corpus.scan("--url", "http://127.0.0.1:9")
    assert code == 1
    assert {one["state"] for one in findings} == {"unchecked"}
    assert summary["troubles"] >= 1


def test_no_name_of_a_file_keeps_back_what_is_in_others(corpus: Corpus, tmp_path: Path) -> None:
    """Of a batch the authority would refuse all for one control character."""
    for name in ("a\nb.log", "\x1b[2J.log", "plain.log"):
        (tmp_path / name).write_text(corpus.credentials["revoked"] + "\n")
    (tmp_path / os.fsdecode(b"\xff.log")).write_text(corpus.credentials["revoked"] + "\n")
    code, findings, summary = replace(corpus, folder=tmp_path).scan("--act")
    assert (code, summary["troubles"], [one["state"] for one in findings]) == (0, 0, ["revoked"] * 4)


def test_a_redacted_corpus_has_nothing_left_and_is_otherwise_the_same(corpus: Corpus, tmp_path: Path) -> None:
    node = corpus.shop.node
    for log in IN_LOG:
        copy = tmp_path / Path(log).name
        original = (corpus.folder / log).read_bytes()
        copy.write_bytes(original)
        copy.chmod(0o640)
        done = node.run("leaks", "redact", "--in-place", str(copy))
        assert (done.returncode, done.stdout) == (0, "")
        text = copy.read_bytes()
        assert copy.stat().st_mode & 0o777 == 0o640
        assert text.count(b"\n") == original.count(b"\n")
        for one in corpus.credentials.values():
            assert one.rpartition("_")[2][:12].encode() not in text
        scan = node.run("leaks", "scan", str(copy), "--offline", "-f", "jsonl")
        assert scan.returncode == 0, scan.stdout
        unchanged = [a for a, b in zip(original.splitlines(), text.splitlines(), strict=True) if a == b]
        names = {line.split(b"GET /")[1].split(b" ")[0] for line in unchanged if b"GET /" in line}
        assert all(b"_" not in name for name in names), names


def test_nothing_is_found_where_nothing_is() -> None:
    """The standard library and every installed package: tens of thousands of files, many with tokens and base64."""
    from keybearer.scanner.files import Walk
    from keybearer.scanner.reading import Progress, Reading, search_file

    roots = [sysconfig.get_path("stdlib")]
    size = 0
    for path in Walk(exclude=("__pycache__", "keybearer*")).files(roots):
        for event in search_file(str(path), Reading()):
            assert isinstance(event, Progress), event
            size += event.size
    assert size > 20_000_000
