"""The endpoints that only look: usage, the audit log, and the event log."""

from __future__ import annotations

from typing import Any

from ..core.errors import InvalidInput
from ..services import audit, events, usage
from ..wire.listing import AuditVerification, AuditView, EventFeed, Listing, UsageReport
from .operation import CURSOR, LIMIT, Call, Operation, Parameter


async def _usage(call: Call) -> Any:
    query = call.query
    return await usage.report(
        call.authority,
        call.caller,
        start=query.get("start", "-24h"),
        end=query.get("end", "now"),
        group_by=tuple(name for name in query.get("group_by", "").split(",") if name),
        filters={name: query[name] for name in usage.FILTERS if name in query},
        limit=call.number("limit", 1000),
    )


async def _audit(call: Call) -> Any:
    oldest_first = call.query.get("order", "newest_first")
    if oldest_first not in ("newest_first", "oldest_first"):
        raise InvalidInput.of("order", "write newest_first or oldest_first")
    return await audit.page(
        call.authority, call.caller, call.page(*audit.FILTERS), oldest_first=oldest_first == "oldest_first"
    )


async def _audit_verification(call: Call) -> Any:
    return await audit.verify(call.authority, call.caller, call.query.get("expected"))


async def _events(call: Call) -> Any:
    return await events.feed(
        call.authority, call.caller, call.number("after", 0), call.number("limit", events.MAX_EVENTS)
    )


EVENTS = Operation(
    method="GET", path="/v1/events", operation_id="events", tag="Events", permission="keybearer:events.read",
    summary="Follow the changes that can alter a decision", handler=_events, response=EventFeed,
    parameters=(
        Parameter("after", "The last `seq` that was seen."
                  " With `Accept: text/event-stream` it is followed by a stream without end.", "integer"),
        Parameter("limit", "How many events at most; not for a stream.", "integer"),
    ),
)  # fmt: skip


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET", path="/v1/usage", operation_id="usage", tag="Usage", permission="keybearer:usage.read",
        summary="Sum what keys were used for", handler=_usage, response=UsageReport,
        parameters=(
            Parameter("start", "RFC 3339, `now`, or such as `-24h`."),
            Parameter("end", "RFC 3339, `now`, or such as `-1h`."),
            Parameter("group_by", "A comma-separated list of minute, hour or day, project_id, key_id, api_id, code, "
                      "and source or tag."),
            *(Parameter(name, f"Only where {name} is this{' (or the identifier of the API)' * (name == 'api_id')}.")
              for name in usage.FILTERS),
            Parameter("limit", "How many groups at most, 1 to 10,000; 1,000 without it.", "integer"),
        ),
    ),
    Operation(
        method="GET", path="/v1/audit", operation_id="audit.list", tag="Audit", permission="keybearer:audit.read",
        summary="List what was done, the newest first", handler=_audit, response=Listing[AuditView],
        parameters=(
            *(Parameter(name, f"Only where {name} is this.") for name in audit.FILTERS),
            Parameter("order", "`newest_first` or `oldest_first`."), LIMIT, CURSOR,
        ),
    ),
    Operation(
        method="GET", path="/v1/audit/verification", operation_id="audit.verify", tag="Audit",
        permission="keybearer:audit.read", summary="Check that the audit log is whole",
        handler=_audit_verification, response=AuditVerification,
        parameters=(Parameter("expected", "`seq:digest` as an earlier check answered, to notice a cut-off end."),),
    ),
    EVENTS,
)  # fmt: skip
