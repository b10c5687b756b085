"""Webhooks: where others want to be told of what happened, and each message on its way there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .instant import HOUR, MINUTE, SECOND, Instant
from .records import Record

WEBHOOK_ID: Final = "hook_"
DELIVERY_ID: Final = "msg_"
MAX_SECRETS: Final = 5
"""Signing secrets that a webhook may have at once."""

RETRY_IN: Final = (
    *(5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE),
    *(HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR),
)
"""Time from a failed attempt to the next; with the last one failed too, after 16 hours, the message is dead."""


class WebhookEvent(StrEnum):
    """What a webhook can be told of."""

    INCIDENT_OPENED = "incident.opened"
    INCIDENT_REOPENED = "incident.reopened"
    INCIDENT_ACKNOWLEDGED = "incident.acknowledged"
    INCIDENT_RESOLVED = "incident.resolved"
    PING = "ping"


class DeliveryStatus(StrEnum):
    """Where a message stands; ``core/lifecycle.py`` says which changes are legal."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """One secret that messages are signed with. ``expires_at`` is set once another has taken over."""

    number: int
    sealed: bytes
    created_at: Instant
    expires_at: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(Record):
    """A URL that is told of some events of its project; one of the authority's own project is told of all projects'."""

    name: str
    url: str
    events: tuple[WebhookEvent, ...]
    secrets: tuple[SigningSecret, ...]
    project_id: str

    def signing(self, now: Instant) -> tuple[SigningSecret, ...]:
        """Return the secrets that a message of now is signed with, the newest first."""
        living = [one for one in self.secrets if one.expires_at is None or now < one.expires_at]
        return tuple(reversed(living))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Record):
    """One message to one webhook; its id is the ``webhook-id``, the same at every attempt.

    ``body`` is what is sent, byte for byte. ``due_at`` is when it is tried next, also while somebody tries it just now:
    whoever dies over it leaves it to others. ``answered`` is the last status, ``why`` what went wrong the last time.
    """

    webhook_id: str
    event: WebhookEvent
    body: str
    project_id: str
    due_at: Instant
    status: DeliveryStatus = DeliveryStatus.WAITING
    attempts: int = 0
    answered: int | None = None
    why: str = ""
    settled_at: Instant | None = None

    @property
    def ends_at(self) -> Instant | None:
        """From when on nobody needs it any more."""
        return self.settled_at
