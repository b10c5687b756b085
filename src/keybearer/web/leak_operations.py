"""The endpoints of leaks: what found credentials are, incidents, and policies."""

from __future__ import annotations

from typing import Any

from ..core.lifecycle import IncidentChange
from ..services import incidents, leak_policies, leaks, url_report
from ..wire import leaks as types
from ..wire.listing import Listing
from .operation import CURSOR, LIMIT, Call, Operation, Parameter

MAX_BODY = 4_194_304
"""A thousand findings with long names."""


async def _check(call: Call) -> Any:
    return await leaks.check(call.authority, call.caller, call.body)


async def _page(call: Call) -> Any:
    return await incidents.page(call.authority, call.caller, call.page(*incidents.FILTERS))


async def _get(call: Call) -> Any:
    return await incidents.get(call.authority, call.caller, call.path["id"])


async def _get_policy(call: Call) -> Any:
    return await leak_policies.get(call.authority, call.caller, call.path["id"])


async def _set_policy(call: Call) -> Any:
    return await leak_policies.set_policy(call.authority, call.caller, call.path["id"], call.body)


async def _urls(call: Call) -> Any:
    query = call.query
    return await url_report.report(
        call.authority,
        call.caller,
        start=query.get("start", "-7d"),
        end=query.get("end", "now"),
        filters={name: query[name] for name in url_report.FILTERS if name in query},
    )


def _status(change: IncidentChange, summary: str) -> Operation:
    async def do(call: Call) -> Any:
        body = call.body or types.IncidentNote()
        return await incidents.set_status(call.authority, call.caller, call.path["id"], change, body)

    return Operation(
        method="POST",
        path=f"/v1/incidents/{{id}}/{change.value}",
        operation_id=f"incidents.{change.value}",
        tag="Leaks",
        permission=leak_policies.WRITE,
        summary=summary,
        handler=do,
        body=types.IncidentNote,
        optional_body=True,
        response=types.IncidentView,
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST", path="/v1/leaks/check", operation_id="leaks.check", tag="Leaks", permission=leak_policies.WRITE,
        summary="Tell what found credentials are, and act by policy", handler=_check, body=types.CheckLeaks,
        response=types.CheckedLeaks, max_body=MAX_BODY,
    ),
    Operation(
        method="GET", path="/v1/incidents", operation_id="incidents.list", tag="Leaks", permission=leak_policies.READ,
        summary="List leaked credentials", handler=_page, response=Listing[types.IncidentView],
        parameters=(*(Parameter(name, f"Only those whose {name} is this.") for name in incidents.FILTERS), LIMIT,
                    CURSOR),
    ),
    Operation(
        method="GET", path="/v1/incidents/{id}", operation_id="incidents.get", tag="Leaks",
        permission=leak_policies.READ, summary="Read an incident, and what the credential was used for since",
        handler=_get, response=types.IncidentDetail,
    ),
    _status(IncidentChange.ACKNOWLEDGE, "Say that somebody looks into an incident"),
    _status(IncidentChange.RESOLVE, "Say that an incident is over"),
    _status(IncidentChange.REOPEN, "Say that an incident is not over"),
    Operation(
        method="GET", path="/v1/leaks/policies/{id}", operation_id="leak_policies.get", tag="Leaks",
        permission=leak_policies.READ, summary="Read what is done about a project's leaks", handler=_get_policy,
        response=types.LeakPolicyView,
    ),
    Operation(
        method="PATCH", path="/v1/leaks/policies/{id}", operation_id="leak_policies.set", tag="Leaks",
        permission=leak_policies.WRITE, summary="Say what is done about a project's leaks", handler=_set_policy,
        body=types.SetLeakPolicy, response=types.LeakPolicyView,
    ),
    Operation(
        method="GET", path="/v1/leaks/urls", operation_id="leaks.urls", tag="Leaks", permission=leak_policies.READ,
        summary="See who still sends credentials in URLs", handler=_urls, response=types.UrlReport,
        parameters=(
            Parameter("start", "RFC 3339, `now`, or such as `-7d`."),
            Parameter("end", "RFC 3339, `now`, or such as `-1h`."),
            *(Parameter(name, f"Only where {name} is this.") for name in url_report.FILTERS),
        ),
    ),
)  # fmt: skip
