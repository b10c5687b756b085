"""Usage: how often which key was used where and how it ended, over a time range, grouped."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from ..core.errors import Code, NotFound
from ..core.instant import DAY, HOUR, MINUTE, SECOND, Instant
from ..core.records import API_ID
from ..ports import UsageQuery
from ..wire.base import moment, to_instant
from ..wire.listing import UsageReport, UsageView
from .authority import Authority, Caller
from .problems import Problems
from .text import shown
from .views import find_api

READ: Final = "keybearer:usage.read"
BUCKETS: Final = ("minute", "hour", "day")
FILTERS: Final = ("project_id", "key_id", "api_id", "code", "source", "tag")
MAX_GROUPS: Final = 10_000
MAX_RANGE: Final = 3660 * DAY
_RELATIVE: Final = re.compile(r"-(\d{1,9})([smhdw])", re.ASCII)
_UNITS: Final = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}


async def report(
    authority: Authority,
    caller: Caller,
    *,
    start: str = "-24h",
    end: str = "now",
    group_by: tuple[str, ...] = (),
    filters: dict[str, str] | None = None,
    limit: int = 1000,
) -> UsageReport:
    """Return usage from ``start`` to ``end`` (RFC 3339, ``now``, or ``-24h``); a project's caller sees its own."""
    caller.need(READ)
    wanted = dict(filters or {})
    if caller.project_id is not None and wanted.setdefault("project_id", caller.project_id) != caller.project_id:
        raise NotFound("project", wanted["project_id"])
    now = authority.clock.now()
    problems = Problems()
    begins, ends = instant_of(problems, "start", start, now), instant_of(problems, "end", end, now)
    _check_groups(problems, group_by, wanted)
    if wanted.get("code", Code.VALID) not in list(Code):
        problems.add("code", f"{shown(wanted['code'])} is not a code; write one of {', '.join(Code)}")
    if not 1 <= limit <= MAX_GROUPS:
        problems.add("limit", f"must lie between 1 and {MAX_GROUPS}")
    if begins >= ends:
        problems.add("start", "must lie before 'end'")
    elif ends - begins > MAX_RANGE:
        problems.add("start", "ten years at most can be asked for at once")
    problems.settle()
    if not wanted.get("api_id", API_ID).startswith(API_ID):
        wanted["api_id"] = (await find_api(authority.store, wanted["api_id"])).id
    rows = await authority.store.usage(UsageQuery(begins, ends, group_by, wanted, limit + 1))
    groups = [_group(row) for row in rows[:limit]]
    return UsageReport(
        start=moment(begins),
        end=moment(ends),
        group_by=list(group_by),
        total=sum(group.count for group in groups),
        groups=groups,
        truncated=len(rows) > limit,
    )


def instant_of(problems: Problems, field: str, text: str, now: Instant) -> Instant:
    """Return the instant that a text says: RFC 3339, ``now``, or such as ``-24h``; notes any other."""
    if text == "now":
        return now
    relative = _RELATIVE.fullmatch(text)
    if relative is not None:
        return Instant(max(0, now - int(relative[1]) * _UNITS[relative[2]]))
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        value = None
    if value is None or value.tzinfo is None or not 1970 <= value.year <= 9000:
        problems.add(field, f"{shown(text)} is not a time; write '2026-01-31T00:00:00Z', 'now', or such as '-24h'")
        return now
    return to_instant(value)


def _check_groups(problems: Problems, group_by: tuple[str, ...], filters: dict[str, str]) -> None:
    for name in group_by:
        if name not in BUCKETS and name not in FILTERS:
            problems.add("group_by", f"{shown(name)} is not one of {', '.join(BUCKETS + FILTERS)}")
    if len(set(group_by)) < len(group_by):
        problems.add("group_by", "names something twice")
    if sum(name in BUCKETS for name in group_by) > 1:
        problems.add("group_by", "takes one of minute, hour and day")
    facets = {"source", "tag"} & {*group_by, *filters}
    if len(facets) > 1:
        problems.add("group_by", "source and tag are counted apart; ask for one of them")
    if facets and ("minute" in group_by or "api_id" in {*group_by, *filters}):
        problems.add("group_by", "source and tag are counted by hour, and not by API")


def _group(row: Any) -> UsageView:
    view = UsageView(count=row["count"])
    for name, value in row.items():
        if name in BUCKETS:
            view.at = moment(Instant(value))
        elif name in FILTERS:
            setattr(view, name, value)
    return view
