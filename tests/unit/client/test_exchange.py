"""One call: retries bounded and only where safe, problems as typed errors, redirects not followed."""

import asyncio
import time

import httpx
import pytest

from keybearer.client import (
    AsyncKeybearer,
    ClientError,
    Conflict,
    Forbidden,
    InvalidRequest,
    Keybearer,
    NotFound,
    RateLimited,
    Retries,
    ServerUnavailable,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)
from tests.support.answers import CREDITS, ISSUED, KEY, KEY_VIEW, URL, WHOAMI, YES, Recorder, problem

QUICK = Retries(attempts=3, base_in=0.0)


def client(recorder: Recorder, retries: Retries = QUICK) -> Keybearer:
    return Keybearer(URL, KEY, retries=retries, transport=httpx.MockTransport(recorder))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (405, InvalidRequest),
        (409, Conflict),
        (412, Conflict),
        (413, InvalidRequest),
        (415, InvalidRequest),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, ServerUnavailable),
        (503, ServerUnavailable),
    ],
)
def test_problems_become_typed_errors(status: int, kind: type[ClientError]) -> None:
    with pytest.raises(ClientError) as caught:
        client(Recorder(problem(status))).whoami()
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert str(caught.value) == "What is wrong."
    assert caught.value.request_id == "req_1"


def test_what_errors_carry() -> None:
    wrong = [{"field": "limits[0].limit", "message": "must be at least 1"}]
    with pytest.raises(InvalidRequest) as invalid:
        client(Recorder(problem(400, errors=wrong))).whoami()
    assert [(item.field, item.message) for item in invalid.value.fields] == [("limits[0].limit", "must be at least 1")]
    with pytest.raises(Forbidden) as forbidden:
        client(Recorder(problem(403, missing=["keybearer:keys.write"]))).whoami()
    assert forbidden.value.missing == ("keybearer:keys.write",)
    slow = problem(429)
    slow.headers["retry-after"] = "60"
    with pytest.raises(RateLimited) as limited:
        client(Recorder(slow)).whoami()
    assert limited.value.retry_after == 60


@pytest.mark.parametrize("answer", [b"<html>", b"\xff", b"[1]", b'{"id":1}', b""])
def test_an_answer_that_is_not_keybearers(answer: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        client(Recorder(httpx.Response(200, content=answer))).whoami()


def test_a_page_that_is_not_there_is_a_wrong_url_rather_than_a_missing_record() -> None:
    with pytest.raises(UnexpectedAnswer, match="URL"):
        client(Recorder(httpx.Response(404, html="<h1>nginx</h1>"))).keys.get("key_1")


def test_unknown_fields_of_an_answer_are_left_alone() -> None:
    assert client(Recorder({**WHOAMI, "new_in_2030": {"x": 1}})).whoami().id == "key_1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    recorder = Recorder(httpx.Response(status, headers={"location": "https://evil.example/"}))
    with pytest.raises(UnexpectedAnswer, match="redirects"):
        client(recorder).whoami()
    assert len(recorder.requests) == 1


FAILURES = [
    problem(502),
    problem(503),
    problem(504),
    problem(429),
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("slow"),
    httpx.RemoteProtocolError("cut"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_idempotent_calls_are_tried_three_times(failure: object) -> None:
    recorder = Recorder(failure, failure, WHOAMI)
    assert client(recorder).whoami().id == "key_1"
    assert len(recorder.requests) == 3
    recorder = Recorder(failure)
    with pytest.raises(ClientError):
        client(recorder).whoami()
    assert len(recorder.requests) == 3


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_other_calls_are_never_repeated(failure: object) -> None:
    recorder = Recorder(failure)
    with pytest.raises(ClientError):
        client(recorder).verify("some")
    with pytest.raises(ClientError):
        client(recorder).revoke_mine()
    assert len(recorder.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500])
def test_what_another_try_would_not_mend_is_not_tried_again(status: int) -> None:
    recorder = Recorder(problem(status))
    with pytest.raises(ClientError):
        client(recorder).whoami()
    assert len(recorder.requests) == 1


def test_a_repeated_creation_has_the_same_idempotency_key() -> None:
    recorder = Recorder(httpx.ReadTimeout("slow"), problem(503), ISSUED)
    client(recorder).keys.create(project_id="proj_1", name="web")
    first, *others = [request.headers["idempotency-key"] for request in recorder.requests]
    assert len(first) >= 32
    assert others == [first, first]


def test_two_creations_have_two_idempotency_keys_and_callers_may_choose() -> None:
    recorder = Recorder(ISSUED)
    keys = client(recorder).keys
    keys.create(project_id="proj_1", name="web")
    keys.create(project_id="proj_1", name="web")
    keys.create(project_id="proj_1", name="web", idempotency_key="mine")
    one, two, three = [request.headers["idempotency-key"] for request in recorder.requests]
    assert one != two
    assert three == "mine"


def test_changes_that_add_up_send_an_idempotency_key() -> None:
    for answer, change in (
        (CREDITS, lambda keys: keys.set_credits("key_1", add=5)),
        (ISSUED, lambda keys: keys.rotate("key_1")),
        (KEY_VIEW, lambda keys: keys.update("key_1", name="n")),
    ):
        recorder = Recorder(answer)
        change(client(recorder).keys)
        assert recorder.request.headers["idempotency-key"]


def test_verify_is_repeated_only_with_a_request_id() -> None:
    recorder = Recorder(problem(503), YES)
    assert client(recorder).verify("some", request_id="r1").valid
    assert len(recorder.requests) == 2


def test_waits_grow_are_jittered_and_bounded() -> None:
    retries = Retries(attempts=20, base_in=0.2, longest_in=5.0, jitter=lambda: 1.0)
    assert [retries.wait_before(attempt, None) for attempt in (2, 3, 4)] == [0.2, 0.4, 0.8]
    assert retries.wait_before(20, None) == 5.0
    assert retries.wait_before(21, None) is None
    assert Retries(jitter=lambda: 0.0).wait_before(2, None) == 0.0
    assert retries.wait_before(2, 3.0) == 3.0
    assert retries.wait_before(2, 5.1) is None, "rather fail than keep the caller waiting"


def test_a_retry_after_is_waited_for() -> None:
    slow = problem(429)
    slow.headers["retry-after"] = "1"
    recorder = Recorder(slow, WHOAMI)
    started = time.monotonic()
    client(recorder).whoami()
    assert time.monotonic() - started >= 1


def test_timeouts_are_always_set() -> None:
    recorder = Recorder(WHOAMI)
    client(recorder).whoami()
    assert all(value is not None for value in recorder.request.extensions["timeout"].values())


def test_unreachable_says_where_and_why() -> None:
    with pytest.raises(Unreachable, match=r"https://keys\.example\.com cannot be reached: Connection refused"):
        client(Recorder(httpx.ConnectError("[Errno 111] Connection refused"))).whoami()
    with pytest.raises(Unreachable, match="in time"):
        client(Recorder(httpx.ConnectTimeout(""))).whoami()


def test_the_async_driver_does_the_same() -> None:
    async def main() -> None:
        recorder = Recorder(httpx.ConnectError("refused"), problem(503), WHOAMI)
        async with AsyncKeybearer(URL, KEY, retries=QUICK, transport=httpx.MockTransport(recorder)) as asynchronous:
            assert (await asynchronous.whoami()).id == "key_1"
            assert len(recorder.requests) == 3
            recorder.answers = [problem(404)]
            with pytest.raises(NotFound):
                await asynchronous.keys.get("key_1")

    asyncio.run(main())
