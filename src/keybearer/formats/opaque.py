"""Opaque access tokens: ``kb_at_{id}_{secret}{checksum}``; the id begins with the token's expiry. Spec: DESIGN §2."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..core import credential
from ..core.tokens import TOKEN_ID

PREFIX: Final = "kb_at"


class UnverifiedToken(NamedTuple):
    """The id that an access token of the right shape and checksum claims."""

    token_id: str


class OpaqueFormat:
    """Parse opaque access tokens."""

    def parse(self, text: str) -> UnverifiedToken | None:
        """Return the unverified token, or ``None`` when the text is not of this format."""
        if not text.startswith("kb_at_"):
            return None
        parts = credential.split(text)
        return UnverifiedToken(TOKEN_ID + parts[1]) if parts is not None and parts[0] == PREFIX else None


FORMAT: Final = OpaqueFormat()
