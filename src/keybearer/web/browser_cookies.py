"""The cookies of the pages: host-only, unreadable by scripts, and sent over TLS wherever the issuer has it.

The ``__Host-`` prefix makes browsers insist on ``Secure``, which they refuse over plain http; an issuer on loopback
without TLS therefore has the same names without it. Spec: ASVS 3.3, SECURITY-BAR 22, RFC 6265bis §4.1.3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

SESSION: Final = "kb_session"
DEVICE: Final = "kb_device"
BROWSER: Final = "kb_browser"
SECOND_STEP: Final = "kb_step"
UPSTREAM: Final = "kb_upstream"
FLOW: Final = "kb_flow_"
MAX_COOKIES: Final = 100


class Cookies:
    """Reads and writes the cookies of one authority, by their names without prefix."""

    def __init__(self, issuer_url: str) -> None:
        self._secure = urlsplit(issuer_url).scheme == "https"
        self._prefix = "__Host-" if self._secure else ""

    def read(self, headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
        """Return our cookies. A name that comes twice counts as absent: which of the two is ours cannot be told."""
        lines = [value.decode("latin-1") for name, value in headers if name == b"cookie"]
        pairs = [pair.strip().partition("=") for line in lines for pair in line.split(";")][:MAX_COOKIES]
        count = Counter(name for name, _, _ in pairs)
        prefix = self._prefix + "kb_"
        return {
            name.removeprefix(self._prefix): value
            for name, _, value in pairs
            if name.startswith(prefix) and count[name] == 1
        }

    def set(self, name: str, value: str, max_age: int | None = None) -> str:
        """Return the header that sets a cookie, for ``max_age`` seconds or until the browser closes."""
        parts = [f"{self._prefix}{name}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
        if self._secure:
            parts.append("Secure")
        if max_age is not None:
            parts.append(f"Max-Age={max_age}")
        return "; ".join(parts)

    def clear(self, name: str) -> str:
        """Return the header that removes a cookie."""
        return self.set(name, "", 0)
