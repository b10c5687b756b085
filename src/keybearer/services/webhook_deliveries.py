"""The messages to webhooks are sent: signed, tried for hours, and kept when nobody takes them.

They lie in the store, so that neither a crash nor a receiver that is down loses one. Each attempt is claimed by moving
its ``due_at``, so that one node makes it. Spec: Standard Webhooks (webhook-id, webhook-timestamp, webhook-signature).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import logging
from collections import Counter
from collections.abc import Callable
from random import SystemRandom
from typing import Final

from ..core.errors import Conflict, KeybearerError, NotFound, Unreachable
from ..core.instant import MINUTE, SECOND, Instant
from ..core.lifecycle import DeliveryChange, settle, touch
from ..core.records import State
from ..core.webhooks import RETRY_IN, Delivery, DeliveryStatus, Webhook
from ..ports import UnitOfWork
from .authority import Authority
from .sealing import CannotOpen
from .webhooks import signing_secret

log = logging.getLogger(__name__)

POLL_IN: Final = 1.0
"""Seconds between two looks for what is due."""
LOOK_AT: Final = 500
MAX_AT_ONCE: Final = 8
MAX_OF_ONE: Final = 2
"""Attempts at once, in all and to one webhook: who answers slowly keeps nobody else waiting."""
CLAIM_IN: Final = MINUTE
"""How long an attempt is left to who claimed it; what a node that died had claimed is tried by another then."""
JITTER: Final = 0.2
MAX_ANSWER: Final = 65_536
_CHANCE: Final = SystemRandom()


class WebhookDeliveries:
    """Sends what is due. One object serves a node; ``on_outcome`` hears ``delivered``, ``failed`` or ``dead``."""

    def __init__(self, authority: Authority, on_outcome: Callable[[str], None] = lambda outcome: None) -> None:
        self._authority = authority
        self._on_outcome = on_outcome
        self._loop: asyncio.Task[None] | None = None
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._busy: Counter[str] = Counter()

    def start(self) -> None:
        """Begin in the background."""
        self._loop = asyncio.create_task(self._run(), name="keybearer-webhooks")

    async def stop(self) -> None:
        """Stop; what is on its way is given up, and tried again by whoever starts next."""
        for task in (self._loop, *self._sending.values()):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _run(self) -> None:
        while True:
            try:
                await self.begin_due()
            except KeybearerError as error:
                log.warning("messages to webhooks cannot be read", extra={"error": error.detail or error.public})
            except Exception:
                # The loop must outlive a defect of one message.
                log.exception("messages to webhooks failed")
            await asyncio.sleep(POLL_IN)

    async def begin_due(self) -> None:
        """Begin to send what is due, as much as may be on its way at once."""
        for message in await self._authority.store.due_deliveries(self._authority.clock.now(), LOOK_AT):
            if len(self._sending) >= MAX_AT_ONCE:
                return
            if message.id in self._sending or self._busy[message.webhook_id] >= MAX_OF_ONE:
                continue
            self._busy[message.webhook_id] += 1
            task = asyncio.create_task(self._send(message), name="keybearer-webhook-message")
            self._sending[message.id] = task
            task.add_done_callback(lambda _, message=message: self._sent(message))  # type: ignore[misc]

    def _sent(self, message: Delivery) -> None:
        self._sending.pop(message.id, None)
        self._busy[message.webhook_id] -= 1
        if self._busy[message.webhook_id] <= 0:
            del self._busy[message.webhook_id]

    async def settled(self) -> None:
        """Return when nothing is on its way."""
        while self._sending:
            await asyncio.wait(set(self._sending.values()))

    # One message.

    async def _send(self, message: Delivery) -> None:
        try:
            claimed = await self._claim(message)
            if claimed is not None:
                await self._finish(claimed, *await self._attempt(claimed))
        except KeybearerError as error:
            log.warning("a message could not be sent", extra={"id": message.id, "error": error.detail or error.public})
        except Exception:
            log.exception("a message failed", extra={"id": message.id})

    async def _claim(self, message: Delivery) -> Delivery | None:
        """Return the message as this node's to try, or ``None`` when another one has it."""
        now = self._authority.clock.now()
        due_at = Instant(now + CLAIM_IN)
        claimed = touch(message, now, due_at=due_at, attempts=message.attempts + 1)

        async def work(uow: UnitOfWork) -> None:
            await uow.update(claimed)

        try:
            await self._authority.store.transact(work)
        except Conflict:
            return None
        return claimed

    async def _attempt(self, message: Delivery) -> tuple[bool, int | None, str]:
        """Return whether it was taken, the status that was answered, and what went wrong."""
        authority = self._authority
        try:
            webhook = await authority.store.get(Webhook, message.webhook_id)
        except NotFound:
            return False, None, "the webhook is gone"
        if webhook.state is not State.ENABLED:
            return False, None, f"the webhook is {webhook.state.value}"
        if authority.fetcher is None:
            return False, None, "this authority reaches nobody"
        try:
            headers = signed(authority, webhook, message)
        except CannotOpen:
            return False, None, "its signing secret cannot be opened with this keyring"
        try:
            answer = await authority.fetcher.post(
                webhook.url, message.body.encode(), "application/json", headers, limit=MAX_ANSWER
            )
        except Unreachable as error:
            return False, None, error.public
        if 200 <= answer.status < 300:
            return True, answer.status, ""
        return False, answer.status, f"it answered {answer.status}"

    async def _finish(self, message: Delivery, is_taken: bool, answered: int | None, why: str) -> None:
        outcome = "delivered" if is_taken else "failed" if message.attempts <= len(RETRY_IN) else "dead"

        async def work(uow: UnitOfWork) -> None:
            current = await uow.get(Delivery, message.id)
            if current.revision != message.revision or current.status is not DeliveryStatus.WAITING:
                return  # somebody took it over, or asked for it anew
            now = self._authority.clock.now()
            if outcome == "failed":
                later = RETRY_IN[message.attempts - 1] * _CHANCE.uniform(1 - JITTER, 1 + JITTER)
                await uow.update(touch(current, now, due_at=Instant(now + int(later)), answered=answered, why=why))
            else:
                change = DeliveryChange.DELIVER if is_taken else DeliveryChange.GIVE_UP
                await uow.update(settle(current, change, now, answered=answered, why=why))

        await self._authority.store.transact(work)
        self._on_outcome(outcome)
        if outcome == "dead":
            log.warning("a message was given up", extra={"id": message.id, "webhook": message.webhook_id, "why": why})


def signed(authority: Authority, webhook: Webhook, message: Delivery) -> dict[str, str]:
    """Return the headers of one attempt: its time, and a signature by every secret that is in force."""
    now = authority.clock.now()
    timestamp = str(now // SECOND)
    content = f"{message.id}.{timestamp}.{message.body}".encode()
    signatures = [
        base64.b64encode(hmac.digest(signing_secret(authority.keyring, webhook, one), content, "sha256")).decode()
        for one in webhook.signing(now)
    ]
    return {
        "webhook-id": message.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
