"""How the characters of a credential are spelled in logs, files and messages, and back.

Percent-encoded up to four times over, escaped in JSON (and in JSON within JSON) and in strings of programs, as
hexadecimal character references of HTML, and quoted-printable with its soft line breaks. A ``unit`` here is one
character, however it is spelled. All patterns are over bytes, and none can match the same bytes in two ways.
Spec: RFC 3986 §2.1, RFC 8259 §7, RFC 2045 §6.7.
"""

from __future__ import annotations

import re
from typing import Final

SOFT_BREAK: Final = rb"(?:=\r?\n)?"
_DIGIT, _LOWER, _UPPER = rb"3[0-9]", rb"(?:6[1-9A-Fa-f]|7[0-9Aa])", rb"(?:4[1-9A-Fa-f]|5[0-9Aa])"


def encoded(code: bytes) -> bytes:
    """Return a pattern for a character that is spelled by its code, of which ``code`` matches two hex digits."""
    return rb"(?:%(?:25){0,3}" + code + rb"|\\{1,4}(?:u00|x)" + code + rb"|&#[xX]" + code + rb";|=" + code + rb")"


def unit(plain: bytes, code: bytes) -> bytes:
    """Return a pattern for one character: itself, or spelled by its code."""
    return rb"(?:" + SOFT_BREAK + rb"(?:" + plain + rb"|" + encoded(code) + rb"))"


def word(text: str) -> bytes:
    """Return a pattern for a text each of whose characters may be spelled in any way."""
    return b"".join(unit(re.escape(character).encode(), code_of(character)) for character in text)


def code_of(character: str) -> bytes:
    """Return a pattern for the two hex digits that a character is encoded with."""
    code = f"{ord(character):02x}"
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in code).encode()


ALNUM: Final = unit(rb"[0-9A-Za-z]", rb"(?:" + rb"|".join((_DIGIT, _LOWER, _UPPER)) + rb")")
BRAND: Final = unit(rb"[0-9a-z]", rb"(?:" + rb"|".join((_DIGIT, _LOWER)) + rb")")
UNDERSCORE: Final = unit(rb"_", rb"5[Ff]")
ENCODED_UNDERSCORES: Final = tuple(
    before + code
    for before, codes in (
        (b"%", (b"5F", b"5f")),
        (b"%25", (b"5F", b"5f")),
        (b"%2525", (b"5F", b"5f")),
        (b"%252525", (b"5F", b"5f")),
        (b"\\u00", (b"5F", b"5f")),
        (b"\\x", (b"5F", b"5f")),
        (b"&#x", (b"5F;", b"5f;")),
        (b"&#X", (b"5F;", b"5f;")),
        (b"=", (b"5F", b"5f")),
    )
    for code in codes
)
"""Every spelling of ``_`` but itself, for where patterns are too slow."""

_UNIT: Final = re.compile(SOFT_BREAK + rb"(?:([0-9A-Za-z_])|" + encoded(rb"([0-9A-Fa-f]{2})") + rb")")


def units(data: bytes, start: int, end: int) -> list[tuple[str, int, int]]:
    """Return each character between two offsets with where its spelling begins and ends, without a soft break."""
    text = data[start:end]
    if text.isalnum():
        return [(character, at, at + 1) for at, character in enumerate(text.decode(), start)]
    found = []
    for match in _UNIT.finditer(data, start, end):
        group = match.lastindex or 1
        if group == 1:
            found.append((match[1].decode(), match.start(1), match.end(1)))
        else:
            # The spelling begins behind a soft break, if there was one.
            text = match[0]
            skipped = 3 if text.startswith(b"=\r\n") else 2 if text.startswith(b"=\n") else 0
            found.append((chr(int(match[group], 16)), match.start() + skipped, match.end()))
    return found
