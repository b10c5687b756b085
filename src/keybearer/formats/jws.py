"""Signed JSON in compact form, read strictly: the signature by joserfc, everything around it by our own rules.

Refused before any key is looked at: what is too long, not three strict base64url parts, not a JSON object or one that
names a member twice, ``alg`` that the caller did not allow, any ``crit``, and keys that the sender brings along
(``jku``, ``x5u``, ``x5c``; ``jwk`` where it is not the point). A key verifies only the algorithms that its type is for.
Spec: RFC 7515 §5.2, RFC 8725 §3, ASVS 9.1.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from ..core import strict_json
from ..core.errors import KeybearerError

MAX_LENGTH: Final = 16_384
MAX_DEPTH: Final = 12

ASYMMETRIC: Final = frozenset({"ES256", "ES384", "RS256", "PS256", "EdDSA", "Ed25519"})
"""The algorithms that others may sign with towards this authority. Spec: RFC 8725 §3.1, FAPI 2.0 §5.4.1."""

HMACS: Final = frozenset({"HS256", "HS384", "HS512"})

_KEY_TYPES: Final[Mapping[str, tuple[str, str | None]]] = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
    "HS256": ("oct", None),
    "HS384": ("oct", None),
    "HS512": ("oct", None),
}
_PART: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_BROUGHT_ALONG: Final = ("jku", "x5u", "x5c", "x5t", "x5t#S256", "b64")
_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
_MIN_HMAC_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}


class InvalidJws(KeybearerError):
    """This is not a signed object that may be believed; ``detail`` says why, for the operator."""

    def __init__(self, detail: str) -> None:
        super().__init__("The signed token is not valid.", detail=detail)


class UnverifiedJws(NamedTuple):
    """A compact JWS of the right shape. Nothing in it may be believed before ``verify``."""

    text: str
    unverified_header: Mapping[str, Any]
    unverified_payload: bytes

    @property
    def unverified_claims(self) -> Mapping[str, Any]:
        """The payload as JSON, for choosing the key to verify with and nothing else; raises ``InvalidJws``."""
        return json_object(self.unverified_payload, "payload")


def parse(text: str, *, with_jwk: bool = False) -> UnverifiedJws:
    """Return the unverified parts; raises ``InvalidJws``. ``with_jwk`` is for proofs that bring a key (RFC 9449)."""
    if len(text) > MAX_LENGTH:
        raise InvalidJws("longer than it may be")
    parts = text.split(".")
    if len(parts) != 3:
        raise InvalidJws("not three parts")
    header_bytes, payload, _ = (decode_part(part) for part in parts)
    header = json_object(header_bytes, "header")
    if not isinstance(header.get("alg"), str):
        raise InvalidJws("no algorithm")
    if "crit" in header:
        raise InvalidJws("a critical extension that is not understood")
    if any(name in header for name in _BROUGHT_ALONG) or ("jwk" in header and not with_jwk):
        raise InvalidJws("it brings its own key")
    for name in ("kid", "typ", "cty"):
        if name in header and not (isinstance(header[name], str) and len(header[name]) <= 255):
            raise InvalidJws(f"{name} is no short text")
    return UnverifiedJws(text, header, payload)


def decode_part(part: str) -> bytes:
    """Return the bytes of a part, of which there is exactly one spelling; raises ``InvalidJws``. Spec: RFC 7515 §2."""
    if _PART.fullmatch(part) is None:
        raise InvalidJws("a part is empty or not base64url")
    try:
        decoded = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise InvalidJws("a part is not base64url") from None
    if encode_part(decoded) != part:
        raise InvalidJws("a part is not canonical base64url")
    return decoded


def encode_part(data: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def json_object(data: bytes, name: str) -> Mapping[str, Any]:
    """Return a JSON object none of whose members comes twice; raises ``InvalidJws``. Spec: RFC 7515 §4."""
    try:
        found = strict_json.loads(data.decode("utf-8"), MAX_DEPTH)
    except ValueError:
        raise InvalidJws(f"the {name} is not JSON of moderate depth") from None
    if not isinstance(found, dict):
        raise InvalidJws(f"the {name} is not a JSON object")
    return found


def verify(unverified: UnverifiedJws, key: Mapping[str, Any], allowed: frozenset[str]) -> Mapping[str, Any]:
    """Return the claims, once the signature is good under this JWK and an allowed algorithm; raises ``InvalidJws``."""
    algorithm = unverified.unverified_header["alg"]
    if algorithm not in allowed:
        raise InvalidJws("an algorithm that is not allowed here")
    _check_key(key, algorithm)
    from joserfc import jwk as joserfc_jwk  # loaded when it is first needed: start-up is short
    from joserfc.errors import JoseError

    try:
        imported = joserfc_jwk.import_key({name: value for name, value in key.items() if name in _KEY_MEMBERS})
    except (JoseError, ValueError, TypeError, KeyError):
        raise InvalidJws("the key cannot be used") from None
    return verify_with(unverified, imported, algorithm)


def verify_with(unverified: UnverifiedJws, key: Any, algorithm: str) -> Mapping[str, Any]:
    """Like ``verify``, with a joserfc key that was made for exactly this algorithm."""
    if unverified.unverified_header["alg"] != algorithm:
        raise InvalidJws("another algorithm than the key's")
    from joserfc import jws as joserfc_jws
    from joserfc.errors import JoseError

    try:
        joserfc_jws.deserialize_compact(unverified.text, key, registry=_registry(algorithm))
    except (JoseError, ValueError, TypeError):
        raise InvalidJws("the signature is wrong") from None
    return unverified.unverified_claims


@cache
def _registry(algorithm: str) -> Any:
    """Return what joserfc is to allow: this algorithm, header members that nobody knows, and headers with an RSA key.

    What a header may hold was looked at by ``parse``; unknown members must be ignored. Spec: RFC 7515 §4.
    """
    from joserfc.jws import JWSRegistry

    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = MAX_LENGTH
    return registry


_KEY_MEMBERS: Final = frozenset({"kty", "crv", "x", "y", "n", "e", "k"})
"""What a public or shared key is made of; a sender's private parts and hints are not looked at."""


def _check_key(key: Mapping[str, Any], algorithm: str) -> None:
    expected = _KEY_TYPES.get(algorithm)
    if expected is None or key.get("kty") != expected[0] or (expected[1] is not None and key.get("crv") != expected[1]):
        raise InvalidJws("the key is not for this algorithm")
    if "alg" in key and key["alg"] != algorithm:
        raise InvalidJws("the key is for another algorithm")
    operations = key.get("key_ops", ["verify"])
    if key.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise InvalidJws("the key is not for signatures")
    if expected[0] == "RSA":
        bits = len(decode_part(str(key.get("n", "")))) * 8
        if not _MIN_RSA_BITS <= bits <= _MAX_RSA_BITS:
            raise InvalidJws("the RSA key is too short or too long")
    if expected[0] == "oct" and len(decode_part(str(key.get("k", "")))) < _MIN_HMAC_BYTES[algorithm]:
        raise InvalidJws("the HMAC key is too short")
