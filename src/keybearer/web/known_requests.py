"""Requests that were answered before, known by the SHA-256 of their bytes.

What a request asks is a function of its bytes and of the peer that sent them, so the same bytes need no second parsing.
Whether the answer is still yes is another matter: that hangs on what stands (``core/standing.py``), and is asked each
time. Only requests that a credential opened are known, and only from their second time on. See ADR 6.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

from .reply import Again

MAX_KNOWN: Final = 8192
MAX_SEEN: Final = 8192
MAX_BYTES: Final = 4096


class KnownRequest(NamedTuple):
    """A request, and what its answer hangs on."""

    peer: str | None
    again: Again


class KnownRequests:
    """At most ``MAX_KNOWN`` requests; both memories are emptied when full."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownRequest] = {}
        self._seen: set[bytes] = set()

    def recall(self, data: bytes, peer: str | None) -> tuple[bytes, Again | None]:
        """Return the fingerprint of these bytes, and what is known of them."""
        fingerprint = sha256(data).digest()
        known = self._known.get(fingerprint)
        if known is None or known.peer != peer:
            return fingerprint, None
        return fingerprint, known.again

    def was_seen(self, fingerprint: bytes) -> bool:
        """Tell whether these bytes came before, and note that they came now."""
        if fingerprint in self._seen:
            return True
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen.add(fingerprint)
        return False

    def remember(self, fingerprint: bytes, peer: str | None, again: Again) -> None:
        """Keep what the answer to these bytes hangs on."""
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[fingerprint] = KnownRequest(peer, again)
