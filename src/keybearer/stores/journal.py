"""The two logs that only grow: events with a dense sequence, and the hash-chained audit log.

Both heads are one row. A transaction locks it last, at its end, and only when it has something to append, so that works
which append nothing never wait for each other here. Works that share a transaction are appended together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from ..core.audit_chain import AuditDraft, AuditEntry, link
from ..core.errors import InvalidInput
from ..core.instant import Instant
from ..ports import Event
from .session import Happening, Ready, Row, Session
from .storable import encode_json, require_storable

READ_HEAD: Final = "SELECT head FROM heads"
READ_EVENTS: Final = "SELECT seq, at, type, subject FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
_ADVANCE: Final = (
    "UPDATE heads SET head = head + ?, audit_head = audit_head + ? WHERE one = 1 "
    "RETURNING head, audit_head, audit_digest"
)
_AUDIT_COLUMNS: Final = "seq, at, actor, action, target, outcome, project_id, source, request_id, details, digest"
_ADD_AUDIT: Final = f"INSERT INTO audit_log ({_AUDIT_COLUMNS}) VALUES ({', '.join('?' * 11)})"  # noqa: S608
_DECODER: Final = msgspec.json.Decoder()
AUDIT_FIELDS: Final = frozenset(("actor", "action", "target", "project_id"))


def settled(draft: AuditDraft) -> Ready:
    """Return the draft as it will be read back, and its details as JSON: only then does its digest hold for ever.

    Tuples become lists, keys become text, and what JSON cannot say becomes null before it is hashed, not after.
    """
    details = encode_json(draft.details, "details")
    return Ready(
        AuditDraft(
            *(draft.at, draft.actor, draft.action, draft.target, draft.outcome, draft.project_id, draft.source),
            request_id=draft.request_id,
            details=_DECODER.decode(details),
        ),
        details,
    )


async def append(
    session: Session, audit_key: bytes, events: Sequence[tuple[str, str]], drafts: Sequence[AuditDraft], now: Instant
) -> None:
    """Append events (type, subject) and audit drafts at the end of a work."""
    if events or drafts:
        happenings = [Happening(now, event_type, subject) for event_type, subject in events]
        audits = [settled(draft) for draft in drafts]
        for row in chain(happenings, (ready.columns for ready in audits)):
            require_storable(row)
        await session.log(audit_key, happenings, audits)


async def write(session: Session, audit_key: bytes, events: Sequence[Happening], audits: Sequence[Ready]) -> None:
    """Give events and audit entries their places, and write them."""
    row = await session.fetch_one(_ADVANCE, len(events), len(audits))
    if row is None:
        raise RuntimeError("the row of heads is missing")
    head, audit_head, digest = row
    if events:
        await session.execute_many(
            "INSERT INTO events (seq, at, type, subject) VALUES (?, ?, ?, ?)",
            [(seq, *happening) for seq, happening in enumerate(events, head - len(events) + 1)],
        )
        session.note_head(head)
    if audits:
        rows: list[Row] = []
        for seq, ready in enumerate(audits, audit_head - len(audits) + 1):
            digest = link(audit_key, digest, seq, ready.draft)
            rows.append((seq, *ready.columns, digest))
        await session.execute_many(_ADD_AUDIT, rows)
        await session.execute("UPDATE heads SET audit_digest = ? WHERE one = 1", digest)


def event(row: Row) -> Event:
    """Return the event that a row holds."""
    return Event(*row)


async def head(session: Session) -> int:
    """Return the sequence of the newest event."""
    row = await session.fetch_one(READ_HEAD)
    return 0 if row is None else int(row[0])


async def events(session: Session, after: int, limit: int) -> tuple[Event, ...]:
    """Return events in order, without gaps."""
    return tuple(event(row) for row in await session.fetch(READ_EVENTS, after, limit))


async def audit_page(
    session: Session, after: int, limit: int, where: Mapping[str, str] | None, *, newest_first: bool
) -> tuple[AuditEntry, ...]:
    """Return audit entries of the chain."""
    check_audit_fields(where)
    fields = sorted(where or ())
    conditions = [f"{field} = ?" for field in fields]
    arguments: list[Any] = [(where or {})[field] for field in fields]
    if after or not newest_first:
        conditions.append("seq < ?" if newest_first else "seq > ?")
        arguments.append(after)
    rows = await session.fetch(
        f"SELECT {_AUDIT_COLUMNS} FROM audit_log"  # noqa: S608
        + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
        + f" ORDER BY seq {'DESC' if newest_first else 'ASC'} LIMIT ?",
        *arguments,
        limit,
    )
    return tuple(_audit_entry(row) for row in rows)


def check_audit_fields(where: Mapping[str, str] | None) -> None:
    """Raise ``InvalidInput`` for a field that the audit log cannot be searched by."""
    for field in where or ():
        if field not in AUDIT_FIELDS:
            raise InvalidInput.of(field, f"cannot be searched; one of {', '.join(sorted(AUDIT_FIELDS))} can")


def _audit_entry(row: Row) -> AuditEntry:
    seq, at, actor, action, target, outcome, project_id, source, request_id, details, digest = row
    draft = AuditDraft(
        at=at,
        actor=actor,
        action=action,
        target=target,
        outcome=outcome,
        project_id=project_id,
        source=source,
        request_id=request_id,
        details=msgspec.json.decode(details),
    )
    return AuditEntry(seq, draft, bytes(digest))
