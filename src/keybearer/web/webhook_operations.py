"""The endpoints that only webhooks have: new secrets, a ping, and the messages to them."""

from __future__ import annotations

from typing import Any

from ..services import webhooks
from ..wire import webhooks as types
from ..wire.listing import Listing
from .operation import CURSOR, LIMIT, Call, Operation, Parameter


async def _rotate(call: Call) -> Any:
    body = call.body or types.RotateWebhookSecret()
    return await webhooks.rotate(call.authority, call.caller, call.path["id"], body)


async def _ping(call: Call) -> Any:
    return await webhooks.ping(call.authority, call.caller, call.path["id"])


async def _deliveries(call: Call) -> Any:
    page = call.page(*webhooks.DELIVERY_FILTERS)
    return await webhooks.deliveries(call.authority, call.caller, call.path["id"], page)


async def _redeliver(call: Call) -> Any:
    return await webhooks.redeliver(call.authority, call.caller, call.path["id"], call.path["message"])


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST", path="/v1/webhooks/{id}/rotate", operation_id="webhooks.rotate", tag="Webhooks",
        permission=webhooks.WRITE, summary="Give a webhook a new signing secret; the old one works on for a while",
        handler=_rotate, body=types.RotateWebhookSecret, optional_body=True, response=types.IssuedWebhook,
    ),
    Operation(
        method="POST", path="/v1/webhooks/{id}/ping", operation_id="webhooks.ping", tag="Webhooks",
        permission=webhooks.WRITE, summary="Try a webhook out", handler=_ping, response=types.DeliveryView,
    ),
    Operation(
        method="GET", path="/v1/webhooks/{id}/deliveries", operation_id="webhooks.deliveries", tag="Webhooks",
        permission=webhooks.READ, summary="List the messages to a webhook", handler=_deliveries,
        response=Listing[types.DeliveryView],
        parameters=(Parameter("status", "Only those that are `waiting`, `delivered` or `dead`."), LIMIT, CURSOR),
    ),
    Operation(
        method="POST", path="/v1/webhooks/{id}/deliveries/{message}/redeliver", operation_id="webhooks.redeliver",
        tag="Webhooks", permission=webhooks.WRITE, summary="Send a message again", handler=_redeliver,
        response=types.DeliveryView,
    ),
)  # fmt: skip
