"""The ``scope`` parameter: a list of names, separated by single spaces. Spec: RFC 6749 §3.3."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from .oauth_error import InvalidScope

MAX_SCOPES: Final = 100
MAX_LENGTH: Final = 4096

_NAME: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}", re.ASCII)


def parse(text: str) -> tuple[str, ...]:
    """Return the names, each once, in the order of asking; raises ``InvalidScope``. An empty text has none."""
    if not text:
        return ()
    names = text.split(" ") if len(text) <= MAX_LENGTH else [""]
    if len(names) > MAX_SCOPES or any(_NAME.fullmatch(name) is None for name in names):
        raise InvalidScope("scope must be names that are separated by single spaces.")
    return tuple(dict.fromkeys(names))


def text_of(scopes: Iterable[str]) -> str:
    """Return the scopes as the parameter."""
    return " ".join(scopes)
