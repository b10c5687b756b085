"""The examples of ``docs/cli.md`` and ``docs/client.md`` work."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import answers

DOCS = Path(__file__).resolve().parents[3] / "docs"
ROUTES = [
    (r"/import", {"type": "report", "lines": 1, "imported": 1, "refused": [], "refused_count": 0, "dry_run": False}),
    (r"/credits$", answers.CREDITS),
    (r"POST /v1/keys(/[^/]+/rotate)?$", answers.ISSUED),
    (r"GET /v1/keys$", {"items": [answers.KEY_VIEW], "next_cursor": None}),
    (r"/v1/keys", answers.KEY_VIEW),
    (r"/v1/apis", answers.API),
    (r"/v1/projects", answers.PROJECT),
    (r"/v1/plans", answers.PLAN),
    (r"/v1/identities", answers.IDENTITY),
    (r"GET /v1/users/[^/]+/factors$", answers.FACTORS),
    (r"/v1/users/[^/]+/(password|reset-second-factor)$", answers.FACTORS),
    (r"/v1/users/[^/]+/send-link$", answers.SENT),
    (r"GET /v1/users/[^/]+/links$", {"items": [answers.LINK], "next_cursor": None}),
    (r"/v1/users/[^/]+/links", answers.LINK),
    (r"/v1/users/[^/]+/end-sessions$", {"ended": 2}),
    (r"GET /v1/users$", {"items": [answers.USER], "next_cursor": None}),
    (r"/v1/users", answers.USER),
    (r"GET /v1/sessions$", {"items": [answers.SESSION], "next_cursor": None}),
    (r"/v1/sessions", answers.SESSION),
    (r"GET /v1/upstreams$", {"items": [answers.UPSTREAM], "next_cursor": None}),
    (r"/v1/upstreams", answers.UPSTREAM),
    (r"GET /v1/incidents$", {"items": [answers.INCIDENT], "next_cursor": None}),
    (r"/v1/incidents", answers.INCIDENT),
    (r"/v1/leaks/urls", answers.URL_REPORT),
    (r"POST /v1/webhooks(/[^/]+/rotate)?$", answers.ISSUED_WEBHOOK),
    (r"GET /v1/webhooks/[^/]+/deliveries$", {"items": [answers.DELIVERY], "next_cursor": None}),
    (r"/(ping|redeliver)$", answers.DELIVERY),
    (r"GET /v1/webhooks$", {"items": [answers.WEBHOOK], "next_cursor": None}),
    (r"/v1/webhooks", answers.WEBHOOK),
    (r"/v1/leaks/policies", answers.LEAK_POLICY),
    (r"POST /v1/clients(/[^/]+/rotate)?$", answers.ISSUED_CLIENT),
    (r"GET /v1/clients$", {"items": [answers.CLIENT], "next_cursor": None}),
    (r"/v1/clients", answers.CLIENT),
    (r"GET /v1/grants$", {"items": [answers.GRANT], "next_cursor": None}),
    (r"/v1/grants", answers.GRANT),
    (r"GET /v1/signing-keys$", {"items": [answers.SIGNING_KEY], "next_cursor": None}),
    (r"/v1/signing-keys", answers.SIGNING_KEY),
    (r"/v1/verify", answers.YES),
    (r"/v1/refund", {"refunded": True}),
    (r"/v1/whoami", answers.WHOAMI),
    (r"/v1/revoke-mine", {"id": "key_1", "revoked": True}),
    (r"/v1/usage", answers.USAGE),
    (r"/v1/audit/verification", answers.CHAIN),
    (r"/v1/audit", {"items": [answers.ENTRY], "next_cursor": None}),
]


def answer(request: httpx.Request) -> httpx.Response:
    line = f"{request.method} {request.url.path}"
    found = next(found for pattern, found in ROUTES if re.search(pattern, line))
    return httpx.Response(200, text=json.dumps(found))


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / name).read_text(), re.DOTALL | re.MULTILINE)


UNKEYED = ("init", "serve", "sign-in-link", "login", "logout", "doctor")
COMMANDS = [line for block in blocks("cli.md", "sh") for line in block.splitlines() if line.startswith("keybearer ")]
CLIENT_COMMANDS = [line for line in COMMANDS if line.split()[1] not in UNKEYED]


def test_there_are_examples() -> None:
    assert len(CLIENT_COMMANDS) > 25
    assert len(blocks("client.md", "python")) == 6


@pytest.mark.parametrize("line", CLIENT_COMMANDS)
def test_commands(line: str, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("keys.ndjson", "users.ndjson", "keys.json"):
        (tmp_path / name).write_text("{}\n")
    result = run(*shlex.split(line)[1:], answers=[answer], stdin="presented\n")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("block", blocks("client.md", "python"))
def test_python(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer_later(self: object, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return answer(request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda self, request: answer(request))
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer_later)
    exec(compile(block, "client.md", "exec"), {"key": "k", "__name__": "__main__"})
