"""Echoes: an upstream that repeats the secret it was shown has it blotted out, however it writes it.

Each letter becomes an asterisk, so that nothing changes its length: framing and WebSocket frames stay right, and what
ends in the middle of a secret waits for the rest. Spec: DESIGN §8, CWE-200.
"""

from __future__ import annotations

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

LEAST: Final = 8
"""Shorter texts would be found where nobody wrote them."""


def spellings(secret: str) -> frozenset[bytes]:
    """Return how a secret may be written: as it is, for URLs, JSON and HTML, and in base64 wherever that begins."""
    raw = secret.encode()
    quoted = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    found = {raw, json.dumps(secret)[1:-1].encode(), html.escape(secret).encode()}
    found.add(json.dumps(secret)[1:-1].replace("/", "\\/").encode())
    found |= {text.encode() for text in quoted} | {_lower_hex(text).encode() for text in quoted}
    for shift in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            found.add(_whole_part(encode(b"\0" * shift + raw), shift, len(raw)))
    return frozenset(spelt for spelt in found if len(spelt) >= LEAST)


def _whole_part(encoded: bytes, shift: int, length: int) -> bytes:
    """Return the part of a base64 text that hangs on the secret alone, not on what stands before or behind it."""
    first = -(-shift * 8 // 6)
    last = (shift + length) * 8 // 6
    return encoded[first:last]


def _lower_hex(quoted: str) -> str:
    parts = quoted.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


class Blotter:
    """Blots secrets out of one stream of bytes; ``flush`` returns what waited for more."""

    __slots__ = ("_firsts", "_longest", "_rest", "_spellings")

    def __init__(self, spelt: Iterable[bytes]) -> None:
        # The longer ones first: a spelling may lie inside another one.
        self._spellings = sorted(set(spelt), key=lambda text: (-len(text), text))
        self._firsts = {text[:1] for text in self._spellings}
        self._longest = max((len(text) for text in self._spellings), default=0)
        self._rest = b""

    def whole(self, text: bytes) -> bytes:
        """Return a text that is complete, such as the value of a field, without secrets."""
        for spelt in self._spellings:
            if spelt in text:
                text = text.replace(spelt, b"*" * len(spelt))
        return text

    def feed(self, piece: bytes) -> bytes:
        """Return what may be handed on now."""
        text = self.whole(self._rest + piece if self._rest else piece)
        cut = self._cut(text)
        self._rest = text[cut:]
        return text[:cut] if self._rest else text

    def flush(self) -> bytes:
        """Return the end, which turned out to be no secret."""
        rest, self._rest = self._rest, b""
        return rest

    def _cut(self, text: bytes) -> int:
        """Return where the first beginning of a secret stands that reaches the end of the text."""
        found = len(text)
        begin = max(0, len(text) - self._longest + 1)
        for first in self._firsts:
            at = text.find(first, begin)
            while 0 <= at < found:
                tail = text[at:]
                if any(len(tail) < len(spelt) and spelt.startswith(tail) for spelt in self._spellings):
                    found = at
                    break
                at = text.find(first, at + 1)
        return found
