"""The command line against a server that is not there."""

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from keybearer.cli import session
from keybearer.cli.application import application
from keybearer.client import Keybearer, Retries
from tests.support.answers import Recorder

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; ``answers`` are what the server answers, ``run.recorder`` has the requests afterwards."""
    app = application()
    for name in ("KEYBEARER_URL", "KEYBEARER_KEY", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def go(*arguments: str, answers: Any = (), stdin: str = "", key: str | None = "the-admin-key") -> Result:
        recorder = Recorder(*answers)
        monkeypatch.setattr(
            session,
            "Keybearer",
            partial(Keybearer, transport=httpx.MockTransport(recorder), retries=Retries(base_in=0.0)),
        )
        environment = {} if key is None else {"KEYBEARER_KEY": key}
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=environment, prog_name="keybearer")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "the-admin-key" not in result.stdout + result.stderr
        result.recorder = recorder  # type: ignore[attr-defined]
        return result

    return go
