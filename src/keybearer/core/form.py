"""Forms of OAuth: ``application/x-www-form-urlencoded``, each parameter once, read strictly.

An empty value counts as left out; what nobody knows is ignored, but may not come twice either. Spec: RFC 6749 §3.1,
§3.2, RFC 8707 §2 and RFC 8693 §2.1 for the parameters that may be repeated.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from .oauth_error import InvalidRequest

REPEATABLE: Final = frozenset({"resource", "audience"})
MAX_PARAMETERS: Final = 50
MAX_REPEATED: Final = 10

_PLAIN: Final = re.compile(rb"[\x21-\x24\x27-\x2a\x2c-\x7e]*")
_ESCAPED: Final = re.compile(rb"(?:[\x21-\x24\x27-\x7e]|%[0-9A-Fa-f]{2})*")
_NOTHING: Final[tuple[str, ...]] = ()


class Form(NamedTuple):
    """The parameters: ``one`` has those that come once, ``several`` those that may be repeated."""

    one: dict[str, str]
    several: dict[str, tuple[str, ...]]

    def get(self, name: str) -> str:
        """Return a parameter, empty when it was left out."""
        return self.one.get(name, "")

    def need(self, name: str) -> str:
        """Return a parameter; raises ``InvalidRequest`` when it was left out."""
        value = self.one.get(name, "")
        if not value:
            raise InvalidRequest(f"{name} is missing.")
        return value

    def all(self, name: str) -> tuple[str, ...]:
        """Return the values of a parameter that may be repeated."""
        return self.several.get(name, _NOTHING)


def parse(data: bytes) -> Form:
    """Return the form that these bytes are; raises ``InvalidRequest``."""
    one: dict[str, str] = {}
    several: dict[str, tuple[str, ...]] = {}
    if not data:
        return Form(one, several)
    pairs = data.split(b"&")
    if len(pairs) > MAX_PARAMETERS:
        raise InvalidRequest(f"There are more than {MAX_PARAMETERS} parameters.")
    for pair in pairs:
        if not pair:
            continue
        name_part, _, value_part = pair.partition(b"=")
        name, value = _decoded(name_part), _decoded(value_part)
        if name in REPEATABLE:
            values = several.get(name, _NOTHING)
            if len(values) >= MAX_REPEATED:
                raise InvalidRequest(f"{name} comes more than {MAX_REPEATED} times.")
            if value:
                several[name] = (*values, value)
        elif name in one:
            raise InvalidRequest(f"{_shown(name)} comes twice.")
        else:
            one[name] = value
    return Form(one, several)


def _decoded(part: bytes) -> str:
    if _PLAIN.fullmatch(part):
        return part.decode("ascii")
    if _ESCAPED.fullmatch(part) is None:
        raise InvalidRequest("The form is not encoded as application/x-www-form-urlencoded.")
    try:
        text = unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("The form is not UTF-8.") from None
    if "\0" in text:
        raise InvalidRequest("The form has a NUL character.")
    return text


def _shown(name: str) -> str:
    return name if len(name) <= 64 and name.isascii() and name.isprintable() else "A parameter"
