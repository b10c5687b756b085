"""Verify and forward-auth over HTTP, against the same server's empty 204.

Counted per second of the server's processor time, because others share the machine: a server that waits for its core
is not a slow one. On an idle machine this is the rate itself.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

from . import authority, empty_answer
from .figures import Figure, Goal, Spread, ratios
from .load import SERIAL, Question, per_core_second
from .stock import Stock, stock

GOAL = Goal("≥ 70 % of the empty 204", at_least=0.70, of_ratio=True)


def measure(*, quick: bool) -> Sequence[Figure]:
    """Ask five servers in short alternating rounds."""
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        stocked = stock(scratch / "data", 1000)
        questions = {
            "empty 204, hot protocol": Question("GET", "/"),
            "empty 204, hot protocol, same POST": verify_question(stocked),
            "empty 204, route machinery, same POST": verify_question(stocked),
            "empty 204, plain ASGI": Question("GET", "/"),
            "POST /v1/verify, one limit": verify_question(stocked),
            "GET /forward-auth, one limit": forward_auth_question(stocked),
            "POST /v1/verify, 1,000 keys at random": any_of(stocked, stocked.credentials, stocked.count),
            "GET /forward-auth, another URL each time": forward_auth_question(stocked, f"/orders/{SERIAL}"),
        }
        kinds = ("hot", "hot", "edge", "asgi")
        empty = [sys.executable, "-m", "benchmarks.empty_answer"]
        own = {
            kind: stack.enter_context(authority.running([*empty, kind], scratch / f"{kind}.log")) for kind in set(kinds)
        }
        main = stack.enter_context(authority.running(authority.serve(stocked.data), scratch / "serve.log"))
        servers = [*(own[kind] for kind in kinds), main, main, main, main]
        check(main, stocked)
        rates: dict[str, list[float]] = {name: [] for name in questions}
        for server, question in zip(servers, questions.values(), strict=True):
            per_core_second(server, question, 1, scratch)
        for _ in range(2 if quick else 7):
            for server, (name, question) in zip(servers, questions.items(), strict=True):
                rates[name].append(per_core_second(server, question, 1 if quick else 2, scratch))
    return _figures(rates)


def _figures(rates: dict[str, list[float]]) -> list[Figure]:
    baseline, *_ = rates
    return [
        Figure(
            name,
            "/s of processor time",
            Spread.of(values),
            "" if name == baseline else baseline,
            None if name == baseline else ratios(values, rates[baseline]),
            GOAL if name.endswith("one limit") else None,
        )
        for name, values in rates.items()
    ]


def verify_question(stocked: Stock, credential: str | None = None) -> Question:
    """Return a verify of one key, asked by a service that may do nothing else; ``%s`` leaves the key open."""
    asked = stocked.first(1)[0] if credential is None else credential
    return Question(
        "POST",
        empty_answer.PATH,
        {"authorization": f"Bearer {stocked.service_key}", "content-type": "application/json"},
        json.dumps({"credential": asked}),
    )


def any_of(stocked: Stock, lines: Path, count: int) -> Question:
    """Return a verify of any of the keys in a file."""
    return replace(verify_question(stocked, "%s"), lines=(lines, count, stocked.width))


def forward_auth_question(stocked: Stock, uri: str = "/orders/17?page=2") -> Question:
    """Return what a reverse proxy sends for a client's request."""
    return Question(
        "GET",
        "/forward-auth",
        {
            "authorization": f"Bearer {stocked.first(1)[0]}",
            "accept": "*/*",
            "user-agent": "curl/8.5.0",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-host": "orders.example.com",
            "x-forwarded-method": "GET",
            "x-forwarded-proto": "https",
            "x-forwarded-uri": uri,
        },
    )


def check(server: authority.Running, stocked: Stock) -> None:
    """Raise ``RuntimeError`` unless the server accepts the key under its limit: speed of refusals proves nothing."""
    for question in (verify_question(stocked), forward_auth_question(stocked)):
        connection = HTTPConnection(server.host, server.port, timeout=10)
        connection.request(question.method, question.path, question.body, dict(question.headers))
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        limited = '"limits":[{' in body or answer.headers["ratelimit"]
        if answer.status != 200 or '"valid":false' in body or not limited:
            raise RuntimeError(f"{question.path}: {answer.status} {body}")
