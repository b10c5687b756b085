"""Requests that were answered before, known by the SHA-256 of their bytes.

What a request asks is a function of its bytes and of the peer that sent them, so the same bytes need no second parsing.
Whether the answer is still yes is another matter: that hangs on what stands (``core/standing.py``), and is asked each
time. Only requests that a credential opened are known, and only from their second time on. See ADR 6.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from .reply import Again

MAX_KNOWN: Final = 8192
MAX_SEEN: Final = 8192
MAX_BYTES: Final = 4096


def fingerprint_of(peer: bytes, data: bytes) -> bytes:
    """Return what stands for these bytes from this peer, an address with a zero byte behind it."""
    return sha256(peer + data).digest()


class KnownRequests:
    """At most ``MAX_KNOWN`` requests by fingerprint; both memories are emptied when full."""

    def __init__(self) -> None:
        self._known: dict[bytes, Again] = {}
        self._seen: set[bytes] = set()
        self.recall = self._known.get

    def __len__(self) -> int:
        return len(self._known)

    def was_seen(self, fingerprint: bytes) -> bool:
        """Tell whether these bytes came before, and note that they came now."""
        if fingerprint in self._seen:
            return True
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen.add(fingerprint)
        return False

    def remember(self, fingerprint: bytes, again: Again) -> None:
        """Keep what the answer to these bytes hangs on."""
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[fingerprint] = again
