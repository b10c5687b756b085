"""`keybearer login`, `logout` and `doctor`, as a person runs them beside a browser."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.authority import Authority, keybearer_command
from tests.support.processes import kill_tree, wait_for
from tests.support.visitor import Visitor

MEMBER, PASSWORD = "m@example.com", "quartz lantern overture 41"


@dataclass
class Terminal:
    """Where a person types commands; sign-ins are kept in its home."""

    node: Authority
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not name.startswith("KEYBEARER_")}
        return mine | {"KEYBEARER_URL": self.node.url, "XDG_CONFIG_HOME": str(self.home), "NO_COLOR": "1"}

    @property
    def kept(self) -> dict[str, dict[str, str]]:
        """The file with the sign-ins."""
        return dict(json.loads((self.home / "keybearer/login.json").read_text()))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        command = [keybearer_command(), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=self.environment, stdin=subprocess.DEVNULL
        )

    def login(self, visitor: Visitor, *arguments: str, button: str = "submit") -> tuple[int, str]:
        """`keybearer login`, while the person answers in the browser; its status and all it printed."""
        said = self.home / "said.txt"
        with open(said, "wb") as output:
            process = subprocess.Popen(
                [keybearer_command(), "login", *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            shown = wait_for(
                lambda: re.search(r"^Open (\S+) .*\n\n\s+(\S+)\n", said.read_text(), re.MULTILINE),
                seconds=30,
                what="keybearer login",
                process=process,
            )
            page = visitor.through(shown[1])
            page = visitor.onward(visitor.send(page, {"user_code": shown[2]}, action="/device"))
            assert "Keybearer" in page.text
            visitor.send(page, action="/device", button=button)
            return process.wait(60), said.read_text()
        finally:
            if process.poll() is None:
                kill_tree(process)


@pytest.fixture
def terminal(served: Authority, tmp_path: Path) -> Terminal:
    """A terminal in which nobody has signed in."""
    return Terminal(served, tmp_path)


@pytest.fixture(scope="module")
def member(served: Authority) -> Iterator[Visitor]:
    """A person without any permission here."""
    headers = {"authorization": f"Bearer {served.root_key}"}
    body = {"email": MEMBER, "password": PASSWORD, "email_verified": True}
    answer = httpx.post(f"{served.url}/v1/users", json=body, headers=headers, trust_env=False)
    assert answer.status_code == 201, answer.text
    with Visitor(MEMBER, PASSWORD) as one:
        yield one


def _let_it_be_old(terminal: Terminal) -> None:
    """As if the access token had come to its end."""
    everything = terminal.kept
    (entry,) = everything.values()
    (terminal.home / "keybearer/login.json").write_text(json.dumps({terminal.node.url: entry | {"ends_at": 0}}))


def test_an_administrator_signs_in_works_and_signs_out(terminal: Terminal, visitor: Visitor) -> None:
    before = terminal.run("projects", "list")
    assert before.returncode == 2
    assert "keybearer login" in before.stderr
    status, said = terminal.login(visitor)
    assert status == 0, said
    assert "keybearer:admin" in said
    (tokens,) = terminal.kept.values()
    assert tokens["access_token"] not in said
    assert (terminal.home / "keybearer/login.json").stat().st_mode & 0o777 == 0o600

    done = terminal.run("projects", "create", "--name", "Made by hand", "--json")
    assert done.returncode == 0, done.stderr
    audit = terminal.run("audit", "list", "--json")
    assert audit.returncode == 0, audit.stderr

    _let_it_be_old(terminal)
    assert terminal.run("projects", "list").returncode == 0
    (renewed,) = terminal.kept.values()
    assert renewed["access_token"] != tokens["access_token"]
    assert renewed["refresh_token"] != tokens["refresh_token"]

    assert terminal.run("logout").returncode == 0
    assert terminal.kept == {}
    assert terminal.run("projects", "list").returncode == 2
    for token in (tokens["access_token"], renewed["access_token"]):
        headers = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{terminal.node.url}/v1/projects", headers=headers, trust_env=False).status_code == 401


def test_a_person_without_permissions_gets_none(terminal: Terminal, member: Visitor) -> None:
    status, said = terminal.login(member)
    assert status == 0, said
    assert "It may: openid offline_access\nYou hold no permission" in said
    done = terminal.run("projects", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "sign-in" in done.stderr


def test_no_is_an_answer(terminal: Terminal, visitor: Visitor) -> None:
    status, said = terminal.login(visitor, button="deny")
    assert status == 1
    assert "keybearer:" in said
    assert not (terminal.home / "keybearer/login.json").exists()


def test_the_doctor_finds_a_fresh_installation_well(terminal: Terminal) -> None:
    done = terminal.run("doctor", "--issuer", terminal.node.issuer, "--json")
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == 0, findings
    assert {one["verdict"] for one in findings} == {"well"}, findings
    assert len(findings) > 5


def test_the_doctor_finds_what_is_ill(terminal: Terminal) -> None:
    by_another_name = terminal.node.issuer.replace("127.0.0.1", "localhost")
    done = terminal.run("doctor", "--issuer", by_another_name)
    assert done.returncode == 1, done.stdout
    assert "ill" in done.stdout
    assert terminal.node.issuer in done.stdout
    assert "KEYBEARER_ISSUER" in done.stdout, "what to mend stands beside what is ill, also in a file"
