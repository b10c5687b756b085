"""Signing keys: each goes ``next → active → retiring → gone``, and is published before it is used (DESIGN §2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .instant import Instant
from .records import Record

SIGNING_KEY_ID: Final = "sig_"


class Phase(StrEnum):
    """Where a signing key is in its life."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey(Record):
    """A key pair for one algorithm: the public JWK (its ``kid`` is the record's id), and the private one sealed.

    It signs from ``activates_at`` until ``retires_at`` and stays published until ``ends_at``; ``None`` is not set yet.
    """

    algorithm: str
    public_jwk: Mapping[str, object]
    sealed: bytes
    activates_at: Instant
    retires_at: Instant | None = None
    ends_at: Instant | None = None
    revoked_at: Instant | None = None

    def phase(self, now: Instant) -> Phase:
        """Return where the key is in its life at this instant."""
        if self.ends_at is not None and now >= self.ends_at:
            return Phase.GONE
        if self.retires_at is not None and now >= self.retires_at:
            return Phase.RETIRING
        return Phase.NEXT if now < self.activates_at else Phase.ACTIVE
