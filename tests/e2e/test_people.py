"""People on a running authority: the command line, a restart, both engines; and what a server does without them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.authority import ADMIN_EMAIL, Authority


@pytest.fixture(params=["sqlite", "postgresql"])
def node(request: pytest.FixtureRequest, authority: Callable[..., Authority]) -> Authority:
    if request.param == "sqlite":
        return authority(workers=2)
    return authority(database=request.getfixturevalue("postgresql_url"))


def run(node: Authority, *arguments: str, stdin: str = "") -> Any:
    node.environment = {"KEYBEARER_URL": node.url, "KEYBEARER_KEY": node.root_key}
    done = node.run(*arguments, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_users_life_on_the_command_line(node: Authority) -> None:
    (admin,) = run(node, "users", "list")["items"]
    assert (admin["email"], admin["email_verified"], admin["permissions"]) == (ADMIN_EMAIL, True, ["keybearer:admin"])
    assert run(node, "users", "factors", admin["id"])["has_password"]
    ada = run(node, "users", "create", "--email", "Ada@Example.com", "--invite", "--link", "crm=1")
    letters = [file.read_text() for file in (node.data / "outbox").glob("*.eml")]
    assert len(letters) == 1
    assert f"{node.issuer}/invitation?link=kb_ml_" in letters[0].replace("=\n", "").replace("=3D", "=")
    password = "quartz lantern overture 41"
    factors = run(node, "users", "set-password", ada["id"], "--yes", stdin=password + "\n")
    assert factors["has_password"]
    lines = "".join(json.dumps({"email": f"user{number}@example.com"}) + "\n" for number in range(200))
    assert run(node, "users", "import", "-", stdin=lines)["imported"] == 200
    node.restart()
    found = run(node, "users", "list", "--email", "ada@example.com")["items"]
    assert [one["id"] for one in found] == [ada["id"]]
    assert run(node, "users", "links", ada["id"])["items"][0]["subject"] == "1"
    assert run(node, "users", "end-sessions", ada["id"], "--yes") == {"ended": 0}
    assert len(run(node, "users", "list", "--all")["items"]) == 202
    assert password not in node.output


def test_a_server_without_people_does_not_load_what_they_need(authority: Callable[..., Authority]) -> None:
    node = authority()
    loaded = Path(f"/proc/{node.pid}/maps").read_text()
    assert "_rust" in loaded, "this is how a library would be seen"
    for library in ("_argon2", "cbor2"):
        assert library not in loaded, library
