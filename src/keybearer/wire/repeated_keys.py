"""JSON objects that have one key twice: two readers could take different values, so nobody may send one.

Spec: RFC 8259 §4 (names should be unique), ASVS 1.5 (parsers that disagree).
"""

from __future__ import annotations

import json
from typing import Any

from ..core.errors import InvalidInput


def may_repeat_a_key(body: bytes) -> bool:
    """Tell cheaply whether an object of this JSON text might have a key twice: a hot body almost never does."""
    if body.count(b":") < 2:
        return False
    if b"\\" in body:
        return True  # a key can be written with escapes, and then looks different
    texts = body.split(b'"')[1::2]
    return len(set(texts)) != len(texts)


def check_keys(body: bytes) -> None:
    """Raise ``InvalidInput`` for an object that has one key twice, and for what is no JSON."""
    try:
        json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidInput.of("body", f"this is not valid JSON: {str(error)[:200]}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = dict(pairs)
    if len(seen) != len(pairs):
        once: set[str] = set()
        for name, _ in pairs:
            if name in once:
                raise InvalidInput.of(name[:64], "this field stands here twice")
            once.add(name)
    return seen
