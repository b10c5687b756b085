"""How one call is carried out, with no I/O: a generator that says what to send and when, and learns what came of it.

The sync and the async driver only do what it yields. It yields an ``httpx.Request`` and is sent the response (read to
its end) or thrown the ``httpx.RequestError``; or it yields a ``Wait``. It returns the decoded answer.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import httpx
import msgspec

from ..core.errors import Rejected
from ..core.secret import Secret
from .call import Call, Stream, encode_body
from .connection import Connection
from .errors import ClientError, UnexpectedAnswer, Unreachable, error_of, retry_after_of

T = TypeVar("T")
_WORTH_ANOTHER_TRY = (429, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Wait:
    """Sleep for so many seconds."""

    seconds: float


Exchange = Generator[httpx.Request | Wait, httpx.Response | None, T]


def exchange(call: Call[T], connection: Connection, http: httpx.Client | httpx.AsyncClient) -> Exchange[T]:
    """Carry out a call: send it, again where that is safe, and decode the answer or raise a ``ClientError``."""
    if not call.fail_closed:
        return (yield from _exchange(call, connection, http))
    try:
        return (yield from _exchange(call, connection, http))
    except (Unreachable, Rejected):
        raise
    except ClientError as error:
        raise Unreachable(
            f"No answer that may be relied on: {error}", status=error.status, problem=error.problem
        ) from error


def _exchange(call: Call[T], connection: Connection, http: httpx.Client | httpx.AsyncClient) -> Exchange[T]:
    request = _request(call, http, connection)
    repeatable = call.idempotent or call.idempotency_key is not None
    attempt = 1
    failure: ClientError
    cause: httpx.RequestError | None
    while True:
        pause: float | None = None
        try:
            response = cast(httpx.Response, (yield request))
        except httpx.RequestError as error:
            failure, cause = unreachable(connection, error), error
        else:
            if response.is_success:
                return decode(call, response.content, response.status_code)
            failure, cause = error_of(response), None
            if response.status_code not in _WORTH_ANOTHER_TRY:
                raise failure
            pause = retry_after_of(response)
        attempt += 1
        wait = connection.retries.wait_before(attempt, pause) if repeatable else None
        if wait is None:
            raise failure from cause
        yield Wait(wait)


def _request(call: Call[Any], http: httpx.Client | httpx.AsyncClient, connection: Connection) -> httpx.Request:
    extra: dict[str, str] = {}
    content = None
    if call.body is not None:
        content = encode_body(call.body)
        extra["Content-Type"] = "application/json"
    if call.idempotency_key is not None:
        extra["Idempotency-Key"] = call.idempotency_key
    return http.build_request(
        call.method, connection.url + call.path, params=call.query or None, content=content, headers=extra
    )


def unreachable(connection: Connection, error: httpx.RequestError) -> Unreachable:
    """Return the error for a request that got no answer."""
    if isinstance(error, httpx.TimeoutException):
        return Unreachable(f"{connection.url} did not answer in time.", detail=repr(error))
    reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)).strip().rstrip(".")
    return Unreachable(f"{connection.url} cannot be reached{': ' + reason if reason else ''}.", detail=repr(error))


def _hook(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError


def decode(call: Call[T], content: bytes | msgspec.Raw, status: int = 200) -> T:
    """Return what an answer means; raises ``UnexpectedAnswer``, or what the call's ``check`` raises."""
    try:
        value = cast(T, msgspec.json.decode(content, type=call.response, dec_hook=_hook))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Not chained: the error's text is safe, its context would hold the answer, which may hold a secret.
        message = "The answer is not what this client expects of Keybearer. Is the URL right, and the client recent?"
        raise UnexpectedAnswer(message, status=status, detail=str(error)) from None
    return value if call.check is None else call.check(value)


class Lines:
    """The JSON lines of a streamed answer, put together from chunks as they come."""

    MAX_LINE = 16 * 1024 * 1024

    def __init__(self, stream: Stream[Any]) -> None:
        self._stream = stream
        self._decoder = msgspec.json.Decoder(stream.response)
        self._rest = b""
        self._ended = False

    def feed(self, chunk: bytes) -> list[Any]:
        """Return the items that this chunk completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > self.MAX_LINE:
            raise UnexpectedAnswer("A line of the answer is too long.")
        try:
            items = [self._decoder.decode(line) for line in lines if line.strip()]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnexpectedAnswer("The answer is not JSON lines of Keybearer's.", detail=str(error)) from None
        self._ended = self._ended or any(self._stream.is_last(item) for item in items)
        return items

    def end(self) -> list[Any]:
        """Return the item of an unfinished last line; raises ``Unreachable`` when the answer was cut off."""
        items = self.feed(b"\n") if self._rest else []
        if not self._ended:
            raise Unreachable("The answer was cut off before its end; what was done is unknown.")
        return items
