"""DPoP: a proof with each request that its sender has the key which a token is bound to. Spec: RFC 9449.

The ``jti`` of a proof counts once across all nodes. Nonces are not stored: each is a time under our own seal, so that
every node recognises those of all others.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

from ..core.artefacts import Artefact, ArtefactKind
from ..core.errors import Conflict
from ..core.instant import MINUTE, SECOND, Instant
from ..core.oauth_error import InvalidDpopProof, UseDpopNonce
from ..formats import jws
from ..formats.assertion import instant_of
from ..formats.jws import ASYMMETRIC, InvalidJws
from ..ports import Keyring, UnitOfWork
from .authority import Authority
from .own_tokens import find_access_token

TYP: Final = "dpop+jwt"
FRESH_IN: Final = MINUTE
"""How far ``iat`` may lie from now, before or after. Spec: RFC 9449 §11.1."""

NONCE_IN: Final = 5 * MINUTE
"""How long a nonce is taken."""

_STEP: Final = 60
_MAX_JTI: Final = 255
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_THUMBPRINT_MEMBERS: Final = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
_BAD: Final = (
    "The DPoP proof is not good: it must be a fresh dpop+jwt, signed with the key in its header, for this method and "
    "URL, with a jti that was not used before."
)


async def check_proof(
    authority: Authority,
    proof: str,
    *,
    method: str,
    url: str,
    access_token: str | None = None,
    needs_nonce: bool = False,
    bound_to: str | None = None,
) -> str:
    """Return the thumbprint of the key that a proof is made with.

    ``url`` is this endpoint's own, never taken from the request's ``Host``. With ``access_token`` the proof must be for
    it (``ath``). Raises ``InvalidDpopProof``, and ``UseDpopNonce`` for a nonce that is old, or missing where one is
    needed. With ``bound_to`` only a proof of that key is remembered: one of another is of somebody without a good
    token, and must not cost a write. Spec: RFC 9449 §4.3.
    """
    now = authority.clock.now()
    jwk, claims = _verified(proof)
    at, jti = instant_of(claims.get("iat")), claims.get("jti")
    if (
        claims.get("htm") != method
        or not isinstance(claims.get("htu"), str)
        or normalised(claims["htu"]) != normalised(url)
        or at is None
        or not now - FRESH_IN <= at <= now + FRESH_IN
        or not isinstance(jti, str)
        or not 1 <= len(jti) <= _MAX_JTI
    ):
        raise InvalidDpopProof(_BAD)
    if access_token is not None:
        ath = claims.get("ath")
        expected = urlsafe_b64encode(sha256(access_token.encode()).digest()).rstrip(b"=").decode()
        if not isinstance(ath, str) or not hmac.compare_digest(ath.encode(), expected.encode()):
            raise InvalidDpopProof("The DPoP proof is for another access token (ath).")
    nonce = claims.get("nonce")
    if (needs_nonce and nonce is None) or (nonce is not None and not is_nonce(authority.keyring, nonce, now)):
        raise UseDpopNonce(new_nonce(authority.keyring, now))
    thumbprint = thumbprint_of(jwk)
    if bound_to is None or hmac.compare_digest(thumbprint.encode(), bound_to.encode()):
        await _use_once(authority, thumbprint, jti, now)
    return thumbprint


async def check_proof_with(authority: Authority, access_token: str, proof: str, *, method: str, url: str) -> str:
    """Return the thumbprint of the key of a proof that came with an access token, as ``check_proof`` does.

    Whether it is the token's key, and the token is good at all, is for ``decide_token``. Spec: RFC 9449 §7.
    """
    record = await find_access_token(authority, access_token)
    bound_to = "" if record is None else record.token.key_thumbprint
    return await check_proof(authority, proof, method=method, url=url, access_token=access_token, bound_to=bound_to)


def _verified(proof: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        unverified = jws.parse(proof, with_jwk=True)
        header = unverified.unverified_header
        jwk = header.get("jwk")
        if str(header.get("typ", "")).lower() != TYP or not isinstance(jwk, dict) or not _PRIVATE.isdisjoint(jwk):
            raise InvalidDpopProof(_BAD)
        return jwk, jws.verify(unverified, jwk, ASYMMETRIC)
    except InvalidJws as error:
        raise InvalidDpopProof(_BAD, detail=error.detail) from None


async def _use_once(authority: Authority, thumbprint: str, jti: str, now: Instant) -> None:
    artefact = Artefact(
        kind=ArtefactKind.PROOF_ID,
        id=urlsafe_b64encode(sha256(f"{thumbprint} {jti}".encode()).digest()).rstrip(b"=").decode(),
        created_at=now,
        expires_at=Instant(now + 2 * FRESH_IN + SECOND),
    )

    async def work(uow: UnitOfWork) -> None:
        await uow.add_artefact(artefact)

    try:
        await authority.store.transact(work)
    except Conflict:
        raise InvalidDpopProof(_BAD) from None


def thumbprint_of(jwk: Mapping[str, Any]) -> str:
    """Return the SHA-256 thumbprint of a public key; raises ``InvalidDpopProof``. Spec: RFC 7638 §3."""
    members = _THUMBPRINT_MEMBERS.get(str(jwk.get("kty")))
    if members is None or not all(isinstance(jwk.get(name), str) for name in members):
        raise InvalidDpopProof(_BAD)
    canonical = json.dumps({name: jwk[name] for name in members}, separators=(",", ":"), sort_keys=True)
    return urlsafe_b64encode(sha256(canonical.encode()).digest()).rstrip(b"=").decode()


def normalised(url: str) -> str:
    """Return a URL as ``htu`` compares it: without query and fragment, in the spelling of RFC 3986 §6.2."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if not scheme or not host or parts.username is not None:
        return ""
    if ":" in host:
        host = f"[{host}]"
    default = {"https": 443, "http": 80}.get(scheme)
    return f"{scheme}://{host}{'' if port in (None, default) else f':{port}'}{parts.path or '/'}"


# Nonces.


def new_nonce(keyring: Keyring, now: Instant) -> str:
    """Return the nonce of this minute. Spec: RFC 9449 §8."""
    return _nonce_at(keyring, now // SECOND // _STEP)


def is_nonce(keyring: Keyring, nonce: object, now: Instant) -> bool:
    """Tell whether this is one of our nonces of the last minutes."""
    if not isinstance(nonce, str) or len(nonce) > 64:
        return False
    minute = now // SECOND // _STEP
    ours = [_nonce_at(keyring, minute - back) for back in range(-1, NONCE_IN // MINUTE)]
    return sum(hmac.compare_digest(nonce.encode(), one.encode()) for one in ours) > 0


def _nonce_at(keyring: Keyring, minute: int) -> str:
    mac = hmac.digest(keyring.derived("dpop-nonce"), str(minute).encode(), "sha256")
    return urlsafe_b64encode(mac[:18]).decode()
