"""Removing what has expired, in small batches, so that growth is bounded and no writer waits long.

Each step is a transaction of its own, and removes at most a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from ..core.clients import Client
from ..core.credential import first_id_at
from ..core.grants import Grant
from ..core.incidents import Incident
from ..core.instant import DAY, HOUR, MINUTE, Instant
from ..core.leaks import LeakPolicy
from ..core.lifecycle import UNDELETE_IN
from ..core.records import ApiKey, Identity, Project, Record
from ..core.sessions import Session as UserSession
from ..core.tokens import TOKEN_ID
from ..core.users import Factors, Link, User
from ..core.webhooks import Delivery, Webhook
from . import recordkeeping
from .session import Session
from .tables import TABLES, Table
from .usage import ADD_HOUR

KEEP_RESPONSES_IN: Final = DAY
KEEP_CHARGES_IN: Final = DAY
KEEP_EVENTS_IN: Final = 7 * DAY
KEEP_MINUTES_IN: Final = 30 * DAY
KEEP_FACETS_IN: Final = 90 * DAY
KEEP_HOURS_IN: Final = 400 * DAY
KEEP_COUNTERS_IN: Final = DAY
"""Counters outlive their window, so that a clock which jumps ahead and comes back does not find a fresh quota."""

KEEP_TOKENS_IN: Final = HOUR
"""An access token that is gone is refused like one that has expired."""
KEEP_ARTEFACTS_IN: Final = HOUR
KEEP_REVOCATIONS_IN: Final = DAY
"""Longer than any clock is wrong: without it, a revoked JWT would be good again while a clock is set back."""
KEEP_FAMILIES_IN: Final = DAY
KEEP_SUCCESSORS_IN: Final = HOUR
"""Far longer than any grace. Without its successor, a family takes the token before the newest for a stolen one."""
KEEP_ENDED_IN: Final = 30 * DAY
"""How long one can still look at a session or a grant that has ended, and at a message that was settled."""
KEEP_INCIDENTS_IN: Final = 400 * DAY
"""How long one can still look at an incident that was resolved."""

Step = Callable[[Session, Instant, int], Awaitable[int]]

_MINUTE_COLUMNS: Final = "minute, project_id, key_id, api_id, code"


def _expired(table: str, key: str, condition: str, keep_in: int) -> Step:
    """Return the step that removes rows of one table whose time is over."""
    columns = f"({key})" if "," in key else key
    statement = (
        f"DELETE FROM {table} WHERE {columns} IN "  # noqa: S608
        f"(SELECT {key} FROM {table} WHERE {condition} <= ? LIMIT ?)"
    )

    async def step(session: Session, now: Instant, batch: int) -> int:
        return await session.execute(statement, now - keep_in, batch)

    return step


def _old_hours(table: str, key: str, keep_in: int) -> Step:
    statement = f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE hour < ? LIMIT ?)"  # noqa: S608

    async def step(session: Session, now: Instant, batch: int) -> int:
        return await session.execute(statement, (now - keep_in) // HOUR, batch)

    return step


async def _expired_tokens(session: Session, now: Instant, batch: int) -> int:
    """Remove the access tokens that expired first: one range at the lower end of the table (``new_expiring_id``)."""
    end = TOKEN_ID + first_id_at(Instant(now - KEEP_TOKENS_IN))
    row = await session.fetch_one("SELECT id FROM access_tokens WHERE id < ? ORDER BY id LIMIT 1 OFFSET ?", end, batch)
    return await session.execute("DELETE FROM access_tokens WHERE id < ?", end if row is None else row[0])


def _ended(table: Table, keep_in: int = KEEP_ENDED_IN) -> Step:
    """Return the step that removes records which ended by themselves or were revoked long ago."""
    statement = f"SELECT id FROM {table.name} WHERE ends_at <= ? LIMIT ?"  # noqa: S608

    async def step(session: Session, now: Instant, batch: int) -> int:
        rows = await session.fetch(statement, now - keep_in, batch)
        for (record_id,) in rows:
            await recordkeeping.remove(session, table, record_id)
        return len(rows)

    return step


async def _old_events(session: Session, now: Instant, batch: int) -> int:
    """Remove the oldest events, and never from the middle: the log stays dense even if the clock jumped."""
    rows = await session.fetch("SELECT seq, at FROM events ORDER BY seq LIMIT ?", batch)
    last = None
    for seq, at in rows:
        if at > now - KEEP_EVENTS_IN:
            break
        last = seq
    return 0 if last is None else await session.execute("DELETE FROM events WHERE seq <= ?", last)


async def _old_minutes(session: Session, now: Instant, batch: int) -> int:
    """Roll old minutes into hours. The rows are locked first, so that two nodes never roll one row twice."""
    rows = await session.fetch(
        f"SELECT {_MINUTE_COLUMNS}, n FROM usage_minutes WHERE minute < ? "  # noqa: S608
        f"ORDER BY {_MINUTE_COLUMNS} LIMIT ?{session.for_update}",
        (now - KEEP_MINUTES_IN) // MINUTE,
        batch,
    )
    sums: Counter[tuple[int, str, str, str, str]] = Counter()
    for minute, project_id, key_id, api_id, code, n in rows:
        sums[minute * MINUTE // HOUR, project_id, key_id, api_id, code] += n
    if rows:
        await session.execute_many(ADD_HOUR, [(*key, n) for key, n in sorted(sums.items())])
        await session.execute_many(
            "DELETE FROM usage_minutes WHERE minute = ? AND project_id = ? AND key_id = ? AND api_id = ? AND code = ?",
            [tuple(row)[:5] for row in rows],
        )
    return len(rows)


PARENTS: Final[Mapping[type[Record], Sequence[tuple[type[Record], str]]]] = {
    ApiKey: ((Project, "project_id"), (Identity, "identity_id")),
    Identity: ((Project, "project_id"),),
    Client: ((Project, "project_id"),),
    Grant: ((User, "user_id"), (Client, "client_id"), (Project, "project_id")),
    Factors: ((User, "user_id"),),
    Link: ((User, "user_id"),),
    UserSession: ((User, "user_id"),),
    Webhook: ((Project, "project_id"),),
    Delivery: ((Webhook, "webhook_id"), (Project, "project_id")),
    Incident: ((Project, "project_id"),),
    LeakPolicy: ((Project, "project_id"),),
}
"""With which records a record goes, and by which of its fields it belongs to them."""


def _forgotten(table: Table) -> Step:
    """Return the step that removes records which can no longer be brought back (``lifecycle.is_forgotten``).

    What belongs to such a record goes with it, and first; a plan stays for as long as anything has it, since a project
    that loses its plan would lose its limits.
    """
    candidates = f"SELECT id FROM {table.name} WHERE deleted_at <= ?"  # noqa: S608
    for parent, column in PARENTS.get(table.kind, ()):
        candidates += (
            f" UNION SELECT c.id FROM {table.name} c JOIN {TABLES[parent].name} p ON p.id = c.{column} "  # noqa: S608
            "WHERE p.deleted_at <= ?"
        )
    for referrer, column in table.referrers:
        candidates = (
            f"SELECT id FROM ({candidates}) AS c "  # noqa: S608
            f"WHERE NOT EXISTS (SELECT 1 FROM {referrer} r WHERE r.{column} = c.id)"
        )
    statement = candidates + " LIMIT ?"
    arguments = 1 + len(PARENTS.get(table.kind, ()))

    async def step(session: Session, now: Instant, batch: int) -> int:
        rows = await session.fetch(statement, *([now - UNDELETE_IN] * arguments), batch)
        for (record_id,) in rows:
            await recordkeeping.remove(session, table, record_id)
        return len(rows)

    return step


STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("responses", _expired("responses", "actor, idempotency_key", "created_at", KEEP_RESPONSES_IN)),
    ("charges", _expired("charges", "key_id, request_id", "at", KEEP_CHARGES_IN)),
    ("events", _old_events),
    (
        "quota_counters",
        _expired("quota_counters", "owner, name, per, starts_at", "ends_at", KEEP_COUNTERS_IN),
    ),
    ("usage_minutes", _old_minutes),
    ("usage_hours", _old_hours("usage_hours", "hour, project_id, key_id, api_id, code", KEEP_HOURS_IN)),
    ("facet_hours", _old_hours("facet_hours", "hour, facet, project_id, key_id, value, code", KEEP_FACETS_IN)),
    ("access_tokens", _expired_tokens),
    ("revoked_tokens", _expired("revoked_tokens", "id", "expires_at", KEEP_REVOCATIONS_IN)),
    ("artefacts", _expired("artefacts", "kind, id", "expires_at", KEEP_ARTEFACTS_IN)),
    ("token_successors", _expired("token_successors", "family_id", "rotated_at", KEEP_SUCCESSORS_IN)),
    ("token_families", _expired("token_families", "id", "ends_at", KEEP_FAMILIES_IN)),
    ("sessions", _ended(TABLES[UserSession])),
    ("grants", _ended(TABLES[Grant])),
    ("webhook_deliveries", _ended(TABLES[Delivery])),
    ("incidents", _ended(TABLES[Incident], KEEP_INCIDENTS_IN)),
    *((table.name, _forgotten(table)) for table in TABLES.values()),
)
"""Every step by the table it sweeps. Keys, and other records that refer to some, go before what they refer to."""
