"""Assertions: JWTs of others that prove a client or stand for a user, each good once. What all of them must say.

Spec: RFC 7523 §3, OIDC Core §9, RFC 8725 §3.11, SECURITY-BAR 14.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

from ..core.artefacts import Artefact, ArtefactKind
from ..core.errors import Conflict
from ..core.instant import MINUTE, SECOND, Instant
from ..ports import Store, UnitOfWork
from . import jws
from .jws import InvalidJws, UnverifiedJws

MAX_LIFETIME_IN: Final = 60 * MINUTE
"""How far in the future ``exp`` may lie: its ``jti`` is remembered that long."""

SKEW_IN: Final = 30 * SECOND
TYPES: Final = frozenset({"jwt", "client-authentication+jwt"})
"""What an assertion may call itself: a proof or a token that the same key signed is none."""

_MAX_JTI: Final = 255
_SECONDS: Final = 1_000_000
_FAR: Final = 1 << 40


def unverified(text: str) -> UnverifiedJws | None:
    """Return an assertion of the right shape, or ``None``."""
    try:
        found = jws.parse(text)
    except InvalidJws:
        return None
    return found if str(found.unverified_header.get("typ", "JWT")).lower() in TYPES else None


def verified(
    found: UnverifiedJws, keys: Iterable[Mapping[str, Any]], allowed: frozenset[str]
) -> Mapping[str, Any] | None:
    """Return the claims under the key with the right ``kid``, or, where the header names none, under any key."""
    kid = found.unverified_header.get("kid")
    for key in keys:
        if kid is not None and key.get("kid", kid) != kid:
            continue
        try:
            return jws.verify(found, key, allowed)
        except InvalidJws:
            continue
    return None


def claimed_client(text: str) -> str:
    """Return the client that an assertion says it is of, empty when it says none; nothing is verified."""
    found = unverified(text)
    try:
        subject = None if found is None else found.unverified_claims.get("sub")
    except InvalidJws:
        return ""
    return subject if isinstance(subject, str) else ""


def instant_of(value: object) -> Instant | None:
    """Return a NumericDate, or ``None`` when it is none (a boolean is none either). Spec: RFC 7519 §2."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_FAR < value < _FAR:
        return None
    return Instant(int(value * _SECONDS))


def is_timely(claims: Mapping[str, Any], now: Instant, *, max_lifetime_in: int = MAX_LIFETIME_IN) -> bool:
    """Tell whether ``exp`` is there, ahead and not too far, and ``nbf`` and ``iat``, if there, are past."""
    expires_at = instant_of(claims.get("exp"))
    if expires_at is None or not now < expires_at + SKEW_IN or expires_at > now + max_lifetime_in + SKEW_IN:
        return False
    for name in ("nbf", "iat"):
        if name in claims:
            at = instant_of(claims[name])
            if at is None or at > now + SKEW_IN:
                return False
    return True


def is_for(claims: Mapping[str, Any], audiences: frozenset[str]) -> bool:
    """Tell whether ``aud`` is one value, and one of these. Spec: RFC 7523 §3 (3), FAPI 2.0 §5.3.2.1."""
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    return isinstance(audience, str) and audience in audiences


async def is_first_use(store: Store, issuer: str, claims: Mapping[str, Any], now: Instant) -> bool:
    """Remember the ``jti`` of an assertion; false when there is none, or it came before, at any node."""
    jti, expires_at = claims.get("jti"), instant_of(claims.get("exp"))
    if not isinstance(jti, str) or not 1 <= len(jti) <= _MAX_JTI or expires_at is None:
        return False
    artefact = Artefact(
        kind=ArtefactKind.ASSERTION_ID,
        id=urlsafe_b64encode(sha256(f"{issuer} {jti}".encode()).digest()).rstrip(b"=").decode(),
        created_at=now,
        expires_at=Instant(expires_at + SKEW_IN),
    )

    async def work(uow: UnitOfWork) -> None:
        await uow.add_artefact(artefact)

    try:
        await store.transact(work)
    except Conflict:
        return False
    return True
