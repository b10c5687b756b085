"""The endpoints that only keys, their budgets and enabled APIs have."""

from __future__ import annotations

from typing import Any

from ..core.errors import InvalidInput
from ..services import identities, keys, projects, rotation
from ..wire.keys import IssuedKey, KeyView, RevokeKey, RotateKey
from ..wire.limits import CreditsView, SetCredits
from ..wire.records import ProjectView
from ..wire.verify import RefundRequest, RefundResponse
from .operation import Call, Operation

WRITE = "keybearer:keys.write"


async def _rotate(call: Call) -> Any:
    return await rotation.rotate(call.authority, call.caller, call.path["id"], call.body)


async def _revoke(call: Call) -> Any:
    return await keys.revoke(call.authority, call.caller, call.path["id"], call.body)


async def _revoke_version(call: Call) -> Any:
    number = call.path["number"]
    if not (number.isascii() and number.isdecimal()) or len(number) > 9:
        raise InvalidInput.of("number", "this is not the number of a version")
    return await rotation.revoke_one(call.authority, call.caller, call.path["id"], int(number), call.body)


async def _key_credits(call: Call) -> Any:
    return await keys.set_credits(call.authority, call.caller, call.path["id"], call.body)


async def _identity_credits(call: Call) -> Any:
    return await identities.set_credits(call.authority, call.caller, call.path["id"], call.body)


async def _refund(call: Call) -> Any:
    return await keys.refund(call.authority, call.caller, call.body)


async def _enable_api(call: Call) -> Any:
    return await projects.enable_api(call.authority, call.caller, call.path["id"], call.path["api"])


async def _disable_api(call: Call) -> Any:
    return await projects.disable_api(call.authority, call.caller, call.path["id"], call.path["api"])


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST", path="/v1/keys/{id}/rotate", operation_id="keys.rotate", tag="Keys", permission=WRITE,
        summary="Give a key a new secret; the old one works on for a while",
        handler=_rotate, body=RotateKey, optional_body=True, response=IssuedKey,
    ),
    Operation(
        method="POST", path="/v1/keys/{id}/revoke", operation_id="keys.revoke", tag="Keys", permission=WRITE,
        summary="Revoke a key for good", handler=_revoke, body=RevokeKey, optional_body=True, response=KeyView,
    ),
    Operation(
        method="POST", path="/v1/keys/{id}/versions/{number}/revoke", operation_id="keys.revoke_version", tag="Keys",
        permission=WRITE, summary="Revoke one secret of a key",
        handler=_revoke_version, body=RevokeKey, optional_body=True, response=KeyView,
    ),
    Operation(
        method="PUT", path="/v1/keys/{id}/credits", operation_id="keys.credits", tag="Keys", permission=WRITE,
        summary="Set or add credits of a key", handler=_key_credits, body=SetCredits, response=CreditsView,
    ),
    Operation(
        method="PUT", path="/v1/identities/{id}/credits", operation_id="identities.credits", tag="Identities",
        permission="keybearer:identities.write", summary="Set or add credits of an identity",
        handler=_identity_credits, body=SetCredits, response=CreditsView,
    ),
    Operation(
        method="POST", path="/v1/refund", operation_id="refund", tag="Verify", permission="keybearer:verify",
        summary="Give back what a request took and did not use",
        handler=_refund, body=RefundRequest, response=RefundResponse,
    ),
    Operation(
        method="PUT", path="/v1/projects/{id}/apis/{api}", operation_id="projects.enable_api", tag="Projects",
        permission="keybearer:projects.write", summary="Let a project call an API",
        handler=_enable_api, response=ProjectView,
    ),
    Operation(
        method="DELETE", path="/v1/projects/{id}/apis/{api}", operation_id="projects.disable_api", tag="Projects",
        permission="keybearer:projects.write", summary="No longer let a project call an API",
        handler=_disable_api, response=ProjectView,
    ),
)  # fmt: skip
