"""Incidents in the hands of people: listed, looked into, acknowledged, resolved and reopened."""

from __future__ import annotations

from typing import Final

from ..core.errors import InvalidInput, NotFound
from ..core.incidents import Incident, Status
from ..core.instant import DAY, HOUR, MINUTE, Instant
from ..core.leaks import LeakKind
from ..core.lifecycle import IncidentChange, advance
from ..core.webhooks import WebhookEvent
from ..ports import UnitOfWork, UsageQuery
from ..wire.base import moment
from ..wire.leaks import (
    IncidentDetail,
    IncidentNote,
    IncidentView,
    RequesterView,
    RequestsView,
)
from .announcements import announce
from .authority import Authority, Caller, Deed
from .incident_views import fields_of, view
from .leak_policies import READ, WRITE
from .paging import Page, PageQuery, read_page
from .problems import Problems
from .text import check_text

FILTERS: Final = ("project_id", "key_id", "kind", "environment", "status")
MAX_REQUESTS: Final = 500
"""Groups of requests that an incident shows: the first ones, when there are more."""


_EVENTS: Final = {
    IncidentChange.ACKNOWLEDGE: WebhookEvent.INCIDENT_ACKNOWLEDGED,
    IncidentChange.RESOLVE: WebhookEvent.INCIDENT_RESOLVED,
    IncidentChange.REOPEN: WebhookEvent.INCIDENT_REOPENED,
}


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[IncidentView]:
    """Return one page of incidents; a project's caller sees its own."""
    caller.need(READ)
    if caller.project_id is not None and query.where.get("project_id", caller.project_id) != caller.project_id:
        raise NotFound("project", query.where["project_id"])
    for name, choices in (("status", Status), ("kind", LeakKind)):
        if query.where.get(name) is not None and query.where[name] not in list(choices):
            raise InvalidInput.of(name, f"must be one of {', '.join(choices)}")
    found = await read_page(authority.store, Incident, query.narrowed(project_id=caller.project_id))
    return Page([view(incident) for incident in found.items], found.after)


async def get(authority: Authority, caller: Caller, incident_id: str) -> IncidentDetail:
    """Return an incident with what its credential was used for since it was first seen."""
    incident = await _visible(authority, caller, READ, incident_id)
    return await _detail(authority, incident)


async def set_status(
    authority: Authority, caller: Caller, incident_id: str, wanted: IncidentChange, body: IncidentNote
) -> IncidentView:
    """Acknowledge, resolve or reopen an incident; what already is so stays untouched."""
    await _visible(authority, caller, WRITE, incident_id)
    problems = Problems()
    check_text(problems, body.note, "note", of_several_lines=True)
    problems.settle()

    async def work(uow: UnitOfWork) -> IncidentView:
        incident = await uow.get(Incident, incident_id)
        now = authority.clock.now()
        changed = advance(incident, wanted, now, caller.actor, body.note)
        if changed is not incident:
            await uow.update(changed)
            details = {"note": body.note} if body.note else {}
            Deed(uow, caller, now).note(
                f"incident.{wanted.value}", incident.id, project_id=incident.project_id, details=details, event=False
            )
            await announce(uow, authority.own_project_id, _EVENTS[wanted], changed, now)
        return view(changed)

    return await authority.change(caller, work)


async def _visible(authority: Authority, caller: Caller, permission: str, incident_id: str) -> Incident:
    caller.need(permission)
    incident = await authority.store.get(Incident, incident_id)
    caller.need_project(permission, incident.project_id, "incident", incident_id)
    return incident


async def _detail(authority: Authority, incident: Incident) -> IncidentDetail:
    """Return the incident with the usage of its credential: by minute and outcome, and by address and outcome."""
    now = authority.clock.now()
    # Usage is kept for 400 days, first by the minute and then by the hour (``Store.sweep``).
    start, end = Instant(max(incident.first_seen_at, now - 400 * DAY)), Instant(now + DAY)
    filters = {"key_id": incident.counted_as}
    begins = Instant(start // MINUTE * MINUTE)
    by_minute = await authority.store.usage(
        UsageQuery(begins, end, ("minute", "code"), filters, limit=MAX_REQUESTS + 1)
    )
    begins = Instant(start // HOUR * HOUR)
    by_source = await authority.store.usage(
        UsageQuery(begins, end, ("source", "code"), filters, limit=MAX_REQUESTS + 1)
    )
    return IncidentDetail(
        **fields_of(incident),
        requests_from=incident.counted_as,
        requests=[RequestsView(moment(row["minute"]), row["code"], row["count"]) for row in by_minute[:MAX_REQUESTS]],
        requesters=[RequesterView(row["source"], row["code"], row["count"]) for row in by_source[:MAX_REQUESTS]],
        requests_truncated=max(len(by_minute), len(by_source)) > MAX_REQUESTS,
    )
