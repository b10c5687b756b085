"""Logs and metrics: whoever logs a credential, it does not come out."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keybearer.core import credential
from keybearer.telemetry import Metrics, configure_logging, redact

TEXT = credential.mint("kb_sk_live", "0123456789abcdef").reveal()
SECRET = TEXT.rsplit("_", 1)[1]


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_credential_is_redacted_wherever_it_stands(before: str, after: str) -> None:
    if before[-1:].isalnum() or before[-1:] == "_" or after[:1].isalnum():
        before, after = before + " ", " " + after
    # Behind the name of a scheme, the public part goes as well.
    assume(re.search(r"(?i)(bearer|basic|dpop)\s+$", before) is None)
    shown = redact(before + TEXT + after)
    assert SECRET not in shown
    assert "0123456789abcdef" in shown


@pytest.mark.parametrize(
    "line",
    [
        f"GET /?key={TEXT} HTTP/1.1",
        f"Authorization: Bearer {TEXT}",
        "Authorization: Bearer ForeignTokenWithoutOurShape",
        "authorization: basic dXNlcjpGb3JlaWduVG9rZW4=",
        "GET /a?x=1&api_key=ForeignTokenWithoutOurShape&y=2",
        f"'{TEXT}'",
        f"{TEXT[:-4]}",
    ],
    ids=range(7),
)
def test_lines_are_redacted(line: str) -> None:
    shown = redact(line)
    assert "[redacted]" in shown
    for hidden in (SECRET[:20], "ForeignToken", "dXNlcjpGb3JlaWduVG9rZW4"):
        assert hidden not in shown


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_every_way_of_logging_is_redacted(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    configure_logging(log_format, "info")
    log = logging.getLogger("some.library")
    log.info("in the message %s", TEXT)
    log.info("in a field", extra={"url": f"https://x/?token={TEXT}", "authorization": "Bearer abc"})
    log.info("nested", extra={"headers": {"X-Api-Key": "foreign-secret"}, "list": [TEXT]})
    try:
        raise ValueError(TEXT)
    except ValueError:
        log.exception("in an exception")
    shown = capsys.readouterr().err
    assert shown.count("\n") >= 4
    assert SECRET not in shown
    assert "foreign-secret" not in shown
    assert "Bearer abc" not in shown


def test_a_log_line_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    logging.getLogger("x").info("a\nb", extra={"name_of": "c\r\n\x1b[31md"})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["event"] == "a\nb"


def test_metrics_show_codes_routes_and_readings() -> None:
    metrics = Metrics()
    metrics.count_verifications({"VALID": 3, "REVOKED": 1})
    metrics.count_request("/v1/keys/{id}", 404)
    metrics.observe("keybearer_cached_records", "How many.", lambda: 7)
    shown = metrics.render().decode()
    assert 'keybearer_verifications_total{code="VALID"} 3.0' in shown
    assert 'keybearer_http_requests_total{route="/v1/keys/{id}",status="404"} 1.0' in shown
    assert "keybearer_cached_records 7.0" in shown
