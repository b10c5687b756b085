"""Finding what this authority issued by the text of it: only the secret or the signature is checked, nothing else."""

from __future__ import annotations

import hmac

from ..core.errors import NotFound, Rejected
from ..core.tokens import TokenFamily, TokenRecord
from ..formats import jwt, opaque, refresh_token
from ..token_finder import TokenFinder
from .authority import Authority
from .jwt_tokens import JwtReader


async def find_access_token(authority: Authority, text: str) -> TokenRecord | None:
    """Return an access token whose secret, or signature, is right; ``None`` for any other text."""
    finder = TokenFinder(authority.records, authority.keyring, JwtReader(authority))
    try:
        unverified = opaque.FORMAT.parse(text) or jwt.FORMAT.parse(text)
        return None if unverified is None else await finder.find(unverified, text)
    except Rejected:
        return None


async def find_family(authority: Authority, text: str, tag_key: bytes) -> tuple[TokenFamily, bool] | None:
    """Return the family that this authority made a refresh token for, and whether it is the newest one.

    ``None`` for any text that is no refresh token of ours. Older ones are recognised by their tag (ADR 7).
    """
    unverified = refresh_token.parse(text)
    if unverified is None:
        return None
    try:
        family = await authority.store.get_family(unverified.family_id)
    except NotFound:
        return None
    newest = hmac.compare_digest(authority.keyring.digest(family.pepper_id, text), family.digest)
    if not newest and not refresh_token.is_genuine(unverified, tag_key):
        return None
    return family, newest
