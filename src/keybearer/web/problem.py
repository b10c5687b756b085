"""Errors become answers here and nowhere else. Spec: RFC 9457 (problem details), RFC 6750 §3 (challenges).

A refused credential gets one constant answer whatever the reason: the audit log knows why, the caller does not.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from ..core.errors import (
    Code,
    Conflict,
    InvalidInput,
    KeybearerError,
    NotFound,
    NotPermitted,
    Rejected,
    Unavailable,
)
from ..http.carriage import Missing, SecretInUrl
from ..wire.listing import Problem, ProblemField
from .reply import Reply

log = logging.getLogger(__name__)

TYPES: Final = "urn:keybearer:problem:"
_ENCODER: Final = msgspec.json.Encoder()
HEADERS: Final = (
    (b"content-type", b"application/problem+json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
TITLES: Final = {
    400: "The request is not valid",
    401: "A valid credential is needed",
    403: "Not permitted",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "The body is too large",
    415: "Unsupported media type",
    422: "The Idempotency-Key was used for another request",
    429: "Too many requests",
    500: "Something went wrong here",
    503: "Not available for now",
}


class HttpProblem(KeybearerError):
    """A problem of HTTP itself: a body too large, a wrong media type, a method that a resource does not have."""

    def __init__(self, status: int, public: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(public)
        self.status = status
        self.headers = headers


def problem_of(error: BaseException, request_id: str) -> tuple[Problem, tuple[tuple[bytes, bytes], ...]]:
    """Return what an error says to the world, and the headers that go with it."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    status, detail = 500, "The operator can find this request in the logs by its id."
    errors: list[ProblemField] = []
    missing: list[str] = []
    match error:
        case HttpProblem():
            status, detail, headers = error.status, error.public, error.headers
        case Rejected(code=Code.RATE_LIMITED):
            status, detail = 429, "The limit of this credential or address is used up for now."
            if error.retry_after is not None:
                headers = ((b"retry-after", b"%d" % -(-error.retry_after // 1_000_000)),)
        case Rejected(code=Code.INSUFFICIENT_PERMISSIONS):
            status, missing = 403, list(error.missing)
            detail = "The credential lacks a permission: " + ", ".join(missing)
            scope = " ".join(missing).encode()
            headers = ((b"www-authenticate", b'Bearer error="insufficient_scope", scope="' + scope + b'"'),)
        case SecretInUrl():
            status, detail = 401, error.TEXT
            described = f'Bearer error="invalid_token", error_description="{error.TEXT}"'
            headers = ((b"www-authenticate", described.encode()),)
        case Rejected():
            status, detail = 401, "Send one valid credential as 'Authorization: Bearer …' or in its key header."
            # RFC 6750 §3.1: a request without any credential gets no error code.
            challenge = b"Bearer" if isinstance(error, Missing) else b'Bearer error="invalid_token"'
            headers = ((b"www-authenticate", challenge),)
        case NotPermitted():
            status, detail, missing = 403, error.public, list(error.missing)
        case InvalidInput():
            status, detail = 400, error.public
            errors = [ProblemField(problem.field, problem.message) for problem in error.problems]
        case NotFound():
            status, detail = 404, error.public
        case Conflict():
            status, detail = 409, error.public
        case Unavailable():
            status, detail = 503, "The database or limiter does not answer. Nothing was changed that was not confirmed."
            headers = ((b"retry-after", b"1"),)
            log.warning("unavailable", extra={"request_id": request_id, "detail": error.detail or error.public})
        case _:
            log.error("unexpected error", exc_info=error, extra={"request_id": request_id})
    return (
        Problem(
            type=f"{TYPES}{_slug(TITLES.get(status, 'error'))}",
            title=TITLES.get(status, "Error"),
            status=status,
            detail=detail,
            instance=request_id,
            errors=errors,
            missing=missing,
        ),
        headers,
    )


def reply_for(error: BaseException, request_id: str) -> Reply:
    """Return the answer for an error."""
    problem, headers = problem_of(error, request_id)
    return Reply(problem.status, (*HEADERS, *headers, (b"x-request-id", request_id.encode())), _ENCODER.encode(problem))


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")
