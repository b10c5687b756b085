"""The credential formats. A new one is one file here and one name in ``FORMATS``.

A format answers three ways: ``None`` (not mine), an unverified credential (mine), or ``Rejected(MALFORMED)`` (mine, but
its checksum or shape is wrong: refused with no I/O).
"""

from __future__ import annotations

from typing import Final, Protocol

from ..core.errors import Code, Rejected
from . import api_key, foreign, jwt, opaque
from .api_key import UnverifiedKey
from .foreign import UnverifiedForeignKey
from .jwt import UnverifiedJwt
from .opaque import UnverifiedToken

Unverified = UnverifiedKey | UnverifiedToken | UnverifiedJwt | UnverifiedForeignKey


class Format(Protocol):
    """One way in which a credential is written."""

    def parse(self, text: str) -> Unverified | None:
        """Return the unverified credential, or ``None`` when the text is not of this format."""
        ...


FORMATS: Final[tuple[Format, ...]] = (api_key.FORMAT, opaque.FORMAT, jwt.FORMAT, foreign.FORMAT)


def parse(text: str) -> Unverified:
    """Return the unverified credential that the text is; raises ``Rejected(MALFORMED)``. No I/O."""
    for known in FORMATS:
        unverified = known.parse(text)
        if unverified is not None:
            return unverified
    raise Rejected(Code.MALFORMED, "This is not a credential of a known format.")


def is_token(text: str) -> bool:
    """Tell whether a text is written as an access token; that says nothing about whether it is good."""
    try:
        return isinstance(parse(text), UnverifiedToken | UnverifiedJwt)
    except Rejected:
        return False


__all__ = [
    "FORMATS",
    "Format",
    "Unverified",
    "UnverifiedForeignKey",
    "UnverifiedJwt",
    "UnverifiedKey",
    "UnverifiedToken",
    "is_token",
    "parse",
]
