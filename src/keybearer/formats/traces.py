"""Where credentials of Keybearer stand in bytes of any kind, however they are spelled there.

First a *hint*: a place where the prefix of a credential may be, which a fast matcher finds (``HINTS`` says what to look
for). Then, around the hint, the whole grammar and the checksum decide: no I/O, and one in four thousand million texts
of this very shape is taken for a credential wrongly. All that is looked at lies within ``LEFT`` bytes before the end of
the hint and ``RIGHT`` behind it, so that a stream may be searched piece by piece.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from ..core import credential
from . import blobs, prefixes
from .spellings import ALNUM, BRAND, SOFT_BREAK, UNDERSCORE, code_of, encoded, unit, units, word

LEFT: Final = 768
RIGHT: Final = 1536


class Spelling(StrEnum):
    """How a credential was written where it was found."""

    PLAIN = "plain"
    ESCAPED = "escaped"
    BASE64 = "base64"
    UTF16 = "utf-16"


class Hint(NamedTuple):
    """What to look for: a literal or a pattern, and how to read what is around it; ``place`` is for base64."""

    pattern: bytes
    is_literal: bool
    spelling: Spelling
    place: int = 0


class Trace(NamedTuple):
    """A credential in bytes, from ``start`` to ``end``.

    ``pieces`` are where each character of its secret and checksum is written: in the bytes, or in what is decoded of
    its ``blob``. ``is_whole`` is false for what has the shape of a credential, but was cut off or has a wrong checksum.
    """

    start: int
    end: int
    text: str
    prefix: str
    credential_id: str
    spelling: Spelling
    is_whole: bool
    pieces: tuple[tuple[int, int], ...]
    blob: blobs.Blob | None = None

    def __repr__(self) -> str:
        return f"Trace({self.start}, {self.end}, {self.prefix}, {self.credential_id}, {self.spelling}, {self.is_whole})"


def _hints() -> tuple[Hint, ...]:
    suffixes = [f"_{suffix}_" for suffix in prefixes.KEY_SUFFIXES]
    owns = [f"{prefixes.OWN}_{letters}_" for letters in prefixes.KINDS]
    plain = [Hint(text.encode(), True, Spelling.PLAIN) for text in ("k_live_", "k_test_", *owns)]
    escaped_underscore = SOFT_BREAK + encoded(rb"5[Ff]")
    letters = rb"[" + "".join({kind[0] for kind in prefixes.KINDS}).encode() + rb"]"
    codes = rb"(?:" + rb"|".join(sorted({code_of(kind[0]) for kind in prefixes.KINDS})) + rb")"
    escaped = [
        Hint(pattern, False, Spelling.ESCAPED)
        for pattern in (
            _either(b"k", b"6[bB]") + escaped_underscore + unit(b"[lt]", b"(?:6[cC]|74)"),
            _either(b"b", b"62") + escaped_underscore + unit(letters, codes),
        )
    ]
    blob = {
        Hint(needle, True, Spelling.BASE64, place)
        for text in (*suffixes, *owns)
        for needle, place in blobs.needles(text.encode())
    }
    wide = [Hint(text.encode("utf-16-le"), True, Spelling.UTF16) for text in ("k_live", "k_test", *owns)]
    return (*plain, *escaped, *sorted(blob), *wide)


def _either(plain: bytes, code: bytes) -> bytes:
    return rb"(?:" + plain + rb"|" + encoded(code) + rb")"


HINTS: Final = _hints()
"""What a matcher must look for. To miss one is to miss credentials; to find too many costs only time."""


class Hit(NamedTuple):
    """A hint that was found: the offset behind it, and its number in ``HINTS``."""

    end: int
    hint: int


_SUFFIX: Final = (
    rb"(?:" + unit(b"[sp]", b"7[03]") + word("k") + UNDERSCORE + rb"(?:" + word("live") + rb"|" + word("test") + rb"))"
)
_OWN: Final = word(prefixes.OWN) + UNDERSCORE + rb"(?:" + rb"|".join(word(kind) for kind in prefixes.KINDS) + rb")"
_GRAMMAR: Final = re.compile(
    rb"(?:(" + BRAND + rb"{1,16})" + UNDERSCORE + rb"(" + _SUFFIX + rb")|(" + _OWN + rb"))"
    + UNDERSCORE + rb"(" + ALNUM + rb"{12,24})" + UNDERSCORE + rb"(" + ALNUM + rb"{1,38})"
)  # fmt: skip
_WHOLE: Final = credential.SECRET_LENGTH + credential.CHECKSUM_LENGTH


def traces(data: bytes, hits: Iterable[Hit]) -> list[Trace]:
    """Return every credential near the hits, each once, in order; also those that are not whole."""
    found: dict[tuple[int, int], Trace] = {}
    plain: list[int] = []
    for end, number in hits:
        hint = HINTS[number]
        near: Iterable[Trace]
        if hint.spelling is Spelling.BASE64:
            near = _in_blob(data, end - len(hint.pattern), hint.place)
        elif hint.spelling is Spelling.UTF16:
            near = _in_utf16(data, end)
        else:
            plain.append(end)
            continue
        for trace in near:
            found[trace.start, trace.end] = trace
    for trace in _in_text(data, sorted(plain)):
        found[trace.start, trace.end] = trace
    return sorted(found.values())


def _in_text(data: bytes, ends: Sequence[int]) -> Iterator[Trace]:
    """Look around hints. Only what has a hint inside counts, however wide the window, so that splits change nothing."""
    index = 0
    while index < len(ends):
        begin, end = max(0, ends[index] - LEFT), ends[index] + RIGHT
        last = index + 1
        while last < len(ends) and ends[last] - LEFT < end:
            end = ends[last] + RIGHT
            last += 1
        inside = ends[index:last]
        for trace in _read(data, begin, end):
            nearest = bisect_right(inside, trace.start)
            if nearest < len(inside) and inside[nearest] <= trace.pieces[0][0]:
                yield trace
        index = last


def _read(data: bytes, begin: int, end: int) -> Iterator[Trace]:
    """Yield everything between two offsets that has the shape of a credential."""
    while (match := _GRAMMAR.search(data, begin, end)) is not None:
        yield (trace := _trace(data, match))
        # What only looks like one may have swallowed the beginning of the next.
        begin = trace.end if trace.is_whole else match.end(4)


def _trace(data: bytes, match: re.Match[bytes]) -> Trace:
    secret = units(data, *match.span(5))
    pieces = tuple((start, end) for _, start, end in secret)
    credential_id = _text(data, match.span(4))
    ending = f"_{credential_id}_{''.join(character for character, _, _ in secret)}"
    brand = units(data, *match.span(1)) if match[1] is not None else []
    suffix = _text(data, match.span(2) if match[1] is not None else match.span(3))
    # A brand has no beginning of its own: what stands before it may be a part of an escape, or glued to it.
    candidates = [
        ("".join(character for character, _, _ in brand[first:]) + "_" + suffix, brand[first][1])
        for first in range(len(brand) - 1, -1, -1)
        if brand[first][0].isalpha()
    ] or [(suffix, match.start())]
    (prefix, start), is_whole = candidates[-1], False
    if len(secret) == _WHOLE:
        for candidate in candidates:
            if credential.split(candidate[0] + ending) is not None:
                (prefix, start), is_whole = candidate, True
                break
    text = prefix + ending
    spelling = Spelling.PLAIN if match.end() - start == len(text) else Spelling.ESCAPED
    return Trace(start, match.end(), text, prefix, credential_id, spelling, is_whole, pieces)


def _text(data: bytes, span: tuple[int, int]) -> str:
    return "".join(character for character, _, _ in units(data, *span))


def _in_blob(data: bytes, at: int, place: int) -> Iterator[Trace]:
    blob = blobs.around(data, at, place)
    for trace in _read(blob.decoded, 0, len(blob.decoded)):
        start, end = blob.span(trace.start, trace.end)
        yield trace._replace(start=start, end=end, spelling=Spelling.BASE64, blob=blob)


def _in_utf16(data: bytes, end: int) -> Iterator[Trace]:
    # Every other byte around the hint, which ends with the zero behind a character.
    begin = end % 2 if end - LEFT < 0 else end - LEFT
    wide = data[begin : end + RIGHT]
    # Where the zeros end, so does the text.
    middle = (end - begin) // 2
    zeros = wide[1::2]
    first, last = zeros[:middle].rstrip(b"\0"), zeros[middle:].lstrip(b"\0")
    left = len(first)
    right = len(zeros) - len(last)
    narrow = wide[0::2][left : right + 1]
    for trace in _read(narrow, 0, len(narrow)):
        base = begin + 2 * left
        yield trace._replace(
            start=base + 2 * trace.start,
            end=base + 2 * trace.end,
            spelling=Spelling.UTF16,
            pieces=tuple((base + 2 * start, base + 2 * start + 1) for start, _ in trace.pieces),
        )
