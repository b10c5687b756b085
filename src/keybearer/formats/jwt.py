"""JWT access tokens: their ``typ`` is ``at+jwt``. Who signed one, and what it says, comes later. Spec: RFC 9068 §2."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..core.errors import Code, Rejected
from . import jws
from .jws import InvalidJws, UnverifiedJws

TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})


class UnverifiedJwt(NamedTuple):
    """A JWT that says it is an access token."""

    jws: UnverifiedJws


class JwtFormat:
    """Parse JWT access tokens; what has their shape and another ``typ`` is refused for good. Spec: RFC 8725 §3.11."""

    def parse(self, text: str) -> UnverifiedJwt | None:
        """Return the unverified token, or ``None`` when the text has not the shape of a JWT."""
        if not text.startswith("eyJ") or text.count(".") != 2:
            return None
        try:
            unverified = jws.parse(text)
        except InvalidJws as error:
            raise Rejected(Code.MALFORMED, "This is not a well-formed JWT.", detail=error.detail) from None
        if str(unverified.unverified_header.get("typ", "")).lower() not in TYPES:
            raise Rejected(Code.MALFORMED, "This JWT is not an access token: its typ is not at+jwt.")
        return UnverifiedJwt(unverified)


FORMAT: Final = JwtFormat()
