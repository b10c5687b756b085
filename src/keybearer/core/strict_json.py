"""JSON from outside, read strictly: no member twice, no endless depth, no half characters, nothing that is not JSON.

Two parsers that disagree about a member that comes twice are how one of them gets fooled.
Spec: RFC 8259 §4, RFC 7515 §4, RFC 7493 §2.1.
"""

from __future__ import annotations

import json
from typing import Any


def loads(text: str, depth: int) -> Any:
    """Return the value, whose objects and lists are nested ``depth`` levels at most; raises ``ValueError``."""
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        if "\\u" in text:
            # An escape can spell half a surrogate pair, which no text has: whoever wrote it down later would fail.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not _is_shallow(value, depth):
        raise ValueError("nested too deeply")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member comes twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_shallow(value: object, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_shallow(one, depth - 1) for one in inner)
