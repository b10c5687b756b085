"""The doctor: what it says of an installation that is well, and of each thing that is not."""

import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from keybearer.client.doctor import Doctor, Finding, Verdict

ISSUER = "http://127.0.0.1:8080"
NOW = 1_800_000_000.0
Answers = dict[str, Callable[[httpx.Request], httpx.Response]]


def _document(**changes: Any) -> dict[str, Any]:
    return {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/oauth/authorize",
        "token_endpoint": f"{ISSUER}/oauth/token",
        "jwks_uri": f"{ISSUER}/oauth/jwks",
        "response_types_supported": ["code"],
        **changes,
    }


def _json(content: Any, status: int = 200, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx.Response(status, json=content, headers=named)


def _well() -> Answers:
    refused = {"error": "unsupported_grant_type"}
    framed = {"content-security-policy": "default-src 'none'; frame-ancestors 'none'"}
    return {
        "/readyz": _json({"status": "ready"}),
        "/healthz": _json({"status": "alive"}, date=formatdate(NOW, usegmt=True)),
        "/.well-known/openid-configuration": _json(_document()),
        "/.well-known/oauth-authorization-server": _json(_document()),
        "/oauth/jwks": _json({"keys": [{"kid": "a", "alg": "ES256"}]}, cache_control="public, max-age=300"),
        "/oauth/token": _json(refused, 400, cache_control="no-store"),
        "/oauth/authorize": lambda request: httpx.Response(400, text="<p>Unknown client", headers=framed),
    }


def _findings(answers: Answers, issuer: str = ISSUER, **asked: str) -> dict[str, Finding]:
    def answer(request: httpx.Request) -> httpx.Response:
        found = answers.get(request.url.path)
        return httpx.Response(404) if found is None else found(request)

    with Doctor(issuer, transport=httpx.MockTransport(answer), now=lambda: NOW) as doctor:
        return {finding.what: finding for finding in doctor.examine(**asked)}


def test_everything_is_well() -> None:
    found = _findings(_well())
    assert {finding.verdict for finding in found.values()} == {Verdict.WELL}, found
    assert len(found) == 10
    assert not any(finding.mend for finding in found.values())


def test_nothing_answers() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with Doctor(ISSUER, transport=httpx.MockTransport(refuse)) as doctor:
        (only,) = doctor.examine()
    assert only.verdict is Verdict.ILL
    assert "connection refused" in only.says


@pytest.mark.spec("RFC 8414", "3.3", "MUST")
@pytest.mark.parametrize("issuer", [ISSUER + "/", ISSUER.upper(), "https://127.0.0.1:8080", ""])
def test_an_issuer_that_is_not_equal_byte_for_byte(issuer: str) -> None:
    answers = _well() | {"/.well-known/openid-configuration": _json(_document(issuer=issuer))}
    found = _findings(answers)["OpenID metadata"]
    assert found.verdict is Verdict.ILL
    assert "byte for byte" in found.mend


@pytest.mark.parametrize(
    ("path", "answer", "what", "verdict"),
    [
        ("/readyz", _json({}, 503), "reachable", Verdict.ILL),
        ("/readyz", _json({}, 404), "reachable", Verdict.LOOK),
        ("/healthz", _json({}, date=formatdate(NOW - 30, usegmt=True)), "clock", Verdict.LOOK),
        ("/healthz", _json({}, date=formatdate(NOW - 300, usegmt=True)), "clock", Verdict.ILL),
        ("/healthz", _json({}), "clock", Verdict.LOOK),
        ("/.well-known/openid-configuration", _json({}, 302, location="/x"), "OpenID metadata", Verdict.ILL),
        ("/.well-known/openid-configuration", _json([]), "OpenID metadata", Verdict.ILL),
        ("/.well-known/openid-configuration", _json({"issuer": ISSUER}), "OpenID metadata", Verdict.ILL),
        ("/.well-known/openid-configuration", _json(_document(x=1)), "metadata", Verdict.LOOK),
        (
            "/.well-known/openid-configuration",
            _json(_document(registration_endpoint="https://elsewhere.example/")),
            "endpoints",
            Verdict.LOOK,
        ),
        ("/oauth/jwks", _json({"keys": []}), "signing keys", Verdict.ILL),
        ("/oauth/jwks", _json({"keys": [{"kid": "a", "d": "secret"}]}), "signing keys", Verdict.ILL),
        ("/oauth/jwks", _json({"keys": [{"kid": "a"}]}, cache_control="max-age=86400"), "age of keys", Verdict.LOOK),
        ("/oauth/token", _json({}, 502), "token endpoint", Verdict.ILL),
        ("/oauth/token", _json({"error": "x"}, 400), "token endpoint", Verdict.ILL),
        ("/oauth/authorize", _json({}, 302, location="https://evil.example/"), "authorization endpoint", Verdict.ILL),
        ("/oauth/authorize", _json({}, 400), "authorization endpoint", Verdict.ILL),
        (
            "/oauth/authorize",
            _json({}, 400, content_security_policy="frame-ancestors 'none'", access_control_allow_origin="*"),
            "authorization endpoint",
            Verdict.ILL,
        ),
    ],
)
def test_each_thing_that_can_be_ill(path: str, answer: Any, what: str, verdict: Verdict) -> None:
    found = _findings(_well() | {path: answer})[what]
    assert found.verdict is verdict, found
    assert found.mend


def test_plain_http_to_another_machine() -> None:
    found = _findings(_well(), issuer="http://keys.example.com")
    assert found["transport"].verdict is Verdict.ILL


@pytest.mark.parametrize(
    ("document", "verdict"),
    [
        ({"client_id": "http://127.0.0.1:8080/client.json"}, Verdict.WELL),
        ({"client_id": "http://127.0.0.1:8080/other.json"}, Verdict.ILL),
        ([], Verdict.ILL),
    ],
)
def test_a_client_document(document: Any, verdict: Verdict) -> None:
    answers = _well() | {"/client.json": _json(document)}
    found = _findings(answers, client_id_document=f"{ISSUER}/client.json")["client document"]
    assert found.verdict is verdict


def test_an_answer_without_end_is_not_believed() -> None:
    answers = _well() | {
        "/oauth/jwks": lambda request: httpx.Response(200, text=json.dumps({"keys": ["x" * 2_000_000]}))
    }
    assert _findings(answers)["signing keys"].verdict is Verdict.ILL
