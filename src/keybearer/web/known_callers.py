"""Service keys that may verify, remembered: a guard asks thousands of times a second with the same one.

A caller is remembered with its standing (``core/standing.py``), so whatever happens to its key ends it at the next
request. Keys with restrictions or limits are verified each time. See ADR 5.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from ..core.principal import Verified
from ..core.records import Api
from ..core.requirement import Requirement
from ..core.standing import Standing
from ..verify import Verifier

MAX_CALLERS: Final = 1024


class KnownCallers:
    """Callers by the SHA-256 of their ``Authorization`` header, where that is their only credential."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._known: dict[bytes, Standing] = {}

    def recall(self, authorization: bytes) -> Standing | None:
        """Return what is remembered of a caller; only ``verify_again`` tells whether that still stands."""
        return self._known.get(sha256(authorization).digest())

    def remember(self, authorization: bytes, own: Api | None, verified: Verified) -> None:
        """Remember a caller that was verified just now, if only a change or its expiry can alter the outcome."""
        record = verified.principal.record
        if record.is_restricted:
            return
        standing = self._verifier.standing_of(verified, Requirement(api=own))
        if standing is None or standing.takes:
            return
        if len(self._known) >= MAX_CALLERS:
            self._known.clear()
        self._known[sha256(authorization).digest()] = standing
