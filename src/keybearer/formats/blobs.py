"""Base64 around a place: what it says there, and which byte each of its characters helps to write.

Lines may be wrapped, also where the line break itself is escaped. A credential has no character that the standard and
the URL-safe alphabet write differently, so both are read at once. Spec: RFC 4648 §4 and §5, RFC 2045 §6.8.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Final, NamedTuple

CHARACTER: Final = rb"[A-Za-z0-9+/_-]"
BREAK: Final = rb"(?:\r?\n[ \t]{0,16}|\\{1,4}r\\{1,4}n|\\{1,4}n|%0[Dd]%0[Aa]|%0[Aa])"
_TOKEN: Final = re.compile(rb"(" + CHARACTER + rb"+)|" + BREAK)
LEFT: Final = 36
"""Characters that may matter before a place within a prefix: 24 bytes of it, and what completes a group of four."""
RIGHT: Final = 172
FARTHEST: Final = 1024
"""Bytes behind a place that are looked at, with the line breaks."""


class Blob(NamedTuple):
    """Decoded bytes, and the offset of each base64 character that they were decoded from."""

    decoded: bytes
    offsets: list[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the offsets between which some decoded bytes are written: six bits to a character."""
        return self.offsets[start * 8 // 6], self.offsets[(end * 8 - 1) // 6] + 1

    def rewritten(self, start: int, text: bytes) -> Iterator[tuple[int, int]]:
        """Yield ``(offset, character)`` for what must be written so that ``text`` stands at ``start`` when decoded."""
        end = start + len(text)
        decoded = self.decoded[:start] + text + self.decoded[end:]
        written = b64encode(decoded)
        for index in range(start * 8 // 6, (end * 8 - 1) // 6 + 1):
            yield self.offsets[index], written[index]


def needles(text: bytes) -> list[tuple[bytes, int]]:
    """Return what base64 of anything that contains ``text`` contains, with the place of its first character in a
    group of four: whole, or else half of it, for each of the three ways to lie in the groups.
    """
    found = []
    for lead in range(3):
        written = b64encode(b"\0" * lead + text).rstrip(b"=")
        first = (0, 2, 3)[lead]
        # The last character may hold bits of what follows.
        last = (lead + len(text)) * 8 // 6
        whole = written[first:last]
        half = len(whole) // 2
        found += [(whole[:half], first % 4), (whole[half:], (first + half) % 4)]
    return found


def around(data: bytes, at: int, place: int) -> Blob:
    """Return what is written around the offset of a base64 character that is the ``place``-th (0 to 3) of its group."""
    offsets = _leftward(data, at)
    behind = len(offsets)
    offsets += _rightward(data, at)
    # The group begins ``place`` characters before ``at``: begin with a whole one.
    skipped = (behind - place) % 4
    offsets = offsets[skipped:]
    if len(offsets) % 4 == 1:
        offsets.pop()
    characters = bytes(data[offset] for offset in offsets).translate(_STANDARD)
    return Blob(binascii.a2b_base64(characters + b"=" * (-len(characters) % 4)), offsets)


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def _leftward(data: bytes, at: int) -> list[int]:
    offsets: list[int] = []
    end = begin = max(0, at - 2 * LEFT - 20)
    # Forward, since the last letter of an escaped line break looks like base64 from behind.
    for match in _TOKEN.finditer(data, begin, at):
        if match.start() != end:
            offsets.clear()
        if match[1] is not None:
            offsets.extend(range(match.start(), match.end()))
        end = match.end()
    return offsets[-LEFT:] if end == at else []


def _rightward(data: bytes, at: int) -> list[int]:
    offsets: list[int] = []
    end = at + FARTHEST
    while len(offsets) < RIGHT:
        match = _TOKEN.match(data, at, end)
        if match is None:
            break
        if match[1] is not None:
            offsets.extend(range(match.start(), match.end()))
        at = match.end()
    return offsets[:RIGHT]
