"""What every engine can store: text without NUL or lone surrogates, and integers of 64 bits.

PostgreSQL refuses the rest with errors of its own and SQLite takes some of it; here all engines refuse it alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ..core.errors import InvalidInput

INTEGER_MAX: Final = 2**63 - 1
AMOUNT_MAX: Final = 2**53 - 1
"""The largest amount of credits or of a quota: exact in every JSON parser, and far from overflow when summed."""

_ENCODER: Final = msgspec.json.Encoder()
_MESSAGE: Final = "must not hold a NUL character or a lone surrogate"


def is_storable_text(text: str) -> bool:
    """Tell whether every engine can store this text."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def require_storable(values: Iterable[Any], field: str = "text") -> None:
    """Raise ``InvalidInput`` unless every value can be bound to a statement of every engine."""
    for value in values:
        if isinstance(value, str):
            if ("\0" in value or not value.isascii()) and not is_storable_text(value):
                raise InvalidInput.of(field, _MESSAGE)
        elif isinstance(value, int) and not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise InvalidInput.of(field, "must fit into 64 bits")


def encode_json(value: Any, field: str = "text") -> str:
    """Return the JSON of a value; raises ``InvalidInput`` that names the path of text which cannot be stored."""
    try:
        encoded = _ENCODER.encode(value)
    except UnicodeEncodeError:
        raise InvalidInput.of(_culprit(msgspec.to_builtins(value), field) or field, _MESSAGE) from None
    # The escape may also be an escaped backslash before "u0000", so look closer before refusing.
    if rb"\u0000" in encoded:
        culprit = _culprit(msgspec.to_builtins(value), field)
        if culprit is not None:
            raise InvalidInput.of(culprit, _MESSAGE)
    return encoded.decode()


def require_amount(amount: int, field: str) -> None:
    """Raise ``InvalidInput`` unless this is an amount that can be granted or taken."""
    if not 0 <= amount <= AMOUNT_MAX:
        raise InvalidInput.of(field, f"must be between 0 and {AMOUNT_MAX}")


def _culprit(value: Any, path: str) -> str | None:
    """Return the path of the first text inside ``value`` that cannot be stored."""
    if isinstance(value, str):
        return None if is_storable_text(value) else path
    if isinstance(value, dict):
        for key, inner in value.items():
            found = path if _culprit(key, path) else _culprit(inner, f"{path}.{key}" if path != "text" else str(key))
            if found:
                return found
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            if found := _culprit(inner, f"{path}[{index}]"):
                return found
    return None
