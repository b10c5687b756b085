"""The grammar of Keybearer's own credentials: ``{prefix}_{id}_{secret}{checksum}``.

The checksum is CRC-32 of everything before it: it lets scanners and edges drop junk without I/O, and is not security.
The security is in the 32 random characters of the secret (190 bits).
Spec: DESIGN §2, ASVS 11.5.1.
"""

from __future__ import annotations

import re
from typing import Final
from zlib import crc32

from . import base62
from .instant import Instant
from .secret import Secret

ID_TIME_WIDTH: Final = 7
ID_LENGTH: Final = 16
SECRET_LENGTH: Final = 32
CHECKSUM_LENGTH: Final = 6
MAX_LENGTH: Final = 255

_GRAMMAR: Final = re.compile(
    r"(([a-z][a-z0-9]{0,15}(?:_[a-z]{2,8}){1,3})_([0-9A-Za-z]{12,24})_[0-9A-Za-z]{32})([0-9A-Za-z]{6})", re.ASCII
)


def new_id(now: Instant) -> str:
    """Return a public id of 16 characters: creation time in milliseconds, then 53 random bits.

    Ids made later sort later, which keeps indexes compact and makes a list by id a list by age.
    """
    return base62.encode(now // 1000, ID_TIME_WIDTH) + base62.random_text(ID_LENGTH - ID_TIME_WIDTH)


def new_expiring_id(expires_at: Instant) -> str:
    """Return a public id of 16 characters: the expiry in milliseconds (rounded down), then 53 random bits.

    For what is short-lived and many: what expires together lies together, so that the expired are one range of ids.
    """
    return new_id(expires_at)


def expiry_of(expiring_id: str) -> Instant:
    """Return the instant that an id of ``new_expiring_id`` begins with; raises ``ValueError`` for any other text.

    It is less than a millisecond before the expiry that the id was made with.
    """
    if len(expiring_id) != ID_LENGTH:
        raise ValueError("not an id")
    return Instant(base62.decode(expiring_id[:ID_TIME_WIDTH]) * 1000)


def first_id_at(instant: Instant) -> str:
    """Return what sorts before every id that begins with this instant, and after every id of an earlier millisecond."""
    return base62.encode(instant // 1000, ID_TIME_WIDTH)


def checksum(body: str) -> str:
    """Return the six characters that end a credential whose other characters are ``body``."""
    return base62.encode_crc32(crc32(body.encode()))


def mint(prefix: str, credential_id: str) -> Secret:
    """Return a new credential with this prefix and public id, and a fresh random secret."""
    body = f"{prefix}_{credential_id}_{base62.random_text(SECRET_LENGTH)}"
    return Secret(body + checksum(body))


def split(text: str) -> tuple[str, str] | None:
    """Return ``(prefix, id)`` of a well-formed credential with a right checksum, else ``None``. No I/O."""
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        return None
    body, prefix, credential_id, claimed = match.groups()
    return (prefix, credential_id) if base62.encode_crc32(crc32(body.encode())) == claimed else None


def looks_like_one(text: str) -> bool:
    """Tell whether the text has the shape of a Keybearer credential, whatever its checksum."""
    return _GRAMMAR.fullmatch(text) is not None


_ANYWHERE: Final = re.compile(
    r"(?<![0-9A-Za-z])([a-z][a-z0-9]{0,15}(?:_[a-z]{2,8}){1,3}_[0-9A-Za-z]{12,24}_)[0-9A-Za-z]{6,}", re.ASCII
)


def without_secrets(text: str, replacement: str = "[redacted]") -> str:
    """Return a text with every credential in it cut down to its public part, even one that is cut off."""
    return _ANYWHERE.sub(lambda found: found[1] + replacement, text)
