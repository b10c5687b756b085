"""The keys that GitHub signs its secret-scanning messages with: fetched, cached, and asked for again rarely.

Spec: GitHub secret scanning partner program (``Github-Public-Key-Identifier``, ``Github-Public-Key-Signature``).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from ..core.errors import Unavailable, Unreachable
from ..core.instant import HOUR, MINUTE, Instant
from .authority import Authority

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

log = logging.getLogger(__name__)

MAX_KEYS: Final = 64
MAX_ANSWER: Final = 262_144
MAX_SIGNATURE: Final = 256
KEEP_IN: Final = 12 * HOUR
"""How long keys are believed without asking again: so long a key that GitHub withdrew may still be."""
AGAIN_IN: Final = MINUTE
"""How soon GitHub is asked again at the earliest, however many unknown keys are named."""
_IDENTIFIER: Final = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)


class _Key(msgspec.Struct):
    key_identifier: str
    key: str


class _Answer(msgspec.Struct):
    public_keys: Annotated[list[_Key], Meta(max_length=MAX_KEYS)]


_DECODER: Final = msgspec.json.Decoder(_Answer)


class GithubKeys:
    """Checks signatures; one object serves a process."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._keys: dict[str, EllipticCurvePublicKey] = {}
        self._fetched_at: Instant | None = None
        self._asked_at: Instant | None = None
        self._one = asyncio.Lock()

    async def is_signed(self, body: bytes, identifier: str, signature: str) -> bool:
        """Tell whether GitHub signed these very bytes; raises ``Unavailable`` when its keys cannot be had."""
        if _IDENTIFIER.fullmatch(identifier) is None or not 0 < len(signature) <= MAX_SIGNATURE:
            return False
        try:
            der = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return False
        key = await self._key(identifier)
        return key is not None and _verifies(key, der, body)

    async def _key(self, identifier: str) -> EllipticCurvePublicKey | None:
        async with self._one:
            now = self._authority.clock.now()
            is_old = self._fetched_at is None or not self._fetched_at <= now < self._fetched_at + KEEP_IN
            may_ask = self._asked_at is None or not self._asked_at <= now < self._asked_at + AGAIN_IN
            if (is_old or identifier not in self._keys) and may_ask:
                self._asked_at = now
                await self._fetch(now)
            elif is_old:
                raise Unavailable("The keys of GitHub could not be had.")
            return self._keys.get(identifier)

    async def _fetch(self, now: Instant) -> None:
        fetcher, url = self._authority.fetcher, self._authority.settings.github_keys_url
        try:
            if fetcher is None:
                raise Unreachable("This authority reaches nobody.")
            answer = await fetcher.get(url, limit=MAX_ANSWER)
            if answer.status != 200:
                raise Unreachable("The keys of GitHub were not answered.", detail=f"status {answer.status}")
            keys = _keys_in(answer.body)
        except Unreachable as error:
            log.warning("the keys of GitHub could not be had", extra={"error": error.detail or error.public})
            raise Unavailable("The keys of GitHub could not be had.", detail=error.detail) from None
        self._keys, self._fetched_at = keys, now


def _keys_in(body: bytes) -> dict[str, EllipticCurvePublicKey]:
    """Return the keys in an answer; those on other curves than P-256 are left out. Raises ``Unreachable``."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        answer = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Unreachable("The keys of GitHub cannot be read.") from None
    found: dict[str, EllipticCurvePublicKey] = {}
    for one in answer.public_keys:
        try:
            key = load_pem_public_key(one.key.encode())
        except (ValueError, UnsupportedAlgorithm):
            continue
        if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
            found[one.key_identifier] = key
    return found


def _verifies(key: EllipticCurvePublicKey, der: bytes, body: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        key.verify(der, body, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
