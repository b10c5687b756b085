"""The device grant from the client's side: polling as the specification asks, and keeping tokens."""

from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from keybearer.cli import login
from keybearer.client.device_login import CLIENT, DeviceLogin, LoginRefused, Tokens
from keybearer.core.secret import Secret

STARTED = {
    "device_code": "kb_dc_x",
    "user_code": "WDJB-MJHT",
    "verification_uri": "http://127.0.0.1/device",
    "expires_in": 60,
    "interval": 5,
}
TOKENS = {"access_token": "kb_at_a", "expires_in": 600, "refresh_token": "kb_rt_r", "scope": "openid"}


class Server:
    """Answers in the order of a script, on a clock that only sleeping moves."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self.answers = iter(answers)
        self.forms: list[dict[str, list[str]]] = []
        self.slept: list[float] = []
        self.device = DeviceLogin(
            "http://127.0.0.1", transport=httpx.MockTransport(self.answer), sleep=self.slept.append, now=self.now
        )

    def now(self) -> float:
        return 1_000 + sum(self.slept)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.forms.append(parse_qs(request.content.decode()))
        status, said = next(self.answers)
        return httpx.Response(status, json=said)


PENDING = (400, {"error": "authorization_pending"})
SLOW = (400, {"error": "slow_down"})


@pytest.mark.spec("RFC 8628", "3.5", "MUST")
def test_slow_down_adds_five_seconds_for_good() -> None:
    server = Server((200, STARTED), PENDING, SLOW, PENDING, (200, TOKENS))
    tokens = server.device.wait(server.device.start("openid"))
    assert server.slept == [5, 5, 10, 10]
    assert tokens.access_token == Secret("kb_at_a")
    assert tokens.ends_at == 1_000 + 30 + 600
    assert server.forms[0] == {"client_id": [CLIENT], "scope": ["openid"]}
    assert server.forms[1]["device_code"] == ["kb_dc_x"]


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "invalid_grant"])
def test_a_no_ends_the_waiting(error: str) -> None:
    server = Server((200, STARTED), PENDING, (400, {"error": error, "error_description": "No."}))
    with pytest.raises(LoginRefused, match="No"):
        server.device.wait(server.device.start("openid"))


def test_nobody_answers_in_time() -> None:
    server = Server((200, STARTED), *[PENDING] * 20)
    with pytest.raises(LoginRefused, match="in time"):
        server.device.wait(server.device.start("openid"))
    assert sum(server.slept) <= 65


@pytest.fixture
def home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_tokens_are_kept_for_their_owner_alone(home: None) -> None:
    tokens = Tokens(Secret("kb_at_a"), 2_000, Secret("kb_rt_r"), "openid")
    login.keep("http://127.0.0.1/", tokens)
    login.keep("https://other.example", Tokens(Secret("kb_at_b"), 2_000))
    assert login.path().stat().st_mode & 0o777 == 0o600
    assert login.kept("http://127.0.0.1") == tokens
    login.keep("http://127.0.0.1", None)
    assert login.kept("http://127.0.0.1") is None
    assert login.kept("https://other.example") is not None


def test_a_file_that_others_can_read_or_that_is_broken_counts_as_none(home: None) -> None:
    login.keep("http://127.0.0.1", Tokens(Secret("kb_at_a"), 2_000))
    login.path().chmod(0o644)
    assert login.kept("http://127.0.0.1") is None
    login.path().chmod(0o600)
    login.path().write_text('{"http://127.0.0.1": {"access_token"')
    assert login.kept("http://127.0.0.1") is None
