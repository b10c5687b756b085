"""Signatures of this authority's own tokens, checked with ``cryptography`` alone: what guards do per new JWT.

Only the algorithms that the authority signs with, each with the one kind of key that it is for. Spec: RFC 7518 §3.4,
RFC 8037 §3.1, RFC 8725 §3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from .jws import InvalidJws, decode_part

Check = Callable[[bytes, bytes], None]
"""Takes the signature and what was signed; raises ``InvalidJws``."""
_SHA256: Final = SHA256()
_ECDSA: Final = ec.ECDSA(_SHA256)
_MIN_RSA_BITS: Final = 2048


def check_for(jwk: Mapping[str, Any]) -> tuple[str, Check]:
    """Return the algorithm that a public JWK is for, and its check; raises ``InvalidJws`` for any other key."""
    algorithm, kind, curve = str(jwk.get("alg", "")), jwk.get("kty"), jwk.get("crv")
    if jwk.get("use", "sig") != "sig":
        raise InvalidJws("the key is not for signatures")
    try:
        if (algorithm, kind, curve) == ("ES256", "EC", "P-256"):
            numbers = ec.EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), ec.SECP256R1())
            return algorithm, _es256(numbers.public_key())
        if (algorithm, kind) == ("RS256", "RSA"):
            return algorithm, _rs256(rsa.RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n")).public_key())
        if (kind, curve) == ("OKP", "Ed25519") and algorithm in ("EdDSA", "Ed25519"):
            key = ed25519.Ed25519PublicKey.from_public_bytes(decode_part(str(jwk.get("x", ""))))
            return algorithm, _ed25519(key)
    except ValueError:
        raise InvalidJws("the key cannot be used") from None
    raise InvalidJws("the key is for no algorithm that is taken here")


def _number(jwk: Mapping[str, Any], name: str) -> int:
    return int.from_bytes(decode_part(str(jwk.get(name, ""))))


def _es256(key: ec.EllipticCurvePublicKey) -> Check:
    def check(signature: bytes, signed: bytes) -> None:
        if len(signature) != 64:
            raise InvalidJws("the signature is wrong")
        der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        try:
            key.verify(der, signed, _ECDSA)
        except InvalidSignature:
            raise InvalidJws("the signature is wrong") from None

    return check


def _rs256(key: rsa.RSAPublicKey) -> Check:
    if key.key_size < _MIN_RSA_BITS:
        raise InvalidJws("the RSA key is too short")
    means = padding.PKCS1v15()

    def check(signature: bytes, signed: bytes) -> None:
        try:
            key.verify(signature, signed, means, _SHA256)
        except InvalidSignature:
            raise InvalidJws("the signature is wrong") from None

    return check


def _ed25519(key: ed25519.Ed25519PublicKey) -> Check:
    def check(signature: bytes, signed: bytes) -> None:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            raise InvalidJws("the signature is wrong") from None

    return check
