"""Where the key may go, and that it shows nowhere else. Spec: CWE-532, CWE-319, RFC 6750 §2.1."""

import traceback

import httpx
import pytest

from keybearer.client import AsyncKeybearer, ClientError, Keybearer, calls
from keybearer.core.secret import Secret
from tests.support.answers import ISSUED, KEY, URL, WHOAMI, Recorder, problem


def test_the_key_goes_into_the_header_only() -> None:
    recorder = Recorder(WHOAMI)
    with Keybearer(URL, KEY, transport=httpx.MockTransport(recorder)) as client:
        client.whoami()
    assert recorder.request.headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in str(recorder.request.url)


def test_without_a_key_there_is_no_header() -> None:
    recorder = Recorder(WHOAMI)
    Keybearer(URL, None, transport=httpx.MockTransport(recorder)).whoami()
    assert "authorization" not in recorder.request.headers


@pytest.mark.parametrize(
    "url",
    ["http://keys.example.com", "http://10.0.0.1:8080", "http://localhost.example.com", "http://127.0.0.1.example.com"],
)
def test_plain_http_to_another_machine_is_refused(url: str) -> None:
    for kind in (Keybearer, AsyncKeybearer):
        with pytest.raises(ValueError, match="plain http"):
            kind(url, KEY)
        kind(url, KEY, allow_http=True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost", "http://a.localhost:9"])
def test_plain_http_on_this_machine_is_fine(url: str) -> None:
    Keybearer(url, KEY)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "keys.example.com",
        "ftp://keys.example.com",
        "https://",
        "https://user:pass@keys.example.com",
        "https://keys.example.com/?a=b",
        "https://keys.example.com/#x",
        "https://keys.example.com:port",
        "https://[::1",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        Keybearer(url, KEY)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "a b", "SECRET\n", "SECRET\r\nX: y", "SECRÉT", "SECRET\0"])
def test_a_key_that_no_header_can_carry_is_refused_without_quoting_it(key: str) -> None:
    with pytest.raises(ValueError, match="the key is empty or has a character") as caught:
        Keybearer(URL, key)
    assert "SECR" not in str(caught.value)


def test_a_proxy_from_the_environment_never_sees_plain_http_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    client = Keybearer("http://127.0.0.1:8080", KEY)
    assert not client._driver.http._mounts


def test_the_key_is_in_no_repr_and_no_traceback() -> None:
    recorder = Recorder(problem(401))
    client = Keybearer(URL, Secret(KEY), transport=httpx.MockTransport(recorder))
    for shown in (client, client._driver, client._driver.connection, client._driver.connection.auth):
        assert KEY not in repr(shown)
        assert KEY not in str(shown)
    with pytest.raises(ClientError) as caught:
        client.whoami()
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert KEY not in text
    assert KEY not in repr(caught.value) + str(vars(caught.value))


def test_neither_is_an_issued_or_a_presented_credential() -> None:
    issued = Keybearer(URL, "k", transport=httpx.MockTransport(Recorder(ISSUED))).keys.rotate("key_1")
    assert issued.credential.reveal() == KEY
    assert KEY not in repr(issued)
    assert KEY not in repr(calls.verify(KEY))
    assert KEY not in repr(calls.verify(Secret(KEY)))


def test_an_answer_that_does_not_fit_is_not_quoted() -> None:
    broken = {**ISSUED, "key": 7}
    client = Keybearer(URL, "k", transport=httpx.MockTransport(Recorder(broken)))
    with pytest.raises(ClientError) as caught:
        client.keys.rotate("key_1")
    text = "".join(traceback.format_exception(caught.value))
    assert KEY not in text + repr(caught.value.detail)
