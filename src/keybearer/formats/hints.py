"""Hints found with nothing but the standard library: for short texts, and where no faster matcher is installed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .spellings import ENCODED_UNDERSCORES
from .traces import HINTS, Hit

_LITERALS: Final = {hint.pattern: number for number, hint in enumerate(HINTS) if hint.is_literal}
_PATTERNS: Final = [(re.compile(hint.pattern), number) for number, hint in enumerate(HINTS) if not hint.is_literal]
_AROUND: Final = 20
"""Bytes around an encoded underscore within which a hint with it lies."""
_ANY: Final = re.compile(b"|".join(re.escape(text) for text in (*_LITERALS, *ENCODED_UNDERSCORES)))


def hits(data: bytes) -> Iterator[Hit]:
    """Yield every hint in the bytes."""
    at = 0
    while (match := _ANY.search(data, at)) is not None:
        number = _LITERALS.get(match[0])
        if number is not None:
            yield Hit(match.end(), number)
        else:
            yield from near_underscore(data, match.start(), match.end())
        # Hints may overlap: go on one byte further, not behind this one.
        at = match.start() + 1


def near_underscore(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """Yield the hints that an encoded underscore between two offsets is a part of."""
    for pattern, number in _PATTERNS:
        for found in pattern.finditer(data, max(0, start - _AROUND), end + _AROUND):
            if found.start() <= start < found.end():
                yield Hit(found.end(), number)
