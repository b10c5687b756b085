"""Signing keys at work: what this authority signs with, what it publishes, and what it recognises as its own.

The keys come from the catalogue that the event log keeps fresh, so that a key revoked on one node is refused on all
within the revocation promise. Private keys are sealed at rest and opened once a process.
Spec: DESIGN §2, RFC 7517, RFC 8725 §3.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwk as joserfc_jwk
from joserfc import jws as joserfc_jws

from ..core.credential import new_id
from ..core.errors import InvalidInput
from ..core.instant import DAY, HOUR, SECOND, Instant
from ..core.lifecycle import touch
from ..core.records import State
from ..core.signing_keys import SIGNING_KEY_ID, Phase, SigningKey
from ..formats import jws
from ..formats.jws import InvalidJws, UnverifiedJws
from ..ports import NotReady, UnitOfWork
from .authority import SYSTEM, Caller, Deed
from .sealing import open_sealed, seal

if TYPE_CHECKING:
    from .authority import Authority

PURPOSE: Final = "signing-key"
ALGORITHMS: Final = ("ES256", "RS256", "EdDSA")
"""What this authority can sign with, the default first."""

LIFETIME_IN: Final = 30 * DAY
"""How long a key signs before the next one takes over."""

PUBLISH_AHEAD_IN: Final = DAY
"""How long a key is published before it signs: caches of a JWKS are rarely older."""

KEEP_PUBLISHED_IN: Final = DAY + HOUR
"""How long a key stays published after it signed for the last time: longer than any token lives."""

_RSA_BITS: Final = 2048
_ES256: Final = ECDSA(SHA256())
_SIGNER: Final = "signer"
_NOBODY: Final = (None, 0, "", None)


class SigningKeys:
    """The signing keys of one authority. Cheap to make; what costs is kept in ``authority.opened_keys``."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    async def all(self) -> tuple[SigningKey, ...]:
        """Return the keys that are published or will sign, the newest last; revoked and gone ones are left out."""
        records = self._authority.records
        while True:
            try:
                return self._living(records.signing_keys())
            except NotReady:
                await records.refresh()

    def all_now(self) -> tuple[SigningKey, ...]:
        """Like ``all``, at once; raises ``NotReady`` while the catalogue is not fresh."""
        return self._living(self._authority.records.signing_keys())

    def _living(self, keys: tuple[SigningKey, ...]) -> tuple[SigningKey, ...]:
        now = self._authority.clock.now()
        return tuple(key for key in keys if key.state is State.ENABLED and key.phase(now) is not Phase.GONE)

    # Signing.

    async def sign(self, claims: Mapping[str, Any], *, typ: str, algorithm: str = "ES256") -> str:
        """Return a compact JWS of these claims, signed with the active key of an algorithm; makes the first one.

        Raises ``InvalidInput`` for an algorithm that this authority does not sign with.
        """
        key = await self.active(algorithm)
        payload = msgspec.json.encode(claims)
        private = self._private(key)
        if algorithm == "ES256":
            return _sign_es256(_header(algorithm, key.id, typ), payload, private.private_key)
        header = {"alg": algorithm, "kid": key.id, "typ": typ}
        return joserfc_jws.serialize_compact(header, payload, private, algorithms=[algorithm])

    def sign_now(self, claims: Mapping[str, Any], *, typ: str) -> str:
        """Like ``sign`` with ES256, at once; raises ``NotReady`` when the catalogue is not fresh or there is no key."""
        keys = self._authority.records.signing_keys()
        now = self._authority.clock.now()
        opened = self._authority.opened_keys
        # Which key is the active one changes with the catalogue, and with the time: looked up once a second.
        known, second, key_id, private = opened.get(_SIGNER, _NOBODY)
        if known is not keys or second != now // SECOND:
            active = self._active_among(self._living(keys), "ES256", now)
            if active is None:
                raise NotReady
            key_id, private = active.id, self._private(active).private_key
            opened[_SIGNER] = (keys, now // SECOND, key_id, private)
        return _sign_es256(_header("ES256", key_id, typ), msgspec.json.encode(claims), private)

    def _active_among(self, keys: Iterable[SigningKey], algorithm: str, now: Instant) -> SigningKey | None:
        active = [key for key in keys if key.algorithm == algorithm and key.phase(now) is Phase.ACTIVE]
        return max(active, key=lambda key: (key.activates_at, key.id)) if active else None

    async def active(self, algorithm: str) -> SigningKey:
        """Return the key that signs now; makes one when the algorithm has none yet."""
        if algorithm not in ALGORITHMS:
            raise InvalidInput.of("algorithm", f"must be one of {', '.join(ALGORITHMS)}")
        now = self._authority.clock.now()
        return self._active_among(await self.all(), algorithm, now) or await self.create(SYSTEM, algorithm, now)

    async def create(self, caller: Caller, algorithm: str, activates_at: Instant) -> SigningKey:
        """Make, publish and return a key that signs from ``activates_at`` on; the one before retires then."""
        authority = self._authority
        now = authority.clock.now()
        key_id = SIGNING_KEY_ID + new_id(now)
        private = await asyncio.to_thread(_generate, algorithm)
        public = {**private.as_dict(private=False), "kid": key_id, "alg": algorithm, "use": "sig"}
        key = SigningKey(
            id=key_id,
            created_at=now,
            updated_at=now,
            algorithm=algorithm,
            public_jwk=public,
            sealed=seal(
                authority.keyring, PURPOSE, msgspec.json.encode(private.as_dict(private=True)), key_id.encode()
            ),
            activates_at=activates_at,
        )
        before = [one for one in await self.all() if one.algorithm == algorithm and one.retires_at is None]

        async def work(uow: UnitOfWork) -> SigningKey:
            await uow.insert(key)
            deed = Deed(uow, caller, now)
            deed.note("signing_key.create", key.id, details={"algorithm": algorithm})
            for one in before:
                old = await uow.get(SigningKey, one.id)
                if old.retires_at is None:
                    ends_at = Instant(activates_at + KEEP_PUBLISHED_IN)
                    await uow.update(touch(old, now, retires_at=activates_at, ends_at=ends_at))
                    deed.note("signing_key.retire", old.id)
            return key

        return await authority.change(caller, work)

    async def advance(self) -> None:
        """Publish the next key of every algorithm whose active one comes to its end. Safe on several nodes at once."""
        now = self._authority.clock.now()
        keys = await self.all()
        for algorithm in {key.algorithm for key in keys}:
            newest = max((key for key in keys if key.algorithm == algorithm), key=lambda key: key.activates_at)
            ends = newest.activates_at + LIFETIME_IN
            if newest.retires_at is None and now >= ends - PUBLISH_AHEAD_IN:
                await self.create(SYSTEM, algorithm, Instant(max(ends, now + PUBLISH_AHEAD_IN)))

    def _private(self, key: SigningKey) -> Any:
        opened = self._authority.opened_keys
        private = opened.get(key.id)
        if private is None:
            plain = open_sealed(self._authority.keyring, PURPOSE, key.sealed, key.id.encode())
            private = opened[key.id] = _import(msgspec.json.decode(plain))
        return private

    # Recognising.

    async def jwks(self) -> dict[str, list[Mapping[str, object]]]:
        """Return the published keys as a JWK Set; makes the first keys. Spec: RFC 7517 §5."""
        for algorithm in ("ES256", "RS256"):
            await self.active(algorithm)
        return {"keys": [key.public_jwk for key in await self.all()]}

    def verify_now(self, unverified: UnverifiedJws) -> Mapping[str, Any]:
        """Return the claims of a JWS that this authority signed; raises ``InvalidJws``, or ``NotReady``."""
        kid = unverified.unverified_header.get("kid")
        key = next((key for key in self.all_now() if key.id == kid), None)
        if key is None:
            raise InvalidJws("no key of this authority signed it")
        opened = self._authority.opened_keys
        public = opened.get(f"{key.id}.public")
        if public is None:
            public = opened[f"{key.id}.public"] = _import(key.public_jwk)
        return jws.verify_with(unverified, public, key.algorithm)

    async def verify(self, text: str, typ: str) -> Mapping[str, Any]:
        """Return the claims of a JWS of one type that this authority signed, whatever its expiry.

        Raises ``InvalidJws``. Spec: RFC 8725 §3.11.
        """
        unverified = jws.parse(text)
        if str(unverified.unverified_header.get("typ", "JWT")).lower() != typ.lower():
            raise InvalidJws("it is of another type")
        await self.all()
        while True:
            try:
                return self.verify_now(unverified)
            except NotReady:
                await self.all()


@lru_cache(64)
def _header(algorithm: str, key_id: str, typ: str) -> bytes:
    """Return a protected header as it stands in the JWS."""
    return urlsafe_b64encode(msgspec.json.encode({"alg": algorithm, "kid": key_id, "typ": typ})).rstrip(b"=")


def _sign_es256(header: bytes, payload: bytes, private: EllipticCurvePrivateKey) -> str:
    """Return what ``serialize_compact`` would, in a third of its time: most tokens are signed like this.

    Spec: RFC 7515 §5.1, RFC 7518 §3.4.
    """
    signed = header + b"." + urlsafe_b64encode(payload).rstrip(b"=")
    r, s = decode_dss_signature(private.sign(signed, _ES256))
    signature = urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=")
    return (signed + b"." + signature).decode("ascii")


def _import(jwk: Mapping[str, Any]) -> Any:
    return joserfc_jwk.import_key(dict(jwk))


def _generate(algorithm: str) -> Any:
    if algorithm == "RS256":
        return joserfc_jwk.RSAKey.generate_key(_RSA_BITS)
    if algorithm == "EdDSA":
        return joserfc_jwk.OKPKey.generate_key("Ed25519")
    return joserfc_jwk.ECKey.generate_key("P-256")
