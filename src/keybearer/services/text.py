"""What any text of a request may hold: no control characters, no lone surrogates; and the bounds of metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .problems import Problems

MAX_METADATA: Final = 16_384
MAX_METADATA_DEPTH: Final = 8
MAX_DEPTH: Final = 32
"""How far a body is looked into; the JSON decoder itself goes as deep as the stack happens to allow."""
MAX_SHOWN: Final = 80
_CONTROL: Final = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
_CONTROL_BUT_LINES: Final = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
_SUSPECT: Final = re.compile(rb"[\\\x7f]|\xc2[\x80-\x9f]")
"""What the JSON of a value holds when any text in it may be wrong (an escape), or is (DEL and the C1 controls)."""
_ENCODER: Final = msgspec.json.Encoder()
_OF_SEVERAL_LINES: Final = frozenset({"metadata", "description", "reason", "claims"})
"""``claims`` for the lines of a postal address. Spec: OIDC Core §5.1.1."""


def shown(text: str) -> str:
    """Return a text that came from outside, quoted and cut, fit for a message."""
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…")


def check_text(problems: Problems, value: Any, path: str = "", *, of_several_lines: bool = False) -> None:
    """Note every text inside ``value`` (a wire struct, list, mapping or text) that holds what no text may hold."""
    if isinstance(value, msgspec.Struct) and _is_plain(value):
        return
    _check_each(problems, value, path, of_several_lines)


def _is_plain(value: msgspec.Struct) -> bool:
    """Tell at one glance that no text inside is wrong; false when that takes a closer look."""
    try:
        encoded = _ENCODER.encode(value)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        return False
    if encoded.isascii():
        return b"\\" not in encoded and b"\x7f" not in encoded
    return _SUSPECT.search(encoded) is None


def _check_each(problems: Problems, value: Any, path: str, of_several_lines: bool, levels: int = MAX_DEPTH) -> None:
    if not levels:
        problems.add(path, "is nested too deeply")
    elif isinstance(value, str):
        if (_CONTROL_BUT_LINES if of_several_lines else _CONTROL).search(value):
            problems.add(path, "must not hold control characters or lone surrogates")
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            inner = f"{path}.{name}" if path else name
            _check_each(problems, getattr(value, name), inner, name in _OF_SEVERAL_LINES, levels - 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_each(problems, item, f"{path}[{index}]", of_several_lines, levels - 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_each(problems, key, path, False)
            _check_each(problems, item, f"{path}.{key}", of_several_lines, levels - 1)


def check_metadata(problems: Problems, metadata: Mapping[str, Any], path: str = "metadata") -> None:
    """Note metadata that is too large or nested too deeply."""
    if not metadata:
        return
    if _depth(metadata, MAX_METADATA_DEPTH) > MAX_METADATA_DEPTH:
        problems.add(path, f"may be nested {MAX_METADATA_DEPTH} levels deep at most")
        return
    try:
        size = len(msgspec.json.encode(metadata))
    except (UnicodeEncodeError, msgspec.MsgspecError):
        problems.add(path, "must be JSON in valid Unicode")
        return
    if size > MAX_METADATA:
        problems.add(path, f"may have {MAX_METADATA:,} bytes as JSON at most, not {size:,}")


def _depth(value: Any, limit: int) -> int:
    """Return how deeply a value is nested, looking no further than one level below ``limit``."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if inner is None:
        return 0
    return 1 + (max((_depth(item, limit - 1) for item in inner), default=0) if limit > 0 else 0)
