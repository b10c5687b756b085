"""Access tokens over HTTP on SQLite: issued durably by the client credentials grant, introspected, and verified.

Issuing is by the clock on the wall, since it waits for the disk, and per second of the server's processor time, which
says more where others use the machine; introspection and verify are per second of processor time, against the same
empty 204 as in ``http``. All ask the same thing over and over, as machines do, but where it is said that each request
differs. Code flows are whole ones, see ``code_flow.py``.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlencode

from keybearer import app
from keybearer.settings import Settings

from . import authority, code_flow
from .authority import Running
from .figures import Figure, Goal, Spread, ratios
from .load import SERIAL, Question, per_core_second, per_second

CONNECTIONS = 64
SCOPE = "orders:read"
OPAQUE = Goal("≥ 3,000 /s", at_least=3_000)
JWT = Goal("≥ 6,000 /s", at_least=6_000)
CODE_FLOW = Goal("≥ 500 /s", at_least=500)
INTROSPECTION = Goal("≥ 60 % of the empty 204", at_least=0.60, of_ratio=True)
BASELINE = "empty 204, hot protocol"
_FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class Client:
    """A confidential client, and the API that it asks tokens for."""

    client_id: str
    secret: str
    resource: str

    @property
    def headers(self) -> dict[str, str]:
        """What proves the client."""
        pair = base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()
        return {**_FORM, "authorization": f"Basic {pair}"}

    def token_question(self, **more: str) -> Question:
        """Return a request for an access token; ``more`` are further header fields."""
        form = {"grant_type": "client_credentials", "scope": SCOPE, "resource": self.resource}
        return Question("POST", "/oauth/token", {**self.headers, **more}, urlencode(form))

    def introspection_question(self, token: str, **more: str) -> Question:
        """Return a question about a token of this client; ``more`` are further header fields."""
        return Question("POST", "/oauth/introspect", {**self.headers, **more}, urlencode({"token": token}))


def measure(*, quick: bool) -> Sequence[Figure]:
    """Ask in short alternating rounds."""
    rounds, seconds = (2, 1.0) if quick else (7, 2.0)
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        root_key = str(app.init(Settings(data=scratch / "data"), "benchmark@example.com", None)["root_key"])
        session = code_flow.sign_in(scratch / "data")
        empty = [sys.executable, "-m", "benchmarks.empty_answer", "hot"]
        nothing = stack.enter_context(authority.running(empty, scratch / "empty.log"))
        server = stack.enter_context(authority.running(authority.serve(scratch / "data"), scratch / "serve.log"))
        opaque, jwt = (_client(server, root_key, kind) for kind in ("opaque", "jwt"))
        token = ask_once(server, opaque.token_question())["access_token"]
        seen = ask_once(server, opaque.introspection_question(token))
        if not seen["active"]:
            raise RuntimeError(f"the token is not active: {seen}")
        verify = Question(
            "POST",
            "/v1/verify",
            {"authorization": f"Bearer {root_key}", "content-type": "application/json"},
            json.dumps({"credential": token}),
        )
        if not ask_once(server, verify)["valid"]:
            raise RuntimeError("the token does not verify")
        browser = _browser(server, root_key, session)
        issued: dict[str, list[float]] = {}
        costs: dict[str, list[float]] = {}
        flows: list[float] = []
        asked: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, question in (
                ("opaque", opaque.token_question()),
                ("opaque, each request different", opaque.token_question(traceparent=SERIAL)),
                ("JWT", jwt.token_question()),
                ("JWT, each request different", jwt.token_question(traceparent=SERIAL)),
            ):
                before, started = server.processor_seconds(), perf_counter()
                rate = per_second(server.url, question, seconds, scratch, connections=CONNECTIONS)
                answers = rate * min(seconds, perf_counter() - started)
                issued.setdefault(name, []).append(rate)
                costs.setdefault(name, []).append(answers / (server.processor_seconds() - before))
            flows.append(code_flow.per_second(browser, seconds))
            for name, running, question in (
                (BASELINE, nothing, Question("GET", "/")),
                ("POST /oauth/introspect, cached token", server, opaque.introspection_question(token)),
                (
                    "the same, each request different",
                    server,
                    opaque.introspection_question(token, traceparent=SERIAL),
                ),
                ("POST /v1/verify, cached token", server, verify),
            ):
                asked.setdefault(name, []).append(per_core_second(running, question, seconds, scratch))
    goals = {"opaque": OPAQUE, "JWT": JWT, "POST /oauth/introspect, cached token": INTROSPECTION}
    unit = "/s of processor time"
    return [
        *(
            Figure(
                f"client credentials, {name}, {CONNECTIONS} connections",
                "/s",
                Spread.of(rates),
                goal=goals.get(name),
            )
            for name, rates in issued.items()
        ),
        *(Figure(f"client credentials, {name}", unit, Spread.of(rates)) for name, rates in costs.items()),
        Figure(
            f"code flows (authorize, redeem, refresh), {code_flow.CONNECTIONS} connections",
            "/s",
            Spread.of(flows),
            goal=CODE_FLOW,
        ),
        Figure(BASELINE, unit, Spread.of(asked[BASELINE])),
        *(
            Figure(name, unit, Spread.of(rates), BASELINE, ratios(rates, asked[BASELINE]), goals.get(name))
            for name, rates in asked.items()
            if name != BASELINE
        ),
    ]


def _client(server: Running, root_key: str, token_format: str, **members: Any) -> Client:
    """Make an API whose tokens are written like this, and a client that may ask for them; ``members`` are its own."""
    resource = f"https://{token_format}-{len(members)}.orders.example"
    api = _made(
        server,
        root_key,
        "apis",
        {
            "identifier": resource,
            "name": "Orders",
            "token_format": token_format,
            "permissions": [{"name": SCOPE}],
        },
    )
    project = _made(server, root_key, "projects", {"name": "Shop", "enabled_apis": [api["id"]]})
    made = _made(
        server,
        root_key,
        "clients",
        {
            "project_id": project["id"],
            "name": "Shop",
            "grant_types": ["client_credentials"],
            "scopes": [SCOPE],
            **members,
        },
    )
    return Client(made["client"]["id"], made["client_secret"], resource)


def _browser(server: Running, root_key: str, session: str) -> code_flow.Browser:
    """Return a browser with a session at this server, and a client of the authority's own that needs no consent."""
    client = _client(
        server,
        root_key,
        "opaque",
        grant_types=["authorization_code", "refresh_token"],
        redirect_uris=[code_flow.REDIRECT],
        is_first_party=True,
    )
    return code_flow.Browser(
        server.host,
        server.port,
        session,
        client.client_id,
        client.headers["authorization"],
        SCOPE,
        client.resource,
    )


def _made(server: Running, root_key: str, plural: str, body: Mapping[str, Any]) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {root_key}", "content-type": "application/json"}
    return ask_once(server, Question("POST", f"/v1/{plural}", headers, json.dumps(body)))


def ask_once(server: Running, question: Question) -> dict[str, Any]:
    """Ask once; raises ``RuntimeError`` unless the answer is 2xx."""
    connection = HTTPConnection(server.host, server.port, timeout=10)
    connection.request(question.method, question.path, question.body, dict(question.headers))
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    if answer.status // 100 != 2:
        raise RuntimeError(f"{question.path}: {answer.status} {body}")
    found: dict[str, Any] = json.loads(body)
    return found
