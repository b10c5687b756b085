"""Reading and writing records through a session, the hot join of a key with all it depends on included."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, cast

from ..core.clients import Client
from ..core.errors import Conflict, NotFound
from ..core.grants import Grant
from ..core.instant import Instant
from ..core.records import Api, ApiKey, Identity, KeyRecord, Plan, Project, R, Record, State, key_record
from ..core.webhooks import Delivery, DeliveryStatus
from ..ports import Query
from .session import Row, Session, marks, padded
from .tables import TABLES, Table, check_query, decode, encode, own_values, page_statement

_JOINED: Final = """
SELECT h.head, k.body, p.body, i.body, l.body, k.foreign_lookup
FROM api_keys k
JOIN projects p ON p.id = k.project_id
LEFT JOIN identities i ON i.id = k.identity_id
LEFT JOIN plans l ON l.id = COALESCE(k.plan_id, p.plan_id)
CROSS JOIN heads h
WHERE """

FIND: Final = _JOINED + "k.id = ?"


def find_foreign_statement(count: int) -> str:
    """Return the join by ``count`` lookups of imported keys."""
    return f"{_JOINED}k.foreign_lookup IN ({marks(count)})"


_SHARED: Final = frozenset((Api, Project, Plan, Client))


@lru_cache(1024)
def read_shared(kind: Any, body: str) -> Any:
    """Decode what many keys share, once: equal bodies are equal records, and records are frozen."""
    return decode(kind, body)


def joined(row: Row) -> KeyRecord:
    """Return the record that one row of the join holds."""
    head, key, project, identity, plan, _ = row
    return key_record(
        head,
        decode(ApiKey, key),
        read_shared(Project, project),
        None if identity is None else decode(Identity, identity),
        None if plan is None else read_shared(Plan, plan),
    )


def first_joined(rows: Sequence[Row], lookups: Sequence[str]) -> KeyRecord | None:
    """Return the record whose lookup comes first among those asked for."""
    if not rows:
        return None
    return joined(min(rows, key=lambda row: lookups.index(row[5])))


async def find(session: Session, key_id: str) -> KeyRecord | None:
    """Return a key with all it depends on, from one snapshot."""
    row = await session.fetch_one(FIND, key_id)
    return None if row is None else joined(row)


async def find_foreign(session: Session, lookups: Sequence[str]) -> KeyRecord | None:
    """Return the imported key that one of these lookups names."""
    if not lookups:
        return None
    asked = padded(lookups)
    return first_joined(await session.fetch(find_foreign_statement(len(asked)), *asked), lookups)


async def get(session: Session, kind: type[R], record_id: str, lock: str = "") -> R:
    """Return a record; ``lock`` is what the SELECT appends."""
    return found(kind, record_id, await session.fetch_one(TABLES[kind].get + lock, record_id))


def found(kind: type[R], record_id: str, row: Row | None) -> R:
    """Return the record that a row of ``Table.get`` holds; raises ``NotFound`` without one."""
    if row is None:
        raise NotFound(TABLES[kind].noun, record_id)
    if kind in _SHARED:
        return cast("R", read_shared(cast("Any", kind), row[0]))
    return decode(kind, row[0])


async def page(session: Session, kind: type[R], query: Query) -> tuple[R, ...]:
    """Return records in order of id."""
    table = check_query(kind, query)
    fields = tuple(sorted(query.where))
    arguments: list[object] = [query.where[field] for field in fields]
    if query.after is not None:
        arguments.append(query.after)
    rows = await session.fetch(page_statement(table, fields, query.after is not None), *arguments, query.limit)
    return tuple(decode(kind, row[0]) for row in rows)


async def insert(session: Session, record: Record) -> None:
    """Add a record; raises ``Conflict`` when its id or its unique field is taken."""
    table = TABLES[type(record)]
    common = (record.id, record.state, record.revision, record.deleted_at)
    if not await session.insert(table.insert, (*common, *own_values(table, record), encode(record))):
        raise Conflict(
            f"There already is such an {table.noun}."
            if table.noun[0] in "Ai"
            else f"There already is such a {table.noun}."
        )
    if isinstance(record, ApiKey):
        await _add_tags(session, record)


async def update(session: Session, record: Record) -> None:
    """Replace a record; raises ``Conflict`` unless the stored revision is the one before."""
    table = TABLES[type(record)]
    changed = await session.execute(
        table.update,
        record.state,
        record.revision,
        record.deleted_at,
        *own_values(table, record),
        encode(record),
        record.id,
        record.revision - 1,
    )
    if not changed:
        raise Conflict(f"The {table.noun} {record.id!r} changed meanwhile.")
    if isinstance(record, ApiKey):
        await session.execute("DELETE FROM key_tags WHERE key_id = ?", record.id)
        await _add_tags(session, record)


async def _add_tags(session: Session, key: ApiKey) -> None:
    if key.tags:
        rows = [(tag, key.id) for tag in sorted(set(key.tags))]
        await session.execute_many("INSERT INTO key_tags (tag, key_id) VALUES (?, ?)", rows)


async def forget(session: Session, kind: type[R], record_id: str) -> None:
    """Remove a deleted record for good, with its credits, counters and last use."""
    table = TABLES[kind]
    row = await session.fetch_one(
        f"SELECT state FROM {table.name} WHERE id = ?{session.for_update}",  # noqa: S608
        record_id,
    )
    if row is None:
        return
    if row[0] != State.DELETED:
        raise Conflict(f"The {table.noun} {record_id!r} is not deleted, so it cannot be forgotten.")
    if await is_referred_to(session, table, record_id):
        raise Conflict(f"Other records still refer to the {table.noun} {record_id!r}.")
    await remove(session, table, record_id)


async def is_referred_to(session: Session, table: Table, record_id: str) -> bool:
    """Tell whether other records would be left without this one."""
    for referrer, column in table.referrers:
        if await session.fetch_one(f"SELECT 1 FROM {referrer} WHERE {column} = ? LIMIT 1", record_id):  # noqa: S608
            return True
    return False


async def remove(session: Session, table: Table, record_id: str) -> None:
    """Remove a record and all that is kept for it alone."""
    await session.execute(f"DELETE FROM {table.name} WHERE id = ?", record_id)  # noqa: S608
    if table.kind in (ApiKey, Client):
        await session.execute("DELETE FROM key_uses WHERE key_id = ?", record_id)
        await session.execute("DELETE FROM charges WHERE key_id = ?", record_id)
    for owner in owners(table.kind, record_id):
        await session.execute("DELETE FROM credits WHERE owner = ?", owner)
        await session.execute("DELETE FROM quota_counters WHERE owner = ?", owner)


def owners(kind: type[Record], record_id: str) -> tuple[str, ...]:
    """Return the names under which a record's credits and counters are kept (``key_record``, ``token_record``)."""
    if kind is ApiKey:
        return (f"key:{record_id}", f"key:{record_id}/plan")
    for other, name in ((Identity, "identity"), (Client, "client"), (Grant, "grant")):
        if kind is other:
            return (f"{name}:{record_id}",)
    return (f"project:{record_id}",) if kind is Project else ()


async def retiring_keys(session: Session, limit: int, now: Instant) -> tuple[ApiKey, ...]:
    """Return keys that have a version on its way out."""
    rows = await session.fetch(
        "SELECT body FROM api_keys WHERE retires_at > ? ORDER BY retires_at, id LIMIT ?", now, limit
    )
    return tuple(decode(ApiKey, row[0]) for row in rows)


async def due_deliveries(session: Session, now: Instant, limit: int) -> tuple[Delivery, ...]:
    """Return messages that wait and are due."""
    rows = await session.fetch(
        "SELECT body FROM webhook_deliveries WHERE status = ? AND due_at <= ? ORDER BY due_at, id LIMIT ?",
        DeliveryStatus.WAITING.value,
        now,
        limit,
    )
    return tuple(decode(Delivery, row[0]) for row in rows)
