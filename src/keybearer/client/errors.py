"""What can go wrong when talking to Keybearer, in one tree; a problem answer becomes one of these.

    ClientError
    ├── Unauthorized         401: the key is missing, wrong or no longer good
    ├── Forbidden            403: the key is good, but lacks the permissions in ``missing``
    ├── InvalidRequest       400, 413, 415, 422…: ``fields`` says what is wrong where
    ├── NotFound             404: there is no such record, or the key may not see it
    ├── Conflict             409, 412: the record exists already, or changed meanwhile
    ├── RateLimited          429: try again after ``retry_after`` seconds
    ├── ServerUnavailable    5xx: the server could not do it; whether it did anything is unknown
    ├── UnexpectedAnswer     an answer that is not Keybearer's: a redirect, a page, a type that does not fit
    └── Unreachable          no answer, or none that may be relied on

The key that was sent is in none of them.
"""

from __future__ import annotations

import httpx
import msgspec

from ..core.errors import KeybearerError
from ..wire.listing import Problem, ProblemField


class ClientError(KeybearerError):
    """A call failed. ``status`` is the HTTP status, ``None`` when there was no answer."""

    def __init__(
        self,
        public: str,
        *,
        status: int | None = None,
        problem: Problem | None = None,
        request_id: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(public, detail=detail)
        self.status = status
        self.problem = problem
        self.request_id = request_id


class Unauthorized(ClientError):
    """The key is missing, wrong, revoked or expired."""


class Forbidden(ClientError):
    """The key is good, but does not hold what this operation needs."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The permissions that would have been needed."""
        return tuple(self.problem.missing) if self.problem else ()


class InvalidRequest(ClientError):
    """The request is wrong."""

    @property
    def fields(self) -> tuple[ProblemField, ...]:
        """Each wrong field, and what it should be."""
        return tuple(self.problem.errors) if self.problem else ()


class NotFound(ClientError):
    """There is no such record, or none that this key may see."""


class Conflict(ClientError):
    """The change clashes with what is stored."""


class RateLimited(ClientError):
    """Too many requests; ``retry_after`` is in seconds, ``None`` when the server did not say."""

    retry_after: float | None = None


class ServerUnavailable(ClientError):
    """The server failed or is overloaded. Whether a change was made is unknown; ask, or repeat with the same key."""


class UnexpectedAnswer(ClientError):
    """The answer does not come from a Keybearer that this client understands."""


class Unreachable(ClientError):
    """No answer, or none that may be relied on. Never treat it as a yes."""


_BY_STATUS: dict[int, type[ClientError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: RateLimited,
}


def error_of(response: httpx.Response) -> ClientError:
    """Return the error that an answer other than 2xx stands for. The body must have been read."""
    status = response.status_code
    request_id = response.headers.get("x-request-id")
    if 300 <= status < 400:
        return UnexpectedAnswer(
            "The server redirects elsewhere; the key is never sent along. Use the final address as the URL.",
            status=status,
            request_id=request_id,
        )
    problem = _problem_of(response)
    text = (problem.detail or problem.title) if problem else f"The server answered {status}."
    kind = _BY_STATUS.get(status) or (ServerUnavailable if status >= 500 else InvalidRequest)
    if problem is None and kind in (NotFound, InvalidRequest):
        return UnexpectedAnswer(
            f"The server answered {status}, not as Keybearer does. Is the URL right?",
            status=status,
            request_id=request_id,
        )
    error = kind(text, status=status, problem=problem, request_id=request_id)
    if isinstance(error, RateLimited):
        error.retry_after = retry_after_of(response)
    return error


def retry_after_of(response: httpx.Response) -> float | None:
    """Return the seconds of ``Retry-After``; dates and nonsense count as absent. Spec: RFC 9110 §10.2.3."""
    text: str = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _problem_of(response: httpx.Response) -> Problem | None:
    if not response.headers.get("content-type", "").startswith(("application/problem+json", "application/json")):
        return None
    try:
        return msgspec.json.decode(response.content, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
