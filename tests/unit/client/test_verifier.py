"""RemoteVerifier: nothing but a whole, consistent yes is a yes."""

import asyncio

import httpx
import pytest

from keybearer.client import AsyncKeybearer, AsyncRemoteVerifier, Keybearer, RemoteVerifier, Retries, Unreachable
from keybearer.core.errors import Code, Rejected
from keybearer.wire.verify import VerifyRequest
from tests.support.answers import KEY, URL, YES, Recorder, problem

QUICK = Retries(base_in=0.0)


def verifier(recorder: Recorder) -> RemoteVerifier:
    return RemoteVerifier(Keybearer(URL, KEY, retries=QUICK, transport=httpx.MockTransport(recorder)))


def test_a_yes_is_returned_and_the_requirement_sent() -> None:
    recorder = Recorder(YES)
    answer = verifier(recorder).verify("presented", VerifyRequest(credential="-", api="urn:x", permissions=["a:read"]))
    assert answer.principal is not None
    assert recorder.body == {"credential": "presented", "api": "urn:x", "permissions": ["a:read"]}


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.VALID])
def test_a_no_is_raised(code: Code) -> None:
    answer = {"valid": False, "code": code.value, "message": "No.", "missing": ["a"], "retry_after": 2}
    with pytest.raises(Rejected) as caught:
        verifier(Recorder(answer)).verify("presented")
    assert caught.value.code is code
    assert caught.value.missing == ("a",)
    assert caught.value.retry_after == 2_000_000


FAILURES = [
    *[problem(status) for status in (400, 401, 403, 404, 409, 429, 500, 503)],
    httpx.Response(302, headers={"location": "https://evil.example"}),
    httpx.Response(200, html="<h1>Welcome to nginx!</h1>"),
    httpx.Response(204),
    {},
    {"valid": "true", "code": "VALID"},
    {**YES, "code": "NEW_CODE"},
    {**YES, "code": "REVOKED"},
    {**YES, "valid": False},
    {"valid": True, "code": "VALID"},
    {**YES, "principal": None},
    {**YES, "credential": None},
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("slow"),
    httpx.RemoteProtocolError("cut"),
    httpx.DecodingError("not gzip"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda value: repr(value)[:60])
def test_everything_else_is_unreachable(failure: object) -> None:
    with pytest.raises(Unreachable):
        verifier(Recorder(failure)).verify("presented")

    async def awaited() -> None:
        transport = httpx.MockTransport(Recorder(failure))
        async with AsyncKeybearer(URL, KEY, retries=QUICK, transport=transport) as client:
            await AsyncRemoteVerifier(client).verify("presented")

    with pytest.raises(Unreachable):
        asyncio.run(awaited())
