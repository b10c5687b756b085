"""Webhooks: made, shown, changed, given new secrets, tried out; and the messages on their way to them."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import UNSET

from ..core.credential import new_id
from ..core.errors import Conflict, InvalidInput, NotFound
from ..core.instant import SECOND, Instant
from ..core.lifecycle import Change, DeliveryChange, settle, touch
from ..core.secret import Secret
from ..core.webhooks import (
    MAX_SECRETS,
    WEBHOOK_ID,
    Delivery,
    DeliveryStatus,
    SigningSecret,
    Webhook,
    WebhookEvent,
)
from ..ports import Keyring, Query, UnitOfWork
from ..wire.base import moment, to_moment
from ..wire.webhooks import (
    CreateWebhook,
    DeliveryView,
    IssuedWebhook,
    RotateWebhookSecret,
    SigningSecretView,
    UpdateWebhook,
    WebhookView,
)
from .announcements import MAX_WEBHOOKS, message_to
from .authority import Authority, Caller, Deed
from .grounds import read_ground
from .paging import Page, PageQuery, read_page
from .problems import Problems
from .sealing import open_sealed, seal
from .standing import change_state, require_live
from .text import check_text, shown
from .views import record_fields

READ: Final = "keybearer:webhooks.read"
WRITE: Final = "keybearer:webhooks.write"
PURPOSE: Final = "webhook-secret"
PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
DELIVERY_FILTERS: Final = ("status",)


async def create(authority: Authority, caller: Caller, body: CreateWebhook) -> IssuedWebhook:
    """Make a webhook. Its signing secret is in the answer, and nowhere else."""
    caller.need(WRITE)
    ground = await read_ground(authority, caller, body.project_id)
    problems = Problems()
    check_text(problems, body)
    _check_url(problems, body.url)
    problems.settle()
    now = authority.clock.now()
    webhook_id = WEBHOOK_ID + new_id(now)
    secret, stored = _new_secret(authority.keyring, webhook_id, 1, now)
    webhook = Webhook(
        id=webhook_id,
        created_at=now,
        updated_at=now,
        project_id=ground.project.id,
        name=body.name,
        url=body.url,
        events=tuple(dict.fromkeys(body.events)),
        secrets=(stored,),
    )

    async def work(uow: UnitOfWork) -> IssuedWebhook:
        await _require_room(uow, webhook.project_id)
        await uow.insert(webhook)
        details = {"host": urlsplit(webhook.url).netloc, "events": [event.value for event in webhook.events]}
        _note(uow, caller, now, "webhook.create", webhook, details)
        return IssuedWebhook(view(webhook), secret.reveal())

    return await authority.change(caller, work)


async def get(authority: Authority, caller: Caller, webhook_id: str) -> WebhookView:
    """Return a webhook."""
    return view(await _visible(authority, caller, READ, webhook_id))


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[WebhookView]:
    """Return one page of webhooks; a project's caller sees its own."""
    caller.need(READ)
    if caller.project_id is not None and query.where.get("project_id", caller.project_id) != caller.project_id:
        raise NotFound("project", query.where["project_id"])
    found = await read_page(authority.store, Webhook, query.narrowed(project_id=caller.project_id))
    return Page([view(webhook) for webhook in found.items], found.after)


async def update(authority: Authority, caller: Caller, webhook_id: str, body: UpdateWebhook) -> WebhookView:
    """Change a webhook."""
    await _visible(authority, caller, WRITE, webhook_id)
    problems = Problems()
    check_text(problems, body)
    changes: dict[str, Any] = {
        name: getattr(body, name) for name in ("name", "url") if getattr(body, name) is not UNSET
    }
    if body.events is not UNSET:
        changes["events"] = tuple(dict.fromkeys(body.events))
    if body.url is not UNSET:
        _check_url(problems, body.url)
    problems.settle()

    async def work(uow: UnitOfWork) -> WebhookView:
        webhook = await uow.get(Webhook, webhook_id)
        require_live(webhook)
        now = authority.clock.now()
        changed = touch(webhook, now, **changes)
        await uow.update(changed)
        details = {"fields": sorted(changes), "host": urlsplit(changed.url).netloc}
        _note(uow, caller, now, "webhook.update", changed, details)
        return view(changed)

    return await authority.change(caller, work)


async def set_state(authority: Authority, caller: Caller, webhook_id: str, wanted: Change) -> WebhookView:
    """Enable, disable, delete or undelete a webhook. Messages to one that is off are given up."""
    await _visible(authority, caller, WRITE, webhook_id)

    async def check(uow: UnitOfWork, webhook: Webhook, _now: Instant) -> None:
        if wanted is Change.UNDELETE:
            await _require_room(uow, webhook.project_id)

    return await change_state(authority, caller, Webhook, webhook_id, wanted, view, check=check)


async def rotate(authority: Authority, caller: Caller, webhook_id: str, body: RotateWebhookSecret) -> IssuedWebhook:
    """Give a webhook a new signing secret; during the grace messages are signed with the old ones too."""
    await _visible(authority, caller, WRITE, webhook_id)

    async def work(uow: UnitOfWork) -> IssuedWebhook:
        webhook = await uow.get(Webhook, webhook_id)
        require_live(webhook)
        now = authority.clock.now()
        end = Instant(now + body.grace_in * SECOND)
        old = [
            one if one.expires_at is not None and one.expires_at <= end else replace(one, expires_at=end)
            for one in webhook.secrets
            if one.expires_at is None or now < one.expires_at
        ]
        if len(old) >= MAX_SECRETS:
            raise Conflict(f"A webhook may have {MAX_SECRETS} secrets at once; wait until one runs out.")
        number = max(one.number for one in webhook.secrets) + 1
        secret, stored = _new_secret(authority.keyring, webhook.id, number, now)
        changed = touch(webhook, now, secrets=(*old, stored))
        await uow.update(changed)
        _note(uow, caller, now, "webhook.rotate", changed, {"number": number, "grace_in": body.grace_in})
        return IssuedWebhook(view(changed), secret.reveal())

    return await authority.change(caller, work)


