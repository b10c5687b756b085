"""A value that must not be seen: it cannot be printed, formatted, compared in variable time or pickled."""

from __future__ import annotations

import hmac
from typing import NoReturn

_REDACTED = "Secret(redacted)"


class Secret:
    """Hold a secret text so that no log, error or ``repr`` can show it.

    ``reveal`` is the only way out; search for it to find every place where a secret is used.
    Spec: CWE-532, CWE-598.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for the one place that must send or digest it."""
        return self._value

    def __repr__(self) -> str:
        return _REDACTED

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return _REDACTED

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> NoReturn:
        raise TypeError("a Secret cannot be a dictionary key")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")
