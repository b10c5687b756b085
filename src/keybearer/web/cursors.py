"""Cursors of pages: opaque, signed, and good only for the list that gave them (Hydra CVE-2026-33504)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Final

from ..core.errors import InvalidInput

_MAC_LENGTH: Final = 16
MAX_LENGTH: Final = 512


def _mac(key: bytes, path: str, query: Mapping[str, str], position: bytes) -> bytes:
    # The size of a page may change on the way; the list that is walked may not.
    bound = "&".join(f"{name}={query[name]!r}" for name in sorted(query) if name not in ("cursor", "limit"))
    return hmac.digest(key, f"{path}?{bound}\n".encode() + position, "sha256")[:_MAC_LENGTH]


def seal_cursor(key: bytes, path: str, query: Mapping[str, str], after: str) -> str:
    """Return the cursor that stands for the position ``after`` in this list."""
    position = after.encode()
    return base64.urlsafe_b64encode(_mac(key, path, query, position) + position).decode().rstrip("=")


def open_cursor(key: bytes, path: str, query: Mapping[str, str]) -> str | None:
    """Return the position that the query's cursor stands for; raises ``InvalidInput`` for one we did not give."""
    text = query.get("cursor")
    if text is None:
        return None
    wrong = InvalidInput.of("cursor", "this is not a cursor of this list; begin again without it")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        position = raw[_MAC_LENGTH:].decode()
    except (binascii.Error, ValueError):
        raise wrong from None
    canonical = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    if len(text) > MAX_LENGTH or canonical != text or not position:
        raise wrong
    if not hmac.compare_digest(_mac(key, path, query, position.encode()), raw[:_MAC_LENGTH]):
        raise wrong
    return position
