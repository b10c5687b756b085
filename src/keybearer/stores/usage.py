"""Counts of what happened: added up in minutes, rolled into hours later, and summed by any of a few names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..core.errors import FieldProblem, InvalidInput
from ..core.instant import DAY, HOUR, MINUTE, Instant
from ..ports import IN_URL, KeyUse, UsageBatch, UsageQuery
from .session import Session, marks, padded

ADD_MINUTE: Final = (
    "INSERT INTO usage_minutes (minute, project_id, key_id, api_id, code, n) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (minute, project_id, key_id, api_id, code) DO UPDATE SET n = usage_minutes.n + excluded.n"
)
ADD_HOUR: Final = (
    "INSERT INTO usage_hours (hour, project_id, key_id, api_id, code, n) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (hour, project_id, key_id, api_id, code) DO UPDATE SET n = usage_hours.n + excluded.n"
)
_ADD_FACET: Final = (
    "INSERT INTO facet_hours (hour, facet, project_id, key_id, value, code, n) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (hour, facet, project_id, key_id, value, code) DO UPDATE SET n = facet_hours.n + excluded.n"
)
_ADD_USE: Final = (
    "INSERT INTO key_uses (key_id, version, last_used_at) VALUES (?, ?, ?) "
    "ON CONFLICT (key_id, version) DO UPDATE SET last_used_at = excluded.last_used_at "
    "WHERE key_uses.last_used_at < excluded.last_used_at"
)

# The names that a query may use, with the expression of each: nothing else ever reaches the text of a statement.
_TIMES: Final[Mapping[str, int]] = {"minute": MINUTE, "hour": HOUR, "day": DAY}
_FACETS: Final = ("source", "tag", IN_URL)
_NAMES: Final = ("project_id", "key_id", "api_id", "code", *_FACETS)


async def add(session: Session, batch: UsageBatch) -> None:
    """Add a flush. Rows go in one order, so that two nodes flushing at once cannot deadlock."""
    if batch.usage:
        await session.execute_many(
            ADD_MINUTE, sorted((u.minute, u.project_id, u.key_id, u.api_id, u.code, u.count) for u in batch.usage)
        )
    if batch.facets:
        await session.execute_many(
            _ADD_FACET,
            sorted((f.hour, f.facet, f.project_id, f.key_id, f.value, f.code, f.count) for f in batch.facets),
        )
    if batch.uses:
        await session.execute_many(_ADD_USE, sorted((use.key_id, use.version, use.last_used_at) for use in batch.uses))


@dataclass(frozen=True, slots=True)
class UsagePlan:
    """A usage query whose names have been checked: what it groups by, and which facet's table it reads, if any."""

    time: str | None
    names: tuple[str, ...]
    filters: tuple[tuple[str, str], ...]
    facet: str | None


def plan(query: UsageQuery) -> UsagePlan:
    """Check the names of a query; raises ``InvalidInput`` that tells what is wrong with each."""
    problems = [
        FieldProblem("group_by", f"{name!r} is not one of {', '.join((*_TIMES, *_NAMES))}")
        for name in query.group_by
        if name not in _TIMES and name not in _NAMES
    ]
    problems += [
        FieldProblem("filters", f"{name!r} is not one of {', '.join(_NAMES)}; for times use start and end")
        for name in query.filters
        if name not in _NAMES
    ]
    times = [name for name in query.group_by if name in _TIMES]
    if len(times) > 1:
        problems.append(FieldProblem("group_by", "only one of minute, hour and day"))
    if len(set(query.group_by)) != len(query.group_by):
        problems.append(FieldProblem("group_by", "each name once"))
    used = {*query.group_by, *query.filters}
    facets = [name for name in _FACETS if name in used]
    if len(facets) > 1:
        problems.append(FieldProblem("group_by", "only one of source, tag and in_url"))
    if facets and used & {"minute", "api_id"}:
        problems.append(FieldProblem("group_by", f"by {facets[0]}, usage is kept by the hour and without the API"))
    if query.limit < 1:
        problems.append(FieldProblem("limit", "must be at least 1"))
    if problems:
        raise InvalidInput(*problems)
    return UsagePlan(
        time=times[0] if times else None,
        names=tuple(name for name in query.group_by if name in _NAMES),
        filters=tuple(sorted(query.filters.items())),
        facet=facets[0] if facets else None,
    )


def bucket_range(query: UsageQuery, width: int) -> tuple[int, int]:
    """Return the numbers of the first bucket that starts in the query's span, and of the first one after it."""
    return -(-query.start // width), -(-query.end // width)


async def usage(session: Session, query: UsageQuery) -> tuple[Mapping[str, Any], ...]:
    """Return the sums, in order of time, then largest first."""
    checked = plan(query)
    # Every part speaks of minutes and of the same names, so that one outer query serves all.
    parts: tuple[tuple[str, str, str, int], ...] = (
        ("usage_minutes", "minute", "minute", MINUTE),
        ("usage_hours", "hour", "hour * 60", HOUR),
    )
    columns = {name: name for name in _NAMES}
    conditions, values = "", [value for _, value in checked.filters]
    if checked.facet is not None:
        parts = (("facet_hours", "hour", "hour * 60", HOUR),)
        columns[checked.facet] = "value"
        conditions, values = " AND facet = ?", [checked.facet, *values]
    conditions += "".join(f" AND {columns[name]} = ?" for name, _ in checked.filters)
    selected = "".join(f"{columns[name]} AS {name}, " for name in checked.names)
    union: list[str] = []
    arguments: list[Any] = []
    for table, column, minute, bucket in parts:
        union.append(
            f"SELECT {minute} AS minute, {selected}n FROM {table} "  # noqa: S608
            f"WHERE {column} >= ? AND {column} < ?{conditions}"
        )
        arguments += [*bucket_range(query, bucket), *values]
    groups = list(checked.names)
    if checked.time is not None:
        groups.insert(0, f"minute / {_TIMES[checked.time] // MINUTE}")
    group_by = ", ".join(groups)
    order = ", ".join((*groups[: len(groups) - len(checked.names)], "total DESC", *checked.names))
    rows = await session.fetch(
        f"SELECT {group_by + ', ' if groups else ''}CAST(SUM(n) AS BIGINT) AS total "  # noqa: S608
        f"FROM ({' UNION ALL '.join(union)}) AS u"
        + (f" GROUP BY {group_by}" if groups else "")
        + f" ORDER BY {order} LIMIT ?",
        *arguments,
        query.limit,
    )
    return tuple(_group(query, checked, row) for row in rows if row[-1] is not None)


def _group(query: UsageQuery, checked: UsagePlan, row: Sequence[Any]) -> Mapping[str, Any]:
    """Return one group, its fields in the order that was asked for."""
    values = list(row[:-1])
    found: dict[str, Any] = {}
    if checked.time is not None:
        found[checked.time] = Instant(values.pop(0) * _TIMES[checked.time])
    found.update(zip(checked.names, values, strict=True))
    return {name: found[name] for name in query.group_by} | {"count": row[-1]}


async def uses(session: Session, key_ids: Sequence[str]) -> tuple[KeyUse, ...]:
    """Return the last uses of these keys, in order of key and version."""
    if not key_ids:
        return ()
    asked = padded(key_ids)
    rows = await session.fetch(
        "SELECT key_id, version, last_used_at FROM key_uses "  # noqa: S608
        f"WHERE key_id IN ({marks(len(asked))}) ORDER BY key_id, version",
        *asked,
    )
    return tuple(KeyUse(*row) for row in rows)
