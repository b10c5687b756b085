"""One request to Keybearer as a value: what to send, and what the answer means. Nothing here does I/O."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from ..core.secret import Secret

T = TypeVar("T")
Duration = int | timedelta
"""Whole seconds, or a ``timedelta``."""
Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and the type ``T`` that its answer decodes to.

    ``idempotent`` calls may be sent again when it is unknown whether they arrived, and so may those with an
    ``idempotency_key``. ``check`` has the last word on an answer; it may raise. With ``fail_closed`` whatever goes
    wrong is ``Unreachable``. The body is not in the ``repr``: it may hold a credential.
    """

    method: str
    path: str
    response: Any
    query: Query = ()
    body: msgspec.Struct | None = field(default=None, repr=False)
    idempotent: bool = False
    idempotency_key: str | None = None
    check: Callable[[T], T] | None = None
    fail_closed: bool = False

    def undecoded(self) -> Call[msgspec.Raw]:
        """Return the same request, answered with the JSON as the server wrote it."""
        return replace(self, response=msgspec.Raw, check=None)  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Pages(Generic[T]):
    """A list of items that comes page by page; ``first`` asks for the first page."""

    first: Call[Any]

    def after(self, cursor: str) -> Call[Any]:
        """Return the request for the page that begins at a cursor."""
        kept = tuple(pair for pair in self.first.query if pair[0] != "cursor")
        return replace(self.first, query=(*kept, ("cursor", cursor)))


@dataclass(frozen=True, slots=True)
class Stream(Generic[T]):
    """A request whose body and answer are JSON lines; ``is_last`` knows the line that ends a whole answer."""

    path: str
    response: Any
    lines: Iterable[bytes] = field(repr=False)
    is_last: Callable[[T], bool]
    query: Query = ()


def segment(text: str) -> str:
    """Return one percent-encoded segment of a path, so that an id from elsewhere cannot name another path."""
    if text in ("", ".", ".."):
        raise ValueError("an id may not be empty, '.' or '..'")
    return quote(text, safe="")


def query(**parameters: str | int | bool | datetime | list[str] | None) -> Query:
    """Return the query of the parameters that are not ``None``; a list is joined with commas."""
    return tuple((name, _text(value)) for name, value in parameters.items() if value is not None)


def _text(value: str | int | bool | datetime | list[str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone, such as datetime.now(UTC)")
        return value.isoformat()
    return ",".join(value) if isinstance(value, list) else str(value)


def seconds(value: Duration | None) -> int | None:
    """Return a duration in whole seconds, rounded up."""
    if isinstance(value, timedelta):
        return -int(-value.total_seconds() // 1)
    return value


def once(idempotency_key: str | None) -> str:
    """Return the ``Idempotency-Key`` of a call, a fresh one unless given: the same call sent twice is done once."""
    return idempotency_key or secrets.token_urlsafe(24)


def revealed(value: str | Secret) -> str:
    """Return the text of a credential that goes into a body."""
    return value.reveal() if isinstance(value, Secret) else value


def listed(values: Iterable[T]) -> list[T]:
    """Return the list that a call carries. One text is no list of texts, though Python would take it for one."""
    if isinstance(values, str):
        raise TypeError(f"a list is expected, not a text: write [{values!r}]")
    return [*values]


def encode_body(body: msgspec.Struct) -> bytes:
    """Return the JSON of a body without the fields that have their defaults, which an older server may not know."""
    given: dict[str, Any] = {}
    for item in msgspec.structs.fields(body):
        value = getattr(body, item.name)
        default = item.default_factory() if item.default_factory is not msgspec.NODEFAULT else item.default
        if value is not msgspec.UNSET and (default is msgspec.NODEFAULT or value != default):
            given[item.encode_name] = value
    return msgspec.json.encode(given)
