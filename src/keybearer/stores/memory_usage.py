"""Usage in memory: adding flushes, grouping, and the sweep of everything that expires."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.instant import DAY, HOUR, MINUTE, Instant
from ..ports import UsageBatch, UsageQuery
from .memory_tables import MemoryTables
from .storable import require_storable
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
