"""Removing what has expired from memory, and records for good, by the rules of ``sweeping.py``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from ..core.clients import Client
from ..core.credential import first_id_at
from ..core.grants import Grant
from ..core.incidents import Incident
from ..core.instant import DAY, HOUR, MINUTE, Instant
from ..core.lifecycle import is_forgotten
from ..core.records import ApiKey, Record
from ..core.sessions import Session
from ..core.tokens import TOKEN_ID
from ..core.webhooks import Delivery
from ..ports import Swept
from .memory_tables import MemoryTables
from .recordkeeping import owners
from .sweeping import (
    KEEP_ARTEFACTS_IN,
    KEEP_COUNTERS_IN,
    KEEP_ENDED_IN,
    KEEP_EVENTS_IN,
    KEEP_FACETS_IN,
    KEEP_FAMILIES_IN,
    KEEP_HOURS_IN,
    KEEP_INCIDENTS_IN,
    KEEP_MINUTES_IN,
    KEEP_REVOCATIONS_IN,
    KEEP_SUCCESSORS_IN,
    KEEP_TOKENS_IN,
    PARENTS,
)
from .tables import TABLES, ends_at
from .token_rows import ends_at as family_ends_at

_ENDING: tuple[tuple[type[Record], int], ...] = (
    (Session, KEEP_ENDED_IN),
    (Grant, KEEP_ENDED_IN),
    (Delivery, KEEP_ENDED_IN),
    (Incident, KEEP_INCIDENTS_IN),
)
"""The records that end by themselves, and how long they are kept then."""


class _Sweep:
    """One sweep: what it removed, and where it stopped."""

    def __init__(self, now: Instant, batch: int, names: Collection[str] | None) -> None:
        self.now, self._batch, self._names = now, batch, names
        self.removed: dict[str, int] = {}
        self.more: set[str] = set()

    def some(self, name: str, expired: Iterable[Any]) -> list[Any]:
        """Return what to remove now of all that has expired, and note how many that is."""
        if self._names is not None and name not in self._names:
            return []
        found = list(expired)[: self._batch]
        self.removed[name] = self.removed.get(name, 0) + len(found)
        if len(found) == self._batch:
            self.more.add(name)
        return found

    def drop(self, name: str, table: dict[Any, Any], expired: Iterable[Any]) -> None:
        """Remove entries."""
        for key in self.some(name, expired):
            del table[key]


def sweep(tables: MemoryTables, now: Instant, batch: int, names: Collection[str] | None) -> Swept:
    """Remove what has expired, at most a batch per table."""
    run = _Sweep(now, batch, names)
    _sweep_logs(tables, run)
    _sweep_tokens(tables, run)
    for kind, keep_in in (*_ENDING, *((kind, None) for kind in TABLES)):
        found = tables.records[kind].values()
        if keep_in is not None:
            gone = [one.id for one in found if (end := ends_at(one)) is not None and end <= now - keep_in]
        else:
            gone = [one.id for one in found if _is_gone(tables, one, now) and not referred(tables, one)]
        for record_id in run.some(TABLES[kind].name, gone):
            remove(tables, kind, record_id)
    return Swept({table: n for table, n in run.removed.items() if n}, frozenset(run.more))


def _sweep_logs(tables: MemoryTables, run: _Sweep) -> None:
    now = run.now
    run.drop("responses", tables.responses, [k for k, kept in tables.responses.items() if kept.created_at <= now - DAY])
    run.drop("charges", tables.charges, [key for key, kept in tables.charges.items() if kept.at <= now - DAY])
    old: list[int] = []
    for seq in sorted(tables.events):
        if tables.events[seq].at > now - KEEP_EVENTS_IN:
            break
        old.append(seq)
    run.drop("events", tables.events, old)
    counters = tables.counters
    run.drop("quota_counters", counters, [k for k, kept in counters.items() if kept.ends_at <= now - KEEP_COUNTERS_IN])
    for key in run.some("usage_minutes", sorted(k for k in tables.minutes if k[0] < (now - KEEP_MINUTES_IN) // MINUTE)):
        minute, project_id, key_id, api_id, code = key
        hour = (minute // 60, project_id, key_id, api_id, code)
        tables.hours[hour] = tables.hours.get(hour, 0) + tables.minutes[key]
        del tables.minutes[key]
    run.drop("usage_hours", tables.hours, [key for key in tables.hours if key[0] < (now - KEEP_HOURS_IN) // HOUR])
    run.drop("facet_hours", tables.facets, [key for key in tables.facets if key[0] < (now - KEEP_FACETS_IN) // HOUR])


def _sweep_tokens(tables: MemoryTables, run: _Sweep) -> None:
    now = run.now
    end = TOKEN_ID + first_id_at(Instant(now - KEEP_TOKENS_IN))
    run.drop("access_tokens", tables.tokens, sorted(token_id for token_id in tables.tokens if token_id < end))
    revoked, artefacts, families = tables.revoked, tables.artefacts, tables.families
    run.drop("revoked_tokens", revoked, [key for key, end in revoked.items() if end <= now - KEEP_REVOCATIONS_IN])
    run.drop("artefacts", artefacts, [k for k, one in artefacts.items() if one.expires_at <= now - KEEP_ARTEFACTS_IN])
    old = [one for one in families.values() if one.rotated_at <= now - KEEP_SUCCESSORS_IN]
    for family in run.some("token_successors", [one for one in old if one.previous_digest or one.sealed_successor]):
        families[family.id] = replace(family, previous_digest=b"", sealed_successor=b"")
    ended = [key for key, one in families.items() if family_ends_at(one) <= now - KEEP_FAMILIES_IN]
    run.drop("token_families", families, ended)


def _is_gone(tables: MemoryTables, record: Record, now: Instant) -> bool:
    parents: list[Record] = []
    for parent, column in PARENTS.get(type(record), ()):
        if (parent_id := getattr(record, column)) is not None:
            parents.append(tables.records[parent][parent_id])
    return any(is_forgotten(one, now) for one in (record, *parents))


def referred(tables: MemoryTables, record: Record) -> bool:
    """Tell whether other records would be left without this one."""
    kinds = {table.name: table.kind for table in TABLES.values()}
    return any(
        getattr(other, column) == record.id
        for name, column in TABLES[type(record)].referrers
        for other in tables.records[kinds[name]].values()
    )


def remove(tables: MemoryTables, kind: type[Record], record_id: str) -> None:
    """Remove a record and all that is kept for it alone."""
    del tables.records[kind][record_id]
    if kind in (ApiKey, Client):
        for use in [key for key in tables.uses if key[0] == record_id]:
            del tables.uses[use]
        for charge in [key for key in tables.charges if key[0] == record_id]:
            del tables.charges[charge]
    mine = owners(kind, record_id)
    for owner in [owner for owner in tables.accounts if owner in mine]:
        del tables.accounts[owner]
    for counter in [key for key in tables.counters if key[0] in mine]:
        del tables.counters[counter]
