"""The fast search for hints: Hyperscan where it is installed, else the standard library.

Hyperscan goes through ordinary logs at several GB/s and a core, the standard library at some 30 MB/s
(``benchmarks/leaks.py``); both find the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from ..formats import hints, prefixes
from ..formats.spellings import ENCODED_UNDERSCORES
from ..formats.traces import HINTS, Hit

Matching = Callable[[bytes], list[Hit]]
_LAST_BYTES: Final = rb"[kbB2;\n\\]"
"""What a ``k`` or ``b`` ends with, however it is spelled, or the soft break or backslash behind it."""
_FIRST_BYTES: Final = rb"[" + "".join({kind[0] for kind in prefixes.KINDS} | {"l", "t"}).encode() + rb"%\\&=]"
"""What the character behind the underscore begins with."""


def plain(data: bytes) -> list[Hit]:
    """Return every hint in the bytes, with the standard library."""
    return [*hints.hits(data)]


@cache
def best() -> Matching:
    """Return the fastest way to find hints that this installation has."""
    database = _hyperscan()
    if database is None:
        return plain

    def fast(data: bytes) -> list[Hit]:
        """Return every hint in the bytes, with Hyperscan."""
        found: list[Hit] = []
        underscores: list[tuple[int, int]] = []

        def note(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            if number < len(HINTS):
                found.append(Hit(end, number))
            else:
                width = len(ENCODED_UNDERSCORES[number - len(HINTS)])
                underscores.append((end - 1 - width, end - 1))

        database.scan(data, match_event_handler=note)
        for start, end in underscores:
            found += hints.near_underscore(data, start, end)
        return found

    return fast


def is_fast() -> bool:
    """Tell whether Hyperscan is installed."""
    return best() is not plain


def _hyperscan() -> Any:
    try:
        import hyperscan
    except ImportError:
        return None
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    literals = [(_escaped(hint.pattern), number) for number, hint in enumerate(HINTS) if hint.is_literal]
    # Hyperscan 0.9.1 was seen to miss matches of patterns that have several spellings of each character. So it looks
    # for the encoded underscore between a last and a first byte, which is simple, and the patterns are tried there.
    between = [
        (_LAST_BYTES + _escaped(text) + _FIRST_BYTES, len(HINTS) + number)
        for number, text in enumerate(ENCODED_UNDERSCORES)
    ]
    expressions, numbers = zip(*literals, *between, strict=True)
    database.compile(
        expressions=[*expressions], ids=[*numbers], elements=len(expressions), flags=[0] * len(expressions)
    )
    return database


def _escaped(text: bytes) -> bytes:
    """Return a pattern for these very bytes; a zero byte as such would end it."""
    return b"".join(b"\\x%02x" % byte for byte in text)
