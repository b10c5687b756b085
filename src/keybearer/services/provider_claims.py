"""ID tokens of upstream providers: what must be true of one before it says who somebody is.

Spec: OIDC Core §3.1.3.7, §3.1.3.8 (at_hash), RFC 8725 §3, RFC 8414.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256, sha384, sha512
from typing import Any, Final, NamedTuple

from ..core.email_address import normalise
from ..core.instant import MINUTE, Instant
from ..formats import jws
from ..formats.assertion import SKEW_IN, instant_of, verified
from ..formats.jws import ASYMMETRIC, InvalidJws
from .providers import Provider, Providers

MAX_AGE_IN: Final = 10 * MINUTE
"""How long ago an ID token may have been signed: it comes straight from the token endpoint."""
MAX_SUBJECT: Final = 255
MAX_NAME: Final = 200
_HASHES: Final = {"384": sha384, "512": sha512, "DSA": sha512, "519": sha512}


class Person(NamedTuple):
    """Whom a provider vouches for. ``email`` is empty unless the provider says that it verified it.

    ``authenticated_at`` is when they proved who they are there, ``None`` when the provider does not say.
    """

    issuer: str
    subject: str
    email: str
    name: str
    authenticated_at: Instant | None


async def read_id_token(
    providers: Providers,
    provider: Provider,
    text: str,
    *,
    client_id: str,
    nonce: str,
    access_token: str,
    not_before: Instant | None,
    now: Instant,
) -> Mapping[str, Any]:
    """Return the claims of an ID token that is for this client and this sign-in; raises ``InvalidJws``.

    ``not_before`` is when the person was to be looked at anew.
    """
    unverified = jws.parse(text)
    if str(unverified.unverified_header.get("typ", "JWT")).lower() != "jwt":
        raise InvalidJws("it is of another type")
    algorithm = unverified.unverified_header["alg"]
    if algorithm not in ASYMMETRIC:
        raise InvalidJws("an algorithm that is not allowed here")
    claims = verified(unverified, await providers.keys(provider), ASYMMETRIC)
    if claims is None:
        claims = verified(unverified, await providers.keys(provider, afresh=True), ASYMMETRIC)
    if claims is None:
        raise InvalidJws("no key of the provider signed it")
    if claims.get("iss") != provider.issuer:
        raise InvalidJws("it is another issuer's")
    # OIDC Core §3.1.3.7 (3-5): nobody else is trusted as a further audience.
    if claims.get("aud") not in (client_id, [client_id]) or claims.get("azp", client_id) != client_id:
        raise InvalidJws("it is for somebody else")
    _check_times(claims, now, not_before)
    sent = claims.get("nonce")
    if not isinstance(sent, str) or not hmac.compare_digest(sent.encode(), nonce.encode()):
        raise InvalidJws("it belongs to another sign-in")
    if "at_hash" in claims and claims["at_hash"] != _half_hash(access_token, algorithm):
        raise InvalidJws("the access token beside it is another")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise InvalidJws("it names nobody")
    return claims


def person_of(issuer: str, claims: Mapping[str, Any], now: Instant) -> Person:
    """Return whom these claims are about. An address counts only where ``email_verified`` is the truth value."""
    seen_at = instant_of(claims.get("auth_time"))
    address = claims.get("email")
    is_verified = claims.get("email_verified") is True and isinstance(address, str)
    name = claims.get("name")
    shown = " ".join(name.split())[:MAX_NAME] if isinstance(name, str) else ""
    return Person(
        issuer=issuer,
        subject=str(claims["sub"]),
        email=(normalise(str(address)) or "") if is_verified else "",
        name=shown if shown.isprintable() else "",
        authenticated_at=None if seen_at is None else Instant(max(0, min(seen_at, now))),
    )


def _check_times(claims: Mapping[str, Any], now: Instant, not_before: Instant | None) -> None:
    expires_at, issued_at = instant_of(claims.get("exp")), instant_of(claims.get("iat"))
    if expires_at is None or now >= expires_at + SKEW_IN:
        raise InvalidJws("it is over")
    if issued_at is None or not now - MAX_AGE_IN <= issued_at <= now + SKEW_IN:
        raise InvalidJws("it was not signed just now")
    if "nbf" in claims:
        starts_at = instant_of(claims["nbf"])
        if starts_at is None or starts_at > now + SKEW_IN:
            raise InvalidJws("its time has not come")
    if "auth_time" in claims:
        seen_at = instant_of(claims["auth_time"])
        if seen_at is None or (not_before is not None and seen_at < not_before - SKEW_IN):
            raise InvalidJws("the person was not looked at anew")


def _half_hash(text: str, algorithm: str) -> str:
    digest = _HASHES.get(algorithm[-3:], sha256)(text.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
