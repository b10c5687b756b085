"""What the X-Auth-Token service answers: JSON that nobody caches, and refusals in the form of each protocol.

A refused credential gets one constant answer, whatever was wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.responses import Response

from ...core.errors import Code, Rejected
from ...core.oauth_error import OAuthError, TooManyRequests
from ...services.metadata import endpoint
from ...settings import Settings
from ..dispatch import SECURITY_HEADERS
from ..problem import problem_of

Refused = Callable[[Exception, str, Settings], Response]

V3: Final = "/v3"
_ENCODER: Final = msgspec.json.Encoder()
_FAILED: Final = "Authentication failed: check who is named, the secret or token, and the scope."


def answer(said: Any, request_id: str, status: int = 200, *, subject_token: str = "") -> Response:
    """Return an answer in JSON; ``subject_token`` is the token that it is about."""
    headers = {**_headers(request_id), "content-type": "application/json"}
    if subject_token:
        headers["x-subject-token"] = subject_token
    return Response(_ENCODER.encode(said), status, headers)


def nothing(request_id: str) -> Response:
    """Return an answer without a body."""
    return Response(b"", 204, _headers(request_id))


def refused_json(error: Exception, request_id: str, settings: Settings) -> Response:
    """Return the answer for an error as Keystone writes it."""
    status, message, more = _explained(error, request_id)
    if status == 401:
        more["www-authenticate"] = f'Keystone uri="{endpoint(settings, V3)}"'
    said = {"error": {"code": status, "title": HTTPStatus(status).phrase, "message": message}}
    headers = {**_headers(request_id), **more, "content-type": "application/json"}
    return Response(_ENCODER.encode(said), status, headers)


def refused_text(error: Exception, request_id: str, settings: Settings) -> Response:
    """Return the answer for an error as the v1 call has it: a line of text."""
    status, message, more = _explained(error, request_id)
    if status == 401:
        more["www-authenticate"] = 'Swift realm="Keybearer"'
    headers = {**_headers(request_id), **more, "content-type": "text/plain; charset=utf-8"}
    return Response(message.encode() + b"\n", status, headers)


def _headers(request_id: str) -> dict[str, str]:
    return {**SECURITY_HEADERS, "vary": "X-Auth-Token", "x-request-id": request_id}


def _explained(error: Exception, request_id: str) -> tuple[int, str, dict[str, str]]:
    if isinstance(error, TooManyRequests):
        error = Rejected(Code.RATE_LIMITED, error.description, retry_after=error.retry_after)
    elif isinstance(error, OAuthError):
        error = Rejected(Code.NOT_FOUND, detail=error.error)
    problem, headers = problem_of(error, request_id)
    more = {name.decode(): value.decode() for name, value in headers if name == b"retry-after"}
    return problem.status, _FAILED if problem.status == 401 else problem.detail, more
