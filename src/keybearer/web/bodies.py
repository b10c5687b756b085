"""Request bodies: strict JSON of a bounded size, with errors that name the field."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from ..core.errors import InvalidInput
from ..wire.repeated_keys import check_keys, may_repeat_a_key
from .problem import HttpProblem

T = TypeVar("T")

_PLAIN: Final = (b"content-type", b"application/json")
_AT: Final = re.compile(r"^(?P<message>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_EXAMPLES: Final = {
    "identifier": "write a URI such as 'https://orders.example.com' or 'urn:example:orders'",
    "key_header": "write the name of a header such as 'x-api-key'",
    "brand": "write 2 to 16 lower-case letters and digits, a letter first",
    "name": "write lower-case letters, digits, '.', '_' or '-', such as 'requests'",
    "certificate_sha256": "write the SHA-256 of the signing certificate in hex",
    "methods": "write methods in capitals, such as 'GET'",
}
"""What to write where a pattern did not match: a regular expression explains nothing to most people."""
_FIELD: Final = re.compile(r"field `(?P<name>[^`]*)`")


def decode_json(
    decoder: msgspec.json.Decoder[T], headers: Sequence[tuple[bytes, bytes]], body: bytes, *, is_hot: bool = False
) -> T:
    """Return the decoded body.

    Raises ``InvalidInput`` naming the field, and ``HttpProblem`` 415 for another media type. An object that has one key
    twice is refused, because two readers could take different values.
    """
    media_type = b"application/json"
    if _PLAIN not in headers:
        media_type = next((value for name, value in headers if name == b"content-type"), media_type)
    if media_type != b"application/json" and media_type.partition(b";")[0].strip().lower() != b"application/json":
        raise HttpProblem(415, "Send the body as 'Content-Type: application/json'.")
    if not body:
        raise InvalidInput.of("body", "a JSON object is expected")
    if not is_hot or may_repeat_a_key(body):
        check_keys(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput.of("body", f"this is not valid JSON: {str(error)[:200]}") from None


def _invalid(text: str) -> InvalidInput:
    """Turn msgspec's ``Object contains unknown field `x` - at `$.a[0]``` into a problem of the field ``a[0].x``."""
    match = _AT.match(text)
    message, path = (match["message"], match["path"] or "$") if match else (text, "$")
    field = path.removeprefix("$").removeprefix(".")
    named = _FIELD.search(message)
    if named is not None:
        field = f"{field}.{named['name']}" if field else named["name"]
        message = "this field is unknown" if "unknown" in message else "this field is needed"
    if "matching regex" in message:
        message = _EXAMPLES.get(field.rpartition(".")[2].partition("[")[0], message)
    return InvalidInput.of(field or "body", message[:1].lower() + message[1:])
