"""Signed authorization requests: parameters that a client signed, taken from the object and from nowhere else.

Spec: RFC 9101 §4, §6 and §10.8; OIDC Core §6; FAPI 2.0 Message Signing §5.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ..core.clients import Client
from ..core.instant import HOUR, MINUTE, SECOND, Instant
from ..core.oauth_error import InvalidRequestObject, RequestNotSupported
from ..formats import jws
from ..formats.jws import ASYMMETRIC, InvalidJws

TYPES: Final = frozenset({"oauth-authz-req+jwt", "jwt", ""})
"""What ``typ`` may be: its own type, or what OpenID's older request objects say. Spec: RFC 9101 §10.8."""

MAX_LIFETIME: Final = HOUR
CLOCK_SKEW: Final = MINUTE
_NOT_PARAMETERS: Final = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti", "sub"})
_STRUCTURED: Final = frozenset({"claims", "authorization_details"})


def parameters_of(
    text: str, client: Client, keys: Sequence[Mapping[str, Any]], *, issuer: str, now: Instant
) -> list[tuple[str, str]]:
    """Return the parameters of a request object that this client signed.

    ``keys`` are the client's public keys. The parameters beside the object do not count (RFC 9101 §6.3).
    Raises ``InvalidRequestObject``, and ``RequestNotSupported`` for one that nobody signed.
    """
    claims = _verified(text, client, keys)
    if "request" in claims or "request_uri" in claims:
        raise InvalidRequestObject("A request object must not hold another one.")
    if claims.get("iss", client.client_id) != client.client_id or claims.get("client_id") != client.client_id:
        raise InvalidRequestObject("iss and client_id in the request object must be the client.")
    audience = claims.get("aud")
    if issuer not in (audience if isinstance(audience, list) else [audience]):
        raise InvalidRequestObject("aud in the request object must be the issuer.")
    _check_times(claims, now, is_strict=client.require_signed_request_object)
    return [
        (name, _text(name, one))
        for name, value in claims.items()
        if name not in _NOT_PARAMETERS
        for one in (value if name == "resource" and isinstance(value, list) else [value])
    ]


def _verified(text: str, client: Client, keys: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        unverified = jws.parse(text if not text.endswith(".") else text + "AA")
    except InvalidJws as error:
        raise InvalidRequestObject("The request object is not a signed JWT.", detail=error.detail) from None
    header = unverified.unverified_header
    if header["alg"] == "none":
        raise RequestNotSupported("Request objects must be signed.")
    if str(header.get("typ", "")).lower().removeprefix("application/") not in TYPES:
        raise InvalidRequestObject("typ of the request object must be oauth-authz-req+jwt.")
    wanted = client.request_object_signing_alg
    allowed = frozenset({wanted}) if wanted else ASYMMETRIC
    kid = header.get("kid")
    detail: str | None = "no key of the client has this kid"
    for key in keys:
        if kid is not None and key.get("kid", kid) != kid:
            continue
        try:
            return jws.verify(unverified, key, allowed)
        except InvalidJws as error:
            detail = error.detail
    raise InvalidRequestObject("The request object is not signed by the client.", detail=detail)


def _check_times(claims: Mapping[str, Any], now: Instant, *, is_strict: bool) -> None:
    """Raise unless the object is good now. ``is_strict`` wants ``exp`` and ``nbf`` (FAPI 2.0 Message Signing §5.3)."""
    ends, begins = claims.get("exp"), claims.get("nbf")
    for name, value in (("exp", ends), ("nbf", begins)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value > 1 << 40):
            raise InvalidRequestObject(f"{name} in the request object must be a number of seconds.")
    if is_strict and (ends is None or begins is None):
        raise InvalidRequestObject("The request object needs exp and nbf.")
    if ends is not None and now >= ends * SECOND + CLOCK_SKEW:
        raise InvalidRequestObject("The request object has expired.")
    if begins is not None and begins * SECOND > now + CLOCK_SKEW:
        raise InvalidRequestObject("The request object is not valid yet.")
    if ends is not None and ends * SECOND - (now if begins is None else begins * SECOND) > MAX_LIFETIME + CLOCK_SKEW:
        raise InvalidRequestObject("The request object must live for an hour at most.")


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if name in _STRUCTURED and isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    raise InvalidRequestObject(f"{name[:40]} in the request object has the wrong type.")
