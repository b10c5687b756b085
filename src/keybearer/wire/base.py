"""What all wire types share: strictness, bounded strings, and instants as RFC 3339 text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

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
# "(?!\n)": Python's "$" also stands before a last newline, which no name may have.
Tag = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,64}$(?!\n)")]
LimitName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$(?!\n)")]
PermissionText = Annotated[str, Meta(min_length=1, max_length=128)]
Metadata = dict[Annotated[str, Meta(min_length=1, max_length=64)], Any]
Seconds = Annotated[int, Meta(ge=1, le=315_360_000)]
SecondsOrZero = Annotated[int, Meta(ge=0, le=315_360_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Amount = Annotated[int, Meta(ge=0, le=1_000_000_000_000)]
Moment = Annotated[datetime, Meta(tz=True)]


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_moment(at: Instant | None) -> datetime | None:
    """Return an instant as an aware UTC datetime, which travels as RFC 3339."""
    return None if at is None else moment(at)


def moment(at: Instant) -> datetime:
    """Return an instant that is always there as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=at)


def to_instant(value: datetime) -> Instant:
    """Return an aware datetime in microseconds since the epoch; what lies outside the years 1 to 9999 in UTC counts as
    their first or last moment.
    """
    return Instant(max(_FIRST, min((value - _EPOCH) // _MICROSECOND, _LAST)))


_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
