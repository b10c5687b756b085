"""Signing keys as they travel: the public half, and where each is in its life."""

from __future__ import annotations

from datetime import datetime

from ..core.signing_keys import Phase
from .base import Metadata, Request
from .records import RecordView


class SigningKeyView(RecordView, kw_only=True):
    """A signing key; ``public_jwk`` is what the JWK Set publishes."""

    algorithm: str
    phase: Phase
    public_jwk: Metadata
    activates_at: datetime
    retires_at: datetime | None
    ends_at: datetime | None
    revoked_at: datetime | None


class RotateSigningKey(Request):
    """Make a new key. It signs a day from now, or with ``at_once`` immediately, before caches have seen it."""

    algorithm: str = "ES256"
    at_once: bool = False
