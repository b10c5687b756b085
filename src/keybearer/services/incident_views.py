"""Incidents as they travel."""

from __future__ import annotations

from typing import Any

from ..core.incidents import Incident
from ..wire.base import moment, to_moment
from ..wire.leaks import IncidentView, SightingView, StepView
from .views import record_fields


def view(incident: Incident) -> IncidentView:
    """Return an incident as it travels."""
    return IncidentView(**fields_of(incident))


def fields_of(incident: Incident) -> dict[str, Any]:
    """Return what every view of an incident has."""
    plain = (
        *("status", "project_id", "kind", "environment", "credential_id", "version", "name"),
        *("key_id", "client_id", "owner", "action", "sighted"),
    )
    return {
        **record_fields(incident),
        **{name: getattr(incident, name) for name in plain},
        "first_seen_at": moment(incident.first_seen_at),
        "last_seen_at": moment(incident.last_seen_at),
        "resolved_at": to_moment(incident.resolved_at),
        "sightings": [
            SightingView(
                kind=one.kind,
                name=one.name,
                reported_at=moment(one.reported_at),
                line=one.line,
                column=one.column,
                at=to_moment(one.at),
                client_ip=one.client_ip,
                commit=one.commit,
            )
            for one in incident.sightings
        ],
        "history": [StepView(moment(step.at), step.what, step.actor, step.note) for step in incident.steps],
    }
