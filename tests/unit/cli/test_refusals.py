"""What goes wrong on the command line: exit codes, texts, and nothing that could steer a terminal."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from keybearer.cli import login
from keybearer.core.secret import Secret
from tests.support.answers import KEY_VIEW, problem

ESCAPES = "\x1b]0;owned\x07\x1b[31m\x9b2J\u202egnp\r\n\x00"


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (problem(400), 1, "What is wrong."),
        (problem(401), 1, "Is KEYBEARER_KEY the right key"),
        (problem(403, missing=["keybearer:keys.read"]), 1, "missing: keybearer:keys.read"),
        (problem(404), 1, "What is wrong."),
        (problem(409), 1, "What is wrong."),
        (problem(500), 1, "request id: req_1"),
        (httpx.Response(404, html="nginx"), 1, "Is the URL right?"),
        (httpx.ConnectError("refused"), 3, "cannot be reached: refused"),
        (httpx.ReadTimeout("x"), 3, "did not answer in time"),
    ],
)
def test_exit_codes(run: Callable[..., Any], answer: object, code: int, text: str) -> None:
    result = run("keys", "show", "key_1", answers=[answer])
    assert result.exit_code == code
    assert text in result.stderr
    assert result.stdout == ""


def test_a_sign_in_that_is_refused_says_how_to_renew_it(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "access_token", lambda url: Secret("kb_at_mine"))
    result = run("keys", "list", answers=[problem(401)], key=None)
    assert result.exit_code == 1
    assert "'keybearer login' renews it" in result.stderr


def test_each_wrong_field_has_its_line(run: Callable[..., Any]) -> None:
    fields = [{"field": "name", "message": "is empty"}, {"field": "limits[0].limit", "message": "is 0"}]
    result = run("keys", "create", "--project", "p", "--name", "", answers=[problem(400, errors=fields)])
    assert result.exit_code == 1
    assert "  name: is empty\n  limits[0].limit: is 0\n" in result.stderr


@pytest.mark.parametrize(
    "line",
    [
        "keys create",
        "keys create --project p --name n --limit x",
        "keys create --project p --name n --limit r=5/1q",
        "keys create --project p --name n --quota c=5/fortnight",
        "keys create --project p --name n --credits some",
        "keys create --project p --name n --expires-in soon",
        "keys create --project p --name n --expires-at soon",
        "keys create --project p --name n --meta x",
        "keys create --project p --name n --android x",
        "keys create --project p --name n --kind other",
        "keys update k",
        "keys update k --clear name",
        "keys update k --owner a --clear owner",
        "keys update k --expires-in 1d --expires-at 2027-01-01",
        "keys credits k",
        "keys credits k --set 1 --add 1",
        "usage --by week",
        "usage --since yesterday",
        "keys list --key secret",
        "keys list -n 0",
        "nonsense",
    ],
)
def test_wrong_usage_exits_with_2_before_anything_is_sent(run: Callable[..., Any], line: str) -> None:
    result = run(*line.split(), answers=[KEY_VIEW])
    assert result.exit_code == 2
    assert result.stderr
    assert not result.recorder.requests


def test_without_a_key_nothing_is_sent(run: Callable[..., Any]) -> None:
    for arguments, stdin in ((["keys", "list"], ""), (["keys", "list", "--key-stdin"], "\n")):
        result = run(*arguments, answers=[KEY_VIEW], key=None, stdin=stdin)
        assert result.exit_code == 2
        assert "KEYBEARER_KEY" in result.stderr


def test_a_key_with_a_control_character_is_refused_unquoted(run: Callable[..., Any]) -> None:
    result = run("keys", "list", answers=[KEY_VIEW], key="SECRET\x01KEY")
    assert result.exit_code == 2
    assert "SECRET" not in result.stderr


def test_plain_http_to_another_machine_needs_its_flag(run: Callable[..., Any]) -> None:
    result = run("keys", "show", "k", "--url", "http://keys.example.com", answers=[KEY_VIEW])
    assert result.exit_code == 2
    assert "--allow-http" in result.stderr
    assert (
        run("keys", "show", "k", "--url", "http://keys.example.com", "--allow-http", answers=[KEY_VIEW]).exit_code == 0
    )


@pytest.mark.parametrize("arguments", [["keys", "show", "k"], ["keys", "list"], ["keys", "show", "k", "--json"]])
def test_control_characters_from_the_server_are_neutralised(run: Callable[..., Any], arguments: list[str]) -> None:
    hostile = {**KEY_VIEW, "name": ESCAPES, "metadata": {ESCAPES: ESCAPES}, "tags": [ESCAPES], "owner": ESCAPES}
    answer: object = {"items": [hostile], "next_cursor": None} if "list" in arguments else hostile
    result = run(*arguments, answers=[answer])
    assert result.exit_code == 0
    assert not [c for c in result.stdout if c != "\n" and not c.isprintable()]
    if "--json" in arguments:
        assert json.loads(result.stdout) == answer


def test_control_characters_in_errors_are_neutralised(run: Callable[..., Any]) -> None:
    fields = [{"field": ESCAPES, "message": ESCAPES}]
    result = run("keys", "show", "k", answers=[problem(400, detail=ESCAPES, errors=fields)])
    assert not [c for c in result.stderr if c != "\n" and not c.isprintable()]


def test_destructive_commands_ask_on_a_terminal(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda text, **_: asked.append(text))
    lines = [
        "keys delete k",
        "keys revoke k",
        "keys revoke-version k 1",
        "keys rotate k --grace 0",
        "projects delete p",
        "projects disable-api p a",
        "revoke-mine",
    ]
    for line in lines:
        monkeypatch.setattr("keybearer.cli.session._is_interactive", lambda: True)
        result = run(*line.split(), answers=[KEY_VIEW])
        assert result.exit_code == 1
        assert "nothing was done" in result.stderr
        assert not result.recorder.requests
    assert len(asked) == len(lines)
    assert run("keys", "revoke", "k", "--yes", answers=[KEY_VIEW]).exit_code == 0
    assert len(asked) == len(lines)