async def ping(authority: Authority, caller: Caller, webhook_id: str) -> DeliveryView:
    """Send a message that says nothing, to try a webhook out; its delivery tells how it was answered."""
    await _visible(authority, caller, WRITE, webhook_id)

    async def work(uow: UnitOfWork) -> DeliveryView:
        webhook = await uow.get(Webhook, webhook_id)
        require_live(webhook)
        now = authority.clock.now()
        message = message_to(webhook, WebhookEvent.PING, {"webhook_id": webhook.id}, now)
        await uow.insert(message)
        _note(uow, caller, now, "webhook.ping", webhook, {"message": message.id})
        return delivery_view(message)

    return await authority.change(caller, work)


async def deliveries(authority: Authority, caller: Caller, webhook_id: str, query: PageQuery) -> Page[DeliveryView]:
    """Return one page of the messages to a webhook; with the status ``dead``, the dead letters."""
    await _visible(authority, caller, READ, webhook_id)
    if query.where.get("status") is not None and query.where["status"] not in list(DeliveryStatus):
        raise InvalidInput.of("status", f"must be one of {', '.join(DeliveryStatus)}")
    found = await read_page(authority.store, Delivery, query.narrowed(webhook_id=webhook_id))
    return Page([delivery_view(message) for message in found.items], found.after)


async def redeliver(authority: Authority, caller: Caller, webhook_id: str, message_id: str) -> DeliveryView:
    """Send a message again, with all its attempts before it, whatever became of it."""
    await _visible(authority, caller, WRITE, webhook_id)

    async def work(uow: UnitOfWork) -> DeliveryView:
        message = await uow.get(Delivery, message_id)
        if message.webhook_id != webhook_id:
            raise NotFound("message", message_id)
        webhook = await uow.get(Webhook, webhook_id)
        require_live(webhook)
        now = authority.clock.now()
        changed = settle(message, DeliveryChange.REDELIVER, now)
        await uow.update(changed)
        _note(uow, caller, now, "webhook.redeliver", webhook, {"message": message.id})
        return delivery_view(changed)

    return await authority.change(caller, work)


def signing_secret(keyring: Keyring, webhook: Webhook, secret: SigningSecret) -> bytes:
    """Return the key that a webhook's messages are signed with; raises ``CannotOpen``."""
    return open_sealed(keyring, PURPOSE, secret.sealed, webhook.id.encode())


def view(webhook: Webhook) -> WebhookView:
    """Return a webhook as it travels; its secrets are not in it."""
    return WebhookView(
        **record_fields(webhook),
        project_id=webhook.project_id,
        name=webhook.name,
        url=webhook.url,
        events=list(webhook.events),
        secrets=[
            SigningSecretView(one.number, moment(one.created_at), to_moment(one.expires_at)) for one in webhook.secrets
        ],
    )


def delivery_view(message: Delivery) -> DeliveryView:
    """Return a message as it travels."""
    is_waiting = message.status is DeliveryStatus.WAITING
    return DeliveryView(
        **record_fields(message),
        webhook_id=message.webhook_id,
        event=message.event,
        status=message.status,
        attempts=message.attempts,
        answered=message.answered,
        why=message.why,
        due_at=moment(message.due_at) if is_waiting else None,
        settled_at=to_moment(message.settled_at),
    )


async def _visible(authority: Authority, caller: Caller, permission: str, webhook_id: str) -> Webhook:
    caller.need(permission)
    webhook = await authority.store.get(Webhook, webhook_id)
    caller.need_project(permission, webhook.project_id, "webhook", webhook_id)
    return webhook


async def _require_room(uow: UnitOfWork, project_id: str) -> None:
    if len(await uow.page(Webhook, Query({"project_id": project_id}, limit=MAX_WEBHOOKS))) >= MAX_WEBHOOKS:
        raise Conflict(f"A project may have {MAX_WEBHOOKS} webhooks; delete one first.")


def _new_secret(keyring: Keyring, webhook_id: str, number: int, now: Instant) -> tuple[Secret, SigningSecret]:
    key = os.urandom(SECRET_BYTES)
    text = PREFIX + base64.b64encode(key).decode()
    return Secret(text), SigningSecret(number, seal(keyring, PURPOSE, key, webhook_id.encode()), now)


def _check_url(problems: Problems, url: str) -> None:
    try:
        parts = urlsplit(url)
        is_fit = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
        is_fit = is_fit and parts.username is None and parts.password is None and not parts.fragment
    except ValueError:
        is_fit = False
    if not is_fit or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        problems.add("url", f"{shown(url)} is no https URL without credentials")


def _note(uow: UnitOfWork, caller: Caller, now: Instant, action: str, webhook: Webhook, details: Any) -> None:
    Deed(uow, caller, now).note(action, webhook.id, project_id=webhook.project_id, details=details, event=False)
