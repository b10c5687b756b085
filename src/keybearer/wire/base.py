"""What all wire types share: strictness, bounded strings, and instants as RFC 3339 text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..core.instant import Instant


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """A body that callers send: unknown fields are refused."""


class Response(msgspec.Struct):
    """A body that Keybearer sends."""


Name = Annotated[str, Meta(min_length=1, max_length=200)]
Id = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=1000)]
Tag = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,64}$")]
LimitName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
PermissionText = Annotated[str, Meta(min_length=1, max_length=128)]
Metadata = dict[Annotated[str, Meta(min_length=1, max_length=64)], Any]
Seconds = Annotated[int, Meta(ge=1, le=315_360_000)]
SecondsOrZero = Annotated[int, Meta(ge=0, le=315_360_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Amount = Annotated[int, Meta(ge=0, le=1_000_000_000_000)]
Moment = Annotated[datetime, Meta(tz=True)]


def to_moment(at: Instant | None) -> datetime | None:
    """Return an instant as an aware UTC datetime, which travels as RFC 3339."""
    return None if at is None else datetime.fromtimestamp(at / 1_000_000, UTC)


def moment(at: Instant) -> datetime:
    """Return an instant that is always there as an aware UTC datetime."""
    return datetime.fromtimestamp(at / 1_000_000, UTC)


def to_instant(value: datetime) -> Instant:
    """Return an aware datetime in microseconds since the epoch."""
    delta = value - datetime(1970, 1, 1, tzinfo=UTC)
    return Instant((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds)
