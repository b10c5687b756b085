"""Request bodies: strict JSON of a bounded size, with errors that name the field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from ..core.errors import InvalidInput
from ..wire.plain_words import explained
from ..wire.repeated_keys import check_keys, may_repeat_a_key
from .problem import HttpProblem

T = TypeVar("T")

_PLAIN: Final = (b"content-type", b"application/json")


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
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise explained(error, "body") from None
