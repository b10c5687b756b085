"""Who still sends credentials in URLs: by key, address and outcome, with the last hour of each."""

from __future__ import annotations

from typing import Final

from ..core.errors import NotFound
from ..core.instant import HOUR, Instant
from ..ports import IN_URL, UsageQuery
from ..wire.base import moment
from ..wire.leaks import UrlReport, UrlUseView
from .authority import Authority, Caller
from .leak_policies import READ
from .problems import Problems
from .usage import MAX_RANGE, instant_of

FILTERS: Final = ("project_id", "key_id")
MAX_ROWS: Final = 10_000


async def report(
    authority: Authority,
    caller: Caller,
    *,
    start: str = "-7d",
    end: str = "now",
    filters: dict[str, str] | None = None,
) -> UrlReport:
    """Return who sent credentials in URLs from ``start`` to ``end``; a project's caller sees its own."""
    caller.need(READ)
    wanted = dict(filters or {})
    if caller.project_id is not None and wanted.setdefault("project_id", caller.project_id) != caller.project_id:
        raise NotFound("project", wanted["project_id"])
    now = authority.clock.now()
    problems = Problems()
    begins, ends = instant_of(problems, "start", start, now), instant_of(problems, "end", end, now)
    if begins >= ends:
        problems.add("start", "must lie before 'end'")
    elif ends - begins > MAX_RANGE:
        problems.add("start", "ten years at most can be asked for at once")
    problems.settle()
    # Whole hours: that is how they are counted.
    begins = Instant(begins // HOUR * HOUR)
    groups = ("hour", "project_id", "key_id", IN_URL, "code")
    rows = await authority.store.usage(UsageQuery(begins, ends, groups, wanted, MAX_ROWS + 1))
    uses: dict[tuple[str, str, str, str], tuple[int, Instant]] = {}
    for row in rows[:MAX_ROWS]:
        name = (row["project_id"], row["key_id"], row[IN_URL], row["code"])
        count, last = uses.get(name, (0, row["hour"]))
        uses[name] = (count + row["count"], max(last, row["hour"]))
    ordered = sorted(uses.items(), key=lambda item: (-item[1][0], item[0]))
    views = [UrlUseView(*name, count, moment(last)) for name, (count, last) in ordered]
    return UrlReport(moment(begins), moment(ends), views, len(rows) > MAX_ROWS)
