"""What may be written: how long titles, bodies, comments and reasons are, and what a tag looks like."""

from __future__ import annotations

import re

from .errors import Unreadable

TITLE = (10, 150)
BODY = (20, 30_000)
COMMENT = (5, 600)
REASON = (5, 300)
TAGS = 5
_TAG = re.compile(r"[a-z0-9][a-z0-9+#.-]{0,29}", re.ASCII)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
"""Nothing that can be seen; some of them make text read the other way round."""


def title(text: str) -> str:
    """Return a title on one line. Raises ``Unreadable``."""
    return _of_length("title", " ".join(_clean(text).split()), TITLE)


def body(text: str) -> str:
    """Return the body of a question or an answer. Raises ``Unreadable``."""
    return _of_length("body", _clean(text).strip(), BODY)


def comment(text: str) -> str:
    """Return a comment on one line. Raises ``Unreadable``."""
    return _of_length("comment", " ".join(_clean(text).split()), COMMENT)


def reason(text: str) -> str:
    """Return why something was flagged, closed or deleted. Raises ``Unreadable``."""
    return _of_length("reason", " ".join(_clean(text).split()), REASON)


def tags(text: str) -> tuple[str, ...]:
    """Return the tags in a text, parted by spaces or commas, each once. Raises ``Unreadable``."""
    found = tuple(dict.fromkeys(text.lower().replace(",", " ").split()))
    if not 1 <= len(found) <= TAGS:
        raise Unreadable("tags", f"Give between one and {TAGS} tags.")
    for tag in found:
        if _TAG.fullmatch(tag) is None:
            raise Unreadable("tags", f"“{tag[:40]}” is not a tag: letters, digits, and + # . - within.")
    return found


def _clean(text: str) -> str:
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _of_length(field: str, text: str, bounds: tuple[int, int]) -> str:
    least, most = bounds
    if len(text) < least:
        raise Unreadable(field, f"Write at least {least} characters.")
    if len(text) > most:
        raise Unreadable(field, f"Write {most:,} characters at most; these are {len(text):,}.")
    return text
