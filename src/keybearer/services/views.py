"""Records as they travel: the part that every view has, and lookups by id or identifier."""

from __future__ import annotations

from typing import Any, Protocol

from ..core.errors import NotFound
from ..core.records import API_ID, Api, R, Record
from ..ports import Query
from ..wire.base import moment, to_moment
from .text import MAX_SHOWN


class Reader(Protocol):
    """A store, or a transaction of it."""

    async def get(self, kind: type[R], record_id: str) -> R:
        """Return a record; raises ``NotFound``."""
        ...

    async def page(self, kind: type[R], query: Query) -> tuple[R, ...]:
        """Return records in order of id."""
        ...


def record_fields(record: Record) -> dict[str, Any]:
    """Return what every view shows of a record."""
    return {
        "id": record.id,
        "state": record.state,
        "revision": record.revision,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
        "deleted_at": to_moment(record.deleted_at),
    }


async def find_api(reader: Reader, reference: str) -> Api:
    """Return an API by its id or identifier; raises ``NotFound``."""
    if reference.startswith(API_ID):
        return await reader.get(Api, reference)
    found = await reader.page(Api, Query({"identifier": reference}, limit=1))
    if not found:
        raise NotFound("API", reference[:MAX_SHOWN])
    return found[0]
