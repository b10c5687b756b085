"""What a guarded API answers to who may not pass: status, challenge, and when to come back.

One constant 401 whatever the reason, 403 with the permissions needed, or 429 with ``Retry-After``.
Spec: RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3, RFC 6585 §4, draft-ietf-httpapi-ratelimit-headers §3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..core.errors import Code, Rejected
from ..core.instant import SECOND
from ..core.permissions import Demand
from ..core.quota import LimitState
from .carriage import CrossSite, Missing, SecretInUrl
from .challenges import challenge


class Terms(NamedTuple):
    """What a door asks of who comes, as far as a refusal says it. ``metadata`` is the URL of the API's metadata."""

    demand: Demand | None = None
    acr_values: tuple[str, ...] = ()
    max_age: int | None = None
    metadata: str = ""


def refusal(rejection: Rejected, terms: Terms, *, dpop: bool = False) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Return the status and the headers; ``dpop`` is for requests that used that scheme themselves."""
    metadata = terms.metadata
    if rejection.code is Code.RATE_LIMITED or rejection.code is Code.CREDITS_EXHAUSTED:
        headers = []
        if rejection.retry_after is not None:
            headers.append((b"retry-after", str(-(-rejection.retry_after // SECOND)).encode()))
        if rejection.limits:
            headers.append((b"ratelimit", rate_limit_header(rejection.limits)))
        return 429, headers
    if isinstance(rejection, CrossSite):
        return 403, []
    if rejection.code is Code.INSUFFICIENT_PERMISSIONS:
        scope = " ".join(terms.demand.names if terms.demand is not None else rejection.missing)
        said = challenge("insufficient_scope", scope=scope, metadata=metadata, dpop=dpop)
        return 403, [(b"www-authenticate", said)]
    # RFC 6750 §3.1: a request without any credential gets no error code.
    error = "" if isinstance(rejection, Missing) else "invalid_token"
    # What a client must ask for here, so that it asks for no more (RFC 6750 §3).
    scope = " ".join(terms.demand.names) if metadata and terms.demand is not None else ""
    acr_values, max_age = "", ""
    if dpop and rejection.code in (Code.PROOF_REQUIRED, Code.PROOF_INVALID):
        error = "invalid_dpop_proof"
    elif rejection.code is Code.INSUFFICIENT_AUTHENTICATION:
        error, acr_values = "insufficient_user_authentication", " ".join(terms.acr_values)
        max_age = "" if terms.max_age is None else str(terms.max_age // SECOND)
    said = challenge(
        error,
        description=rejection.TEXT if isinstance(rejection, SecretInUrl) else "",
        scope=scope,
        metadata=metadata,
        dpop=dpop,
        acr_values=acr_values,
        max_age=max_age,
    )
    return 401, [(b"www-authenticate", said)]


def rate_limit_header(limits: Sequence[LimitState]) -> bytes:
    """Return the limits as an IETF ``RateLimit`` list."""
    return b", ".join(
        [
            b'"%s";r=%d;t=%d' % (name.encode(), max(remaining, 0), -(-reset_in // SECOND))
            for name, _, remaining, reset_in, _, _ in limits
        ]
    )
