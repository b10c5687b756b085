"""What the back channel of OAuth answers, whichever way the request came: JSON that nobody caches, and refusals."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..core.errors import Unavailable
from ..core.oauth_error import InvalidClient, InvalidToken, OAuthError, TooManyRequests, UseDpopNonce
from ..http.cors import ANY, CorsPolicy
from .problem import HttpProblem, reply_for
from .reply import Headers, Reply, WrittenHeaders

encode: Final = msgspec.json.Encoder().encode

PAGES: Final = CorsPolicy((ANY,), methods=("POST",), headers=("Authorization", "Content-Type", "DPoP"))
"""Public clients may be pages of any site. No cookie counts on the back channel, so a page gets what it has a code for.
Spec: OAuth 2.0 for Browser-Based Applications §6.3.2."""
_COMMON: Final = (
    *PAGES.of_answer(()),
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
JSON_HEADERS: Final = WrittenHeaders([(b"content-type", b"application/json"), *_COMMON])
_BASIC: Final = b'Basic realm="Keybearer", charset="UTF-8"'


def answer(said: Any, request_id: str, status: int = 200, more: Headers = ()) -> Reply:
    """Return an answer in JSON."""
    return Reply(status, JSON_HEADERS, encode(said), ((b"x-request-id", request_id.encode()), *more))


def typed(body: bytes, media_type: str, request_id: str) -> Reply:
    """Return an answer of another media type."""
    headers = WrittenHeaders([(b"content-type", media_type.encode()), *_COMMON])
    return Reply(200, headers, body, ((b"x-request-id", request_id.encode()),))


def refusal(error: Exception, request_id: str) -> Reply:
    """Return the answer for an error, with the code and status of its specification. Spec: RFC 6749 §5.2."""
    more: list[tuple[bytes, bytes]] = []
    if isinstance(error, OAuthError):
        code, status, description = error.error, error.status, error.description
        if isinstance(error, InvalidClient):
            more.append((b"www-authenticate", _BASIC))
        elif isinstance(error, InvalidToken):
            more.append((b"www-authenticate", b'Bearer error="invalid_token"'))
        elif isinstance(error, TooManyRequests):
            more.append((b"retry-after", b"%d" % max(1, -(-error.retry_after // 1_000_000))))
        elif isinstance(error, UseDpopNonce):
            more.append((b"dpop-nonce", error.nonce.encode()))
    elif isinstance(error, HttpProblem):
        code, status, description = "invalid_request", error.status, error.public
    else:
        reply_for(error, request_id)  # says it in the log
        if isinstance(error, Unavailable):
            code, status, description = "temporarily_unavailable", 503, "The authority cannot answer now; try again."
            more.append((b"retry-after", b"1"))
        else:
            code, status, description = (
                "server_error",
                500,
                "Something went wrong; the operator finds it by its id.",
            )
    return answer({"error": code, "error_description": description}, request_id, status, tuple(more))
