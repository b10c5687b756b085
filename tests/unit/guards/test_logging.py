"""No handler of Python's logging sees a secret, wherever in a record it stands."""

import base64
import io
import json
import logging
import subprocess
import sys
from collections import OrderedDict
from types import SimpleNamespace

import pytest

from keybearer.guards.logging import RedactingFilter, clean
from tests.support.spelling import credential, percent

SECRET = credential().rpartition("_")[2]


class Everything(logging.Formatter):
    """Writes whatever a record holds."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record) + json.dumps(
            {name: repr(value) for name, value in vars(record).items() if name not in ("exc_info", "message")}
        )


@pytest.fixture
def log() -> tuple[logging.Logger, io.StringIO]:
    """A logger of its own whose handler has the filter."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(Everything())
    handler.addFilter(RedactingFilter())
    logger = logging.Logger("test", logging.DEBUG)
    logger.addHandler(handler)
    return logger, out


Log = tuple[logging.Logger, io.StringIO]


def test_messages_and_arguments(log: Log) -> None:
    logger, out = log
    logger.info("plain %s", credential())
    logger.info("named %(key)s", {"key": credential()})
    logger.info("spread over %s and %s", credential()[:30], credential()[30:])
    logger.info("percent %s", percent(credential()))
    logger.info("basic %s", base64.b64encode(f"user:{credential()}".encode()).decode())
    text = out.getvalue()
    assert text.count("kb_sk_live_") >= 2
    assert SECRET not in text
    assert percent(SECRET) not in text
    for lead in range(3):
        assert base64.b64encode(b"x" * lead + SECRET.encode())[4:-4].decode() not in text


def test_tracebacks_extra_and_stacks(log: Log) -> None:
    logger, out = log
    try:
        raise ValueError(f"bad key {credential()}")
    except ValueError:
        logger.exception("it failed", extra={"request": {"headers": [("authorization", f"Bearer {credential()}")]}})
    logger.info("raw", extra={"body": credential().encode()}, stack_info=True)
    assert SECRET not in out.getvalue()
    assert "ValueError: bad key kb_sk_live_" in out.getvalue()


@pytest.mark.parametrize("what", ["nested", "ordered", "set", "object", "subclass"])
def test_extra_of_any_kind(log: Log, what: str) -> None:
    nested: object = credential()
    for _ in range(12):
        nested = [nested]

    class Text(str): ...

    values = {
        "nested": nested,
        "ordered": OrderedDict(key=credential()),
        "set": {credential()},
        "object": SimpleNamespace(key=credential()),
        "subclass": Text(credential()),
    }
    logger, out = log
    logger.info("it came", extra={"value": values[what], "count": 3})
    assert SECRET not in out.getvalue()
    assert '"count": "3"' in out.getvalue()
    assert "kb_sk_live_" in out.getvalue()


def test_arguments_that_do_not_fit_give_nothing_away(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    logger, _ = log
    complaint = io.StringIO()
    monkeypatch.setattr(sys, "stderr", complaint)
    logger.info("one %s", credential(), credential())
    assert "--- Logging error ---" in complaint.getvalue()
    assert f"'{credential()}'" not in complaint.getvalue()


def test_what_has_no_credential_stays_the_same(log: Log) -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "count %d", (3,), None)
    assert RedactingFilter().filter(record)
    assert (record.msg, record.args) == ("count %d", (3,))
    text = "surrogate \udcff and emoji 🗝"
    assert clean(text) is text
    assert SECRET not in clean(text + credential())


def test_what_it_needs_is_light_to_import() -> None:
    code = (
        "import sys, keybearer.formats.redaction;"
        "print([name for name in ('httpx', 'starlette', 'joserfc', 'hyperscan') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
