"""Who is told of an incident: webhooks, by messages stored with the incident itself, and its owner, by mail."""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from ..core.credential import new_id
from ..core.email_address import normalise
from ..core.errors import NotFound
from ..core.incidents import Incident
from ..core.instant import Instant
from ..core.leaks import Done
from ..core.records import Project, State
from ..core.webhooks import DELIVERY_ID, Delivery, Webhook, WebhookEvent
from ..ports import Query, UnitOfWork
from ..wire.base import moment
from .authority import Authority
from .incident_views import view
from .outbox import Message

log = logging.getLogger(__name__)

MAX_WEBHOOKS: Final = 20
"""Webhooks that a project may have."""
CONTACTS: Final = ("security_contact", "contact", "email")
"""Where in a project's metadata the address of who answers for it may stand, the first first."""
_ENCODER: Final = msgspec.json.Encoder()
_DONE: Final = {
    Done.NONE: "Nothing was done about it.",
    Done.ALERTED: "It still works: replace it, and then revoke it.",
    Done.ROTATED: "It works for a while yet: fetch another one in its place.",
    Done.DISABLED: "It was switched off until somebody enables it again; better replace it.",
    Done.REVOKED: "It was revoked and works no more: fetch another one in its place.",
}


async def announce(uow: UnitOfWork, own_project_id: str, event: WebhookEvent, incident: Incident, now: Instant) -> None:
    """Store a message for every webhook that is to be told, in the transaction of what happened."""
    for project_id in dict.fromkeys((incident.project_id, own_project_id)):
        for webhook in await uow.page(Webhook, Query({"project_id": project_id}, limit=MAX_WEBHOOKS)):
            if webhook.state is State.ENABLED and event in webhook.events:
                data = view(incident)
                await uow.insert(message_to(webhook, event, data, now))


def message_to(webhook: Webhook, event: WebhookEvent, data: object, now: Instant) -> Delivery:
    """Return a message as it will be sent, byte for byte at every attempt. Spec: Standard Webhooks, payload."""
    body = _ENCODER.encode({"type": event.value, "timestamp": moment(now), "data": data})
    return Delivery(
        id=DELIVERY_ID + new_id(now),
        created_at=now,
        updated_at=now,
        webhook_id=webhook.id,
        project_id=webhook.project_id,
        event=event,
        body=body.decode(),
        due_at=now,
    )


async def write_to_owner(authority: Authority, incident: Incident) -> None:
    """Write to who answers for a leaked credential: its owner, where that is an address, else its project's contact."""
    address = await _address_of(authority, incident)
    if address is None:
        log.info("nobody is known to write to about an incident", extra={"incident": incident.id})
        return
    if not authority.letters_by_address.take(f"leaks {address}"):
        log.warning("a letter about an incident is left out: too many", extra={"incident": incident.id})
        return
    what = incident.kind.value.replace("_", " ")
    lines = [
        f"The {what} {incident.name!r} was found where it does not belong.",
        _DONE[incident.action],
        "",
        f"Incident:   {incident.id}",
        f"Credential: {incident.credential_id} ({incident.environment.value})",
        f"Project:    {incident.project_id}",
        f"First seen: {moment(incident.first_seen_at):%Y-%m-%d %H:%M} UTC",
        "",
        f"keybearer incidents show {incident.id} --url {authority.settings.issuer_url}",
        "tells where it was seen, and what it was used for since.",
        "",
    ]
    authority.outbox.post(Message(address, f"A {what} got out: {incident.name}", "\n".join(lines)))


async def _address_of(authority: Authority, incident: Incident) -> str | None:
    if incident.owner is not None and (address := normalise(incident.owner)) is not None:
        return address
    try:
        project = await authority.store.get(Project, incident.project_id)
    except NotFound:
        return None
    for name in CONTACTS:
        text = project.metadata.get(name)
        if isinstance(text, str) and (address := normalise(text)) is not None:
            return address
    return None
