"""Base62 in ASCII order (0-9 A-Z a-z), so that encoded numbers of one width sort like the numbers."""

from __future__ import annotations

from secrets import token_bytes
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FROM_BYTE: Final = bytes(ord(ALPHABET[byte % 62]) for byte in range(256))
_UNFAIR: Final = bytes(range(248, 256))
_PAIRS: Final = tuple(a + b for a in ALPHABET for b in ALPHABET)


def encode(number: int, width: int) -> str:
    """Return ``number`` in exactly ``width`` digits; raises ``ValueError`` when it does not fit."""
    if number < 0 or number >= 62**width:
        raise ValueError(f"{number} does not fit in {width} base62 digits")
    digits = []
    for _ in range(width // 2):
        number, pair = divmod(number, 3844)
        digits.append(_PAIRS[pair])
    if width % 2:
        digits.append(ALPHABET[number])
    return "".join(reversed(digits))


def decode(digits: str) -> int:
    """Return the number that ``encode`` made these digits of; raises ``ValueError`` for any other character."""
    number = 0
    for digit in digits:
        number = number * 62 + ALPHABET.index(digit)
    return number


def encode_crc32(crc: int) -> str:
    """Return a 32-bit value in six digits, two at a time: this runs on the hot path."""
    rest, low = divmod(crc, 3844)
    high, middle = divmod(rest, 3844)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def random_text(length: int) -> str:
    """Return ``length`` base62 characters from the operating system's CSPRNG.

    A byte below 248 (four times 62) becomes a character, the other eight are thrown away, so that none is likelier.
    """
    text = b""
    while len(text) < length:
        text += token_bytes(length + 16).translate(_FROM_BYTE, _UNFAIR)
    return text[:length].decode("ascii")
