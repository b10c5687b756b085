"""From a presented access token to its record: an opaque one by its digest, a JWT by its signature.

What is returned was presented by somebody who has the token; whether it opens this door is for ``decide_token``.
"""

from __future__ import annotations

import hmac
from typing import Protocol

from .core.errors import Code, Rejected
from .core.tokens import AccessToken, TokenRecord
from .formats import UnverifiedJwt, UnverifiedToken
from .ports import Keyring, NotReady, Records


class JwtReader(Protocol):
    """Reads JWT access tokens of this authority (``services/jwt_tokens.py``)."""

    def read_now(self, unverified: UnverifiedJwt) -> AccessToken:
        """Return what a JWT says, once its signature is seen to be ours; raises ``Rejected``, ``NotReady``."""
        ...


class TokenFinder:
    """Finds access tokens. ``jwts`` is ``None`` where no JWT is accepted."""

    def __init__(self, records: Records, keyring: Keyring, jwts: JwtReader | None) -> None:
        self._records = records
        self._digest = keyring.digest
        self._jwts = jwts

    def find_now(self, unverified: UnverifiedToken | UnverifiedJwt, text: str) -> TokenRecord:
        """Return the record of a token that was truly presented. Raises ``Rejected``, ``NotReady``."""
        if isinstance(unverified, UnverifiedJwt):
            claimed = self._read(unverified)
            return _existing(self._records.find_token_now(claimed.id, claimed))
        return self._matched(self._records.find_token_now(unverified.token_id), text)

    async def find(self, unverified: UnverifiedToken | UnverifiedJwt, text: str) -> TokenRecord:
        """Like ``find_now``, reading where that is needed. Raises ``Rejected``, ``Unavailable``."""
        if isinstance(unverified, UnverifiedToken):
            return self._matched(await self._records.find_token(unverified.token_id), text)
        claimed = await self._read_slowly(unverified)
        return _existing(await self._records.find_token(claimed.id, claimed))

    def is_current(self, record: TokenRecord) -> bool:
        """Tell whether the cache still answers with this very record; raises ``NotReady``."""
        claimed = None if record.token.digest else record.token
        return self._records.find_token_now(record.id, claimed) is record

    def _read(self, unverified: UnverifiedJwt) -> AccessToken:
        if self._jwts is None:
            raise Rejected(Code.MALFORMED, "JWTs are not accepted here.")
        return self._jwts.read_now(unverified)

    async def _read_slowly(self, unverified: UnverifiedJwt) -> AccessToken:
        while True:
            try:
                return self._read(unverified)
            except NotReady:
                await self._records.refresh()

    def _matched(self, record: TokenRecord | None, text: str) -> TokenRecord:
        found = _existing(record)
        token = found.token
        if not token.digest or not hmac.compare_digest(self._digest(token.pepper_id, text), token.digest):
            raise Rejected(Code.NOT_FOUND)
        return found


def _existing(record: TokenRecord | None) -> TokenRecord:
    if record is None:
        raise Rejected(Code.NOT_FOUND)
    return record
