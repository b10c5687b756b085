"""Refresh tokens: ``kb_rt_{family}_{secret}{checksum}``, whose secret proves that this authority made it.

All tokens of a family share its id, and only the digests of the newest two are kept. The last ten characters of the
secret are a tag over the family and the other characters: an older token that comes back is thereby told from a guess,
and a guess cannot end a family. 22 random characters remain, 131 bits. Spec: ADR 7, RFC 9700 §4.14.2, ASVS 11.5.1.
"""

from __future__ import annotations

import hmac
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from ..core import base62, credential
from ..core.secret import Secret
from ..core.tokens import FAMILY_ID

PREFIX: Final = "kb_rt"
TAG_LENGTH: Final = 10
RANDOM_LENGTH: Final = credential.SECRET_LENGTH - TAG_LENGTH


class UnverifiedRefreshToken(NamedTuple):
    """What a refresh token claims: its family, and the random characters and tag of its secret."""

    family_id: str
    random: str
    tag: str


def mint(family_id: str, key: bytes) -> Secret:
    """Return a new refresh token of a family; ``key`` is the authority's, for tags."""
    random = base62.random_text(RANDOM_LENGTH)
    body = f"{PREFIX}_{family_id.removeprefix(FAMILY_ID)}_{random}{tag_of(family_id, random, key)}"
    return Secret(body + credential.checksum(body))


def parse(text: str) -> UnverifiedRefreshToken | None:
    """Return the unverified token, or ``None`` when the text is not one. No I/O."""
    parts = credential.split(text)
    if parts is None or parts[0] != PREFIX:
        return None
    secret = text.rpartition("_")[2][: credential.SECRET_LENGTH]
    return UnverifiedRefreshToken(FAMILY_ID + parts[1], secret[:RANDOM_LENGTH], secret[RANDOM_LENGTH:])


def is_genuine(token: UnverifiedRefreshToken, key: bytes) -> bool:
    """Tell whether this authority made the token, however long ago."""
    return hmac.compare_digest(token.tag, tag_of(token.family_id, token.random, key))


def tag_of(family_id: str, random: str, key: bytes) -> str:
    """Return the tag of a secret's random characters: ten base62 characters of an HMAC."""
    mac = HMAC(key, SHA256())
    mac.update(f"{family_id} {random}".encode())
    return base62.encode(int.from_bytes(mac.finalize()[:16], "big") % 62**TAG_LENGTH, TAG_LENGTH)
