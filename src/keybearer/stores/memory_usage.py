"""Usage in memory: adding flushes, grouping, and the sweep of everything that expires."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.clients import Client
from ..core.instant import DAY, HOUR, MINUTE, Instant
from ..core.lifecycle import is_forgotten
from ..core.records import ApiKey, Record
from ..ports import Swept, UsageBatch, UsageQuery
from .memory_tables import MemoryTables
from .recordkeeping import owners
from .storable import require_storable
from .sweeping import (
    KEEP_COUNTERS_IN,
    KEEP_EVENTS_IN,
    KEEP_FACETS_IN,
    KEEP_HOURS_IN,
    KEEP_MINUTES_IN,
    PARENTS,
)
from .tables import TABLES
from .usage import bucket_range, plan

_WIDTHS = {"minute": MINUTE, "hour": HOUR, "day": DAY}


def add(tables: MemoryTables, batch: UsageBatch) -> None:
    """Add a flush."""
    for row in batch.usage:
        minute = (row.minute, row.project_id, row.key_id, row.api_id, row.code)
        require_storable(minute)
        tables.minutes[minute] = tables.minutes.get(minute, 0) + row.count
    for facet in batch.facets:
        key = (facet.hour, facet.facet, facet.project_id, facet.key_id, facet.value, facet.code)
        require_storable(key)
        tables.facets[key] = tables.facets.get(key, 0) + facet.count
    for use in batch.uses:
        require_storable((use.key_id, use.version, use.last_used_at))
        before = tables.uses.get((use.key_id, use.version), use.last_used_at)
        tables.uses[use.key_id, use.version] = max(before, use.last_used_at)


def _counted(tables: MemoryTables, query: UsageQuery, facet: str | None) -> Iterator[tuple[int, dict[str, str], int]]:
    """Yield the minute, the names and the count of every row in the span."""
    hours = range(*bucket_range(query, HOUR))
    if facet is not None:
        for (hour, kind, project_id, key_id, value, code), n in tables.facets.items():
            if kind == facet and hour in hours:
                yield hour * 60, {"project_id": project_id, "key_id": key_id, facet: value, "code": code}, n
        return
    minutes = range(*bucket_range(query, MINUTE))
    for (minute, *names), n in tables.minutes.items():
        if minute in minutes:
            yield minute, dict(zip(("project_id", "key_id", "api_id", "code"), names, strict=True)), n
    for (hour, *names), n in tables.hours.items():
        if hour in hours:
            yield hour * 60, dict(zip(("project_id", "key_id", "api_id", "code"), names, strict=True)), n


def usage(tables: MemoryTables, query: UsageQuery) -> tuple[Mapping[str, Any], ...]:
    """Return the sums, in order of time, then largest first."""
    checked = plan(query)
    require_storable(query.filters.values())
    width = _WIDTHS[checked.time] if checked.time else 0
    sums: Counter[tuple[int, tuple[str, ...]]] = Counter()
    for minute, names, n in _counted(tables, query, checked.facet):
        if all(names[name] == value for name, value in checked.filters):
            bucket = minute * MINUTE // width * width if width else 0
            sums[bucket, tuple(names[name] for name in checked.names)] += n
    ordered = sorted(sums.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    groups = []
    for (bucket, values), n in ordered[: query.limit]:
        found: dict[str, Any] = dict(zip(checked.names, values, strict=True))
        if checked.time:
            found[checked.time] = Instant(bucket)
        groups.append({name: found[name] for name in query.group_by} | {"count": n})
    return tuple(groups)


def sweep(tables: MemoryTables, now: Instant, batch: int) -> Swept:
    """Remove what has expired, at most ``batch`` rows per table."""
    removed: dict[str, int] = {}

    def drop(name: str, table: dict[Any, Any], expired: list[Any]) -> None:
        for key in expired[:batch]:
            del table[key]
        removed[name] = len(expired[:batch])

    responses = tables.responses
    drop("responses", responses, [key for key, kept in responses.items() if kept.created_at <= now - DAY])
    drop("charges", tables.charges, [key for key, kept in tables.charges.items() if kept.at <= now - DAY])
    old: list[int] = []
    for seq in sorted(tables.events):
        if tables.events[seq].at > now - KEEP_EVENTS_IN:
            break
        old.append(seq)
    drop("events", tables.events, old)
    counters = tables.counters
    drop("quota_counters", counters, [k for k, kept in counters.items() if kept.ends_at <= now - KEEP_COUNTERS_IN])
    minutes = sorted(key for key in tables.minutes if key[0] < (now - KEEP_MINUTES_IN) // MINUTE)[:batch]
    for key in minutes:
        minute, project_id, key_id, api_id, code = key
        hour = (minute // 60, project_id, key_id, api_id, code)
        tables.hours[hour] = tables.hours.get(hour, 0) + tables.minutes[key]
    drop("usage_minutes", tables.minutes, minutes)
    drop("usage_hours", tables.hours, [key for key in tables.hours if key[0] < (now - KEEP_HOURS_IN) // HOUR])
    drop("facet_hours", tables.facets, [key for key in tables.facets if key[0] < (now - KEEP_FACETS_IN) // HOUR])
    for kind in TABLES:
        gone = [r.id for r in tables.records[kind].values() if _is_gone(tables, r, now) and not referred(tables, r)]
        for record_id in gone[:batch]:
            remove(tables, kind, record_id)
        removed[TABLES[kind].name] = len(gone[:batch])
    return Swept({table: n for table, n in removed.items() if n}, batch in removed.values())


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
