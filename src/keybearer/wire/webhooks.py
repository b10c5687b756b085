"""Webhooks as they travel; a signing secret is answered once, when it is made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..core.webhooks import DeliveryStatus, WebhookEvent
from .base import Id, Name, Request, Response, SecondsOrZero
from .records import RecordView

Url = Annotated[str, Meta(min_length=1, max_length=2048)]
Events = Annotated[list[WebhookEvent], Meta(min_length=1, max_length=10)]
INCIDENTS = (
    *(WebhookEvent.INCIDENT_OPENED, WebhookEvent.INCIDENT_REOPENED),
    *(WebhookEvent.INCIDENT_ACKNOWLEDGED, WebhookEvent.INCIDENT_RESOLVED),
)


class CreateWebhook(Request):
    """Have a URL told of what happens to a project; one of the authority's own project is told of all."""

    project_id: Id
    name: Name
    url: Url
    events: Events = msgspec.field(default_factory=lambda: list(INCIDENTS))


class UpdateWebhook(Request):
    """Change a webhook; messages that wait go to the new URL."""

    name: Name | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    events: Events | UnsetType = UNSET


class RotateWebhookSecret(Request):
    """Give a webhook a new signing secret; messages are signed with the old one too for so many seconds."""

    grace_in: SecondsOrZero = 86_400


class SigningSecretView(Response):
    """What is known of a signing secret: not the secret."""

    number: int
    created_at: datetime
    expires_at: datetime | None


class WebhookView(RecordView):
    """A URL that is told of events."""

    project_id: str
    name: str
    url: str
    events: list[WebhookEvent]
    secrets: list[SigningSecretView]


class IssuedWebhook(Response):
    """A webhook with its new signing secret, which is shown this once."""

    webhook: WebhookView
    secret: str


class DeliveryView(RecordView):
    """A message to a webhook: what was tried, how it was answered, and when it is tried next."""

    webhook_id: str
    event: WebhookEvent
    status: DeliveryStatus
    attempts: int
    answered: int | None
    why: str
    due_at: datetime | None
    settled_at: datetime | None
