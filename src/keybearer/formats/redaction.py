"""Credentials in bytes made harmless: the secret is replaced, and nothing else changes.

What stands for the secret tells one credential from another and stays the same everywhere: eight characters of a digest
of the whole. That gives nothing away, since nobody can guess 190 random bits. What is cut off, or has a wrong checksum,
is replaced too: most of a secret is a secret. Spec: CWE-532.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Final

from ..core import base62
from . import hints
from .traces import Hit, Trace, traces

MARK: Final = "REDACTED"
_TAG_LENGTH: Final = 8
_DOMAIN: Final = b"keybearer pseudonym\0"


def tag_of(text: str) -> str:
    """Return what stands for a credential: eight base62 characters."""
    digest = sha256(_DOMAIN + text.encode()).digest()
    return base62.encode(int.from_bytes(digest[:8], "big") % 62**_TAG_LENGTH, _TAG_LENGTH)


def pseudonym(trace: Trace) -> str:
    """Return what is written instead of the secret and checksum of a credential, with as many characters."""
    length = len(trace.pieces)
    tag = tag_of(trace.text) if length >= len(MARK) + _TAG_LENGTH else ""
    return (MARK + tag).ljust(length, "x")[:length]


def is_redacted(trace: Trace) -> bool:
    """Tell whether this is a pseudonym already."""
    secret = trace.text.rpartition("_")[2]
    rest = secret[len(MARK) + _TAG_LENGTH :]
    return not trace.is_whole and secret.startswith(MARK[: len(secret)]) and not rest.strip("x")


def redact(data: bytes, find: Callable[[bytes], Iterable[Hit]] = hints.hits) -> bytes:
    """Return the bytes with every credential in them made harmless."""
    found = traces(data, find(data))
    return rewrite(data, found) if found else data


def rewrite(data: bytes, found: Iterable[Trace]) -> bytes:
    """Return the bytes with these credentials made harmless."""
    parts: list[bytes] = []
    done = 0
    for start, end, text in sorted(edit for trace in found for edit in edits(trace)):
        if start >= done:
            parts += (data[done:start], text)
            done = end
    return b"".join((*parts, data[done:])) if done else data


def edits(trace: Trace) -> Iterator[tuple[int, int, bytes]]:
    """Yield ``(start, end, bytes)`` for each piece to be written anew; none for what is a pseudonym already."""
    if is_redacted(trace):
        return
    instead = pseudonym(trace).encode()
    if trace.blob is not None:
        for offset, character in trace.blob.rewritten(trace.pieces[0][0], instead):
            yield offset, offset + 1, bytes((character,))
        return
    for (start, end), character in zip(trace.pieces, instead, strict=True):
        yield start, end, bytes((character,))
