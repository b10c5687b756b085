"""Webhooks: URLs that are told of incidents, and the messages to them."""

# ruff: noqa: A002 (parameters have the names of the wire: id)

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, UnsetType

from ..core.secret import Secret
from ..core.webhooks import DeliveryStatus, WebhookEvent
from ..wire.base import Response
from ..wire.listing import Listing
from ..wire.webhooks import (
    INCIDENTS,
    CreateWebhook,
    DeliveryView,
    RotateWebhookSecret,
    UpdateWebhook,
    WebhookView,
)
from .call import Call, Duration, Pages, listed, once, query, seconds, segment
from .operation import D, operation, series
from .records import Records, StateName

EventName = (
    WebhookEvent | Literal["incident.opened", "incident.reopened", "incident.acknowledged", "incident.resolved", "ping"]
)
DeliveryStatusName = DeliveryStatus | Literal["waiting", "delivered", "dead"]


class IssuedWebhook(Response):
    """A webhook with its new signing secret, which nothing but ``secret.reveal()`` shows."""

    webhook: WebhookView
    secret: Secret


class Webhooks(Records[D, WebhookView]):
    """URLs that are told of what happens to a project, or to all."""

    _path = "/v1/webhooks"
    _view = WebhookView

    @operation
    def create(
        self,
        *,
        project_id: str,
        name: str,
        url: str,
        events: Sequence[EventName] = INCIDENTS,
        idempotency_key: str | None = None,
    ) -> Call[IssuedWebhook]:
        """Have a URL told of what happens to a project; for the authority's own project: to all."""
        told = [WebhookEvent(event) for event in listed(events)]
        body = CreateWebhook(project_id=project_id, name=name, url=url, events=told)
        key = once(idempotency_key)
        return Call("POST", self._path, IssuedWebhook, body=body, idempotency_key=key)

    @operation
    def update(
        self,
        id: str,
        *,
        name: str | UnsetType = UNSET,
        url: str | UnsetType = UNSET,
        events: Sequence[EventName] | UnsetType = UNSET,
    ) -> Call[WebhookView]:
        """Change what is given."""
        told = UNSET if isinstance(events, UnsetType) else [WebhookEvent(event) for event in listed(events)]
        return self._update(id, UpdateWebhook(name=name, url=url, events=told))

    @operation
    def rotate(self, id: str, *, grace_in: Duration = 86_400) -> Call[IssuedWebhook]:
        """Give it a new signing secret; for the grace, messages are signed with the old one too."""
        body = RotateWebhookSecret(grace_in=seconds(grace_in) or 0)
        key = once(None)
        return Call("POST", f"{self._at(id)}/rotate", IssuedWebhook, body=body, idempotency_key=key)

    @operation
    def ping(self, id: str) -> Call[DeliveryView]:
        """Send a message that says nothing, to try it out."""
        return Call("POST", f"{self._at(id)}/ping", DeliveryView, idempotency_key=once(None))

    @operation
    def redeliver(self, id: str, message_id: str) -> Call[DeliveryView]:
        """Send a message again, whatever became of it."""
        path = f"{self._at(id)}/deliveries/{segment(message_id)}/redeliver"
        return Call("POST", path, DeliveryView, idempotency_key=once(None))

    @series
    def deliveries(
        self,
        id: str,
        *,
        status: DeliveryStatusName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[DeliveryView]:
        """Iterate over the messages to a webhook; with ``status="dead"``, over the dead letters."""
        parameters = query(status=status, limit=page_size, cursor=cursor)
        path = f"{self._at(id)}/deliveries"
        return Pages(Call("GET", path, Listing[DeliveryView], query=parameters, idempotent=True))

    @series
    def list(
        self,
        *,
        project_id: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[WebhookView]:
        """Iterate over webhooks, oldest first, through all pages. Deleted ones only with ``state="deleted"``."""
        return self._pages(project_id=project_id, state=state, limit=page_size, cursor=cursor)
