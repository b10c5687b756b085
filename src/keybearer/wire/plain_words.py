"""What the decoder says about a wrong body, in plain words: which field it is, and what to write there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, get_args

import msgspec

from ..core.errors import InvalidInput
from ..core.quota import CalendarUnit
from ..core.records import CredentialKind, Environment
from .keys import ImportScheme

_AT: Final = re.compile(r"(?P<message>.*?)(?: - at (?P<key>`key` in )?`(?P<path>[^`]*)`)?", re.DOTALL)
_FIELD: Final = re.compile(r"field `(?P<name>[^`]*)`")
_PATTERNS: Final = {
    "identifier": "write a URI such as 'https://orders.example.com' or 'urn:example:orders'",
    "key_header": "write the name of a header such as 'x-api-key'",
    "brand": "write 2 to 16 lower-case letters and digits, a letter first",
    "name": "write lower-case letters, digits, '.', '_' or '-', such as 'requests'",
    "certificate_sha256": "write the SHA-256 of the signing certificate in hex",
    "methods": "write methods in capitals, such as 'GET'",
    "tags": "write 1 to 64 printable ASCII characters without spaces",
}
"""What to write where a pattern did not match: a regular expression explains nothing to most people."""
_CHOICES: Final[dict[str, Iterable[str]]] = {
    "kind": CredentialKind,
    "accept": CredentialKind,
    "accepts": CredentialKind,
    "environment": Environment,
    "per": CalendarUnit,
    "scheme": get_args(ImportScheme),
    "encoding": ("hex", "base64"),
}
_TYPES: Final = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "datetime": "an instant such as '2027-01-31T12:00:00Z'",
}
_INSTANT: Final = "write an instant with its time zone, such as '2027-01-31T12:00:00Z'"


def _length(match: re.Match[str]) -> str:
    of, relation, number = match["type"], match["relation"], int(match["number"])
    what = "characters" if of == "str" else "items" if of == "array" else "entries"
    if relation == "<=":
        return f"may have {number:,} {what} at most"
    return "must not be empty" if number == 1 else f"must have {number:,} {what} or more"


def _bound(match: re.Match[str]) -> str:
    number = int(match["number"])
    return f"must be {number:,} or more" if match["relation"] == ">=" else f"may be {number:,} at most"


def _type(match: re.Match[str]) -> str:
    wanted = " or ".join(_TYPES.get(name, name) for name in match["wanted"].split(" | "))
    got = "a fraction" if match["got"] == "float" else _TYPES.get(match["got"], match["got"])
    return f"must be {wanted}, not {got}"


_RULES: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = (
    (re.compile(r"Expected `(?P<type>\w+)(?: \| null)?` of length (?P<relation><=|>=) (?P<number>\d+)"), _length),
    (re.compile(r"Expected `(?:int|float)(?: \| null)?` (?P<relation><=|>=) (?P<number>-?\d+)"), _bound),
    (re.compile(r"Expected `(?P<wanted>[^`]+)`, got `(?P<got>[^`]+)`"), _type),
    (re.compile(r"Expected `datetime(?: \| null)?` with a timezone component|Invalid RFC3339.*"), lambda _: _INSTANT),
)


def explained(error: Exception, whole: str) -> InvalidInput:
    """Return what an error of the decoder means; ``whole`` is what is named where no single field is wrong."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return InvalidInput.of(whole, f"this is not valid JSON: {text[:200]}")
    match = _AT.fullmatch(text)
    message, path = (match["message"], match["path"] or "$") if match else (text, "$")
    field = path.removeprefix("$").removeprefix(".")
    named = _FIELD.search(message)
    if named is not None:
        field = f"{field}.{named['name']}" if field else named["name"]
        return InvalidInput.of(field, "this field is unknown" if "unknown" in message else "this field is needed")
    plain = _plainly(message, field.rpartition(".")[2].partition("[")[0])
    return InvalidInput.of(field or whole, f"a name in it {plain}" if match and match["key"] else plain)


def _plainly(message: str, name: str) -> str:
    if "matching regex" in message and name in _PATTERNS:
        return _PATTERNS[name]
    if message.startswith("Invalid enum value") and name in _CHOICES:
        return f"{message.removeprefix('Invalid enum value ')} is not one of {', '.join(_CHOICES[name])}"
    for rule, plain in _RULES:
        if match := rule.fullmatch(message):
            return plain(match)
    return message[:1].lower() + message[1:]
