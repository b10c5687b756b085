"""``keybearer keys import``: progress, report, CSV."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

REPORT = {"type": "report", "lines": 2, "imported": 2, "refused": [], "refused_count": 0, "dry_run": False}
LINES = '{"name": "a"}\n{"name": "b"}\n'


def answer(**changes: object) -> httpx.Response:
    progress = {"type": "progress", "phase": "checking", "done": 1, "total": 2}
    return httpx.Response(200, text=json.dumps(progress) + "\n" + json.dumps({**REPORT, **changes}) + "\n")


def test_a_file_and_stdin(run: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "keys.ndjson"
    file.write_text(LINES)
    result = run("keys", "import", str(file), answers=[answer()])
    assert (result.exit_code, result.stdout) == (0, "2 keys imported.\n")
    assert result.recorder.request.content.decode() == LINES
    result = run("keys", "import", "-", "--dry-run", answers=[answer(dry_run=True, imported=0)], stdin=LINES)
    assert "2 lines are right; nothing was imported (dry run)" in result.stdout
    assert result.recorder.request.url.query == b"dry_run=true"
    assert result.recorder.request.content.decode() == LINES


def test_users_are_imported_in_the_same_way(run: Callable[..., Any], tmp_path: Path) -> None:
    result = run("users", "import", "-", answers=[answer(imported=1)], stdin=LINES)
    assert (result.exit_code, result.stdout) == (0, "1 user imported.\n")
    assert result.recorder.request.url.path == "/v1/users/import"
    file = tmp_path / "users.csv"
    file.write_text(
        "email,email_verified,claims.given_name,permissions,links,password_hash\n"
        'ada@example.com,True,Ada,a:x b:y,crm=4711 erp=1,"$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"\n'
    )
    result = run("users", "import", str(file), answers=[answer(imported=1)])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.recorder.request.content.splitlines()[-1]) == {
        "email": "ada@example.com",
        "email_verified": True,
        "claims": {"given_name": "Ada"},
        "permissions": ["a:x", "b:y"],
        "links": [{"issuer": "crm", "subject": "4711"}, {"issuer": "erp", "subject": "1"}],
        "password_hash": "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
    }


def test_refused_lines_are_listed_and_the_exit_code_is_1(run: Callable[..., Any]) -> None:
    refused = [
        {
            "line": 2,
            "problems": [{"field": "secret.value", "message": "is no hex"}, {"field": "name", "message": "\x1b[31m"}],
        }
    ]
    result = run("keys", "import", "-", answers=[answer(imported=0, refused=refused, refused_count=1)], stdin=LINES)
    assert result.exit_code == 1
    assert "2     secret.value  is no hex" in result.stdout
    assert "\x1b" not in result.stdout
    assert "1 of 2 lines refused; nothing was imported." in result.stdout
    result = run(
        "keys", "import", "-", "--json", answers=[answer(imported=0, refused=refused, refused_count=1)], stdin=""
    )
    assert json.loads(result.stdout)["refused"] == refused


def test_an_import_that_ended_in_an_error(run: Callable[..., Any]) -> None:
    result = run("keys", "import", "-", answers=[answer(imported=0, error="The database is full.")], stdin=LINES)
    assert result.exit_code == 1
    assert "The database is full." in result.stderr


def test_a_cut_answer_is_unknown(run: Callable[..., Any]) -> None:
    result = run("keys", "import", "-", answers=[httpx.Response(200, text="")], stdin=LINES)
    assert result.exit_code == 3
    assert "unknown" in result.stderr


def test_csv(run: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    file.write_text(
        "\ufeffproject_id,name,owner,permissions,secret.scheme,secret.value,metadata.team\r\n"
        'proj_1,"a, b",,orders:read orders:write,raw,sk_1,shop\r\n',
        encoding="utf-8",
    )
    result = run("keys", "import", str(file), answers=[answer()])
    assert result.exit_code == 0
    assert result.recorder.body == {
        "project_id": "proj_1",
        "name": "a, b",
        "permissions": ["orders:read", "orders:write"],
        "secret": {"scheme": "raw", "value": "sk_1"},
        "metadata": {"team": "shop"},
    }


def test_csv_takes_every_setting_as_the_command_line_does(run: Callable[..., Any], tmp_path: Path) -> None:
    columns = {
        "name": "n",
        "expires_in": "30d",
        "limits": "r=5/1m q=9/1h",
        "quotas": "calls=5/day",
        "credits": "5",
        "restrictions.paths": "/a/* /b",
        "restrictions.methods": "GET POST",
        "restrictions.android_apps": "com.a=" + "ab" * 32,
        "metadata.seats": "3",
    }
    file = tmp_path / "keys.csv"
    file.write_text(",".join(columns) + "\n" + ",".join(columns.values()) + "\n")
    result = run("keys", "import", str(file), answers=[answer()])
    assert result.exit_code == 0, result.stderr
    body = result.recorder.body
    assert (body["expires_in"], body["metadata"], body["credits"]["balance"]) == (2_592_000, {"seats": 3}, 5)
    assert [limit["period_in"] for limit in body["limits"]] == [60, 3600]
    assert body["restrictions"]["paths"] == ["/a/*", "/b"]
    assert body["restrictions"]["methods"] == ["GET", "POST"]
    assert body["restrictions"]["android_apps"][0]["package"] == "com.a"


def test_lines_of_a_csv_have_the_numbers_that_an_editor_shows(run: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    file.write_text('name,owner\na,x\n\n"b\nb",y\nc,z\n')
    result = run("keys", "import", str(file), answers=[answer()])
    sent = result.recorder.request.content.decode().split("\n")
    assert [number for number, line in enumerate(sent, 1) if line] == [2, 5, 6]


def test_a_row_that_cannot_be_meant_is_refused_by_its_number(run: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    for text, why in (
        ("name,owner\na,x\nb,y,z\n", "line 3 has 3 cells, and the header 2"),
        ("name,name\na,b\n", "'name' again"),
        ("name,\na,b\n", "has no name"),
        ("name,limits\na,lots\n", "line 2: limits: 'lots' is not a limit"),
        ("name,secret,secret.value\na,b,c\n", "'secret' cannot be a column"),
    ):
        file.write_text(text)
        result = run("keys", "import", str(file), answers=[answer()])
        assert result.exit_code == 2, text
        assert why in result.stderr


def test_an_empty_file_is_said_to_be_empty(run: Callable[..., Any]) -> None:
    result = run("keys", "import", "-", answers=[answer(lines=0, imported=0)], stdin="")
    assert (result.exit_code, result.stdout) == (0, "There is no key in this file.\n")


def test_csv_that_is_none_is_a_usage_error(run: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    for text in (b'a,b\n"x', b"a,a.b\n1,2\n", b"a\n\xff"):
        file.write_bytes(text)
        result = run("keys", "import", str(file), answers=[answer()])
        assert result.exit_code == 2, text
        assert result.stderr.startswith("keybearer: the CSV")


def test_a_file_that_is_not_there(run: Callable[..., Any]) -> None:
    result = run("keys", "import", "/nowhere/keys.ndjson", answers=[answer()])
    assert result.exit_code == 2
    assert "cannot read" in result.stderr


def test_the_key_may_come_before_the_lines(run: Callable[..., Any]) -> None:
    result = run("keys", "import", "-", "--key-stdin", answers=[answer()], stdin="my-key\n" + LINES, key=None)
    assert result.exit_code == 0
    assert result.recorder.request.headers["authorization"] == "Bearer my-key"
    assert result.recorder.request.content.decode() == LINES
