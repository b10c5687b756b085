"""Requests that were answered before, known by a keyed SHA-256 of their bytes.

What a request asks is a function of its bytes and of the peer that sent them, so the same bytes need no second parsing.
Whether the answer is still yes is another matter: that hangs on what stands (``core/standing.py``), and is asked each
time. Only requests that a credential opened are known, and only from their second time on. The URL that a proxy was
asked for is left out where the key is good for every URL. See ADR 6.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import Final

from .reply import Again, Repeat

MAX_KNOWN: Final = 8192
MAX_SEEN: Final = 8192
MAX_BYTES: Final = 4096
FORWARD_AUTH: Final = b"GET /forward-auth"
BEGINNINGS: Final = (b"POST /v1/verify ", FORWARD_AUTH, b"POST /oauth/introspect ", b"POST /oauth/token ")
"""How requests begin that may become known; no fingerprint is made of any other, such as a login."""
_URI_FIELDS: Final = tuple(
    b"\r\n%s: " % name
    for name in (b"X-Forwarded-Uri", b"X-Original-URI", b"X-Original-Uri", b"x-forwarded-uri", b"x-original-uri")
)
_PLAIN: Final = re.compile(rb"[\x21-\x7e]*")


def fingerprint_of(sender: bytes, data: bytes) -> bytes:
    """Return what stands for these bytes from this sender (see ``KnownRequests.sender``)."""
    return sha256(sender + data).digest()


class KnownRequests:
    """At most ``MAX_KNOWN`` requests by fingerprint; both memories are emptied when full."""

    def __init__(self) -> None:
        self._known: dict[bytes, Again | Repeat] = {}
        self._seen: set[bytes] = set()
        self._key = secrets.token_bytes(32)
        self._uri_field = _URI_FIELDS[0]
        self.recall = self._known.get

    def __len__(self) -> int:
        return len(self._known)

    def sender(self, peer: str | None) -> bytes:
        """Return what a peer's bytes are hashed with: its address, and a key that only this process ever has.

        Without the key, nobody could find out from a fingerprint what was sent, not even if it was easy to guess.
        """
        return self._key + f"{peer or ''}\0".encode()

    def without_uri(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the request of a proxy without the URL that the proxy was asked for, and that URL.

        It must begin with ``FORWARD_AUTH``. A URL that differs in each request would make each another request, while
        most keys are good for every URL. Cut out is the value of one header field, and only where nothing but itself
        depends on how that is written.
        """
        field = self._uri_field
        at = data.find(field)
        if at < 0:
            field = next((field for field in _URI_FIELDS if field in data), b"")
            if not field:
                return data, b""
            self._uri_field = field  # a proxy writes it the same way each time
            at = data.find(field)
        start = at + len(field)
        end = data.find(b"\r\n", start)
        uri = data[start:end]
        if end < 0 or _PLAIN.fullmatch(uri) is None:
            return data, b""
        return data[:start] + data[end:], uri

    def was_seen(self, fingerprint: bytes) -> bool:
        """Tell whether these bytes came before, and note that they came now."""
        if fingerprint in self._seen:
            return True
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen.add(fingerprint)
        return False

    def remember(self, fingerprint: bytes, again: Again | Repeat) -> None:
        """Keep what the answer to these bytes hangs on."""
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[fingerprint] = again
