"""The endpoints of OAuth clients, of grants, and of signing keys."""

from __future__ import annotations

from typing import Any

from ..core.lifecycle import Change
from ..services import clients, grants, key_rotation
from ..wire import clients as client_types
from ..wire.grants import GrantView, RevokeGrant, UpdateGrant
from ..wire.listing import Listing
from ..wire.signing_keys import RotateSigningKey, SigningKeyView
from .operation import CURSOR, LIMIT, Call, Operation, Parameter
from .records import collection

GRANT_FILTERS = ("user_id", "client_id", "project_id", "state")


async def _rotate_secret(call: Call) -> Any:
    return await clients.rotate(call.authority, call.caller, call.path["id"], call.body)


async def _revoke_client(call: Call) -> Any:
    return await clients.set_state(call.authority, call.caller, call.path["id"], Change.REVOKE)


async def _page_grants(call: Call) -> Any:
    return await grants.page(call.authority, call.caller, call.page(*GRANT_FILTERS))


async def _get_grant(call: Call) -> Any:
    return await grants.get(call.authority, call.caller, call.path["id"])


async def _update_grant(call: Call) -> Any:
    return await grants.update(call.authority, call.caller, call.path["id"], call.body)


async def _revoke_grant(call: Call) -> Any:
    return await grants.revoke(call.authority, call.caller, call.path["id"], call.body)


async def _page_signing_keys(call: Call) -> Any:
    return await key_rotation.page(call.authority, call.caller, call.page("state"))


async def _get_signing_key(call: Call) -> Any:
    return await key_rotation.get(call.authority, call.caller, call.path["id"])


async def _rotate_signing_key(call: Call) -> Any:
    return await key_rotation.rotate(call.authority, call.caller, call.body)


async def _revoke_signing_key(call: Call) -> Any:
    return await key_rotation.revoke(call.authority, call.caller, call.path["id"])


def _filters(*names: str) -> tuple[Parameter, ...]:
    return (*(Parameter(name, f"Only those whose {name} is this.") for name in names), LIMIT, CURSOR)


OPERATIONS: tuple[Operation, ...] = (
    *collection(
        "client", "clients", clients, client_types.CreateClient, client_types.UpdateClient, client_types.ClientView,
        client_types.IssuedClient, ("project_id", "name", "origin", "state"),
    ),
    Operation(
        method="POST", path="/v1/clients/{id}/rotate", operation_id="clients.rotate", tag="Clients",
        permission=clients.WRITE, summary="Give a client a new secret; the old one works on for a while",
        handler=_rotate_secret, body=client_types.RotateClientSecret, optional_body=True,
        response=client_types.IssuedClient,
    ),
    Operation(
        method="POST", path="/v1/clients/{id}/revoke", operation_id="clients.revoke", tag="Clients",
        permission=clients.WRITE, summary="Revoke a client for good, with all its tokens",
        handler=_revoke_client, response=client_types.ClientView,
    ),
    Operation(
        method="GET", path="/v1/grants", operation_id="grants.list", tag="Grants", permission=grants.READ,
        summary="List what users allowed clients", handler=_page_grants, response=Listing[GrantView],
        parameters=_filters(*GRANT_FILTERS),
    ),
    Operation(
        method="GET", path="/v1/grants/{id}", operation_id="grants.get", tag="Grants", permission=grants.READ,
        summary="Read a grant", handler=_get_grant, response=GrantView,
    ),
    Operation(
        method="PATCH", path="/v1/grants/{id}", operation_id="grants.update", tag="Grants", permission=grants.WRITE,
        summary="Narrow a grant, or limit its tokens", handler=_update_grant, body=UpdateGrant, response=GrantView,
    ),
    Operation(
        method="POST", path="/v1/grants/{id}/revoke", operation_id="grants.revoke", tag="Grants",
        permission=grants.WRITE, summary="Revoke a grant, with every token that it gave",
        handler=_revoke_grant, body=RevokeGrant, optional_body=True, response=GrantView,
    ),
    Operation(
        method="GET", path="/v1/signing-keys", operation_id="signing_keys.list", tag="Signing keys",
        permission=key_rotation.READ, summary="List signing keys", handler=_page_signing_keys,
        response=Listing[SigningKeyView], parameters=_filters("state"),
    ),
    Operation(
        method="GET", path="/v1/signing-keys/{id}", operation_id="signing_keys.get", tag="Signing keys",
        permission=key_rotation.READ, summary="Read a signing key", handler=_get_signing_key, response=SigningKeyView,
    ),
    Operation(
        method="POST", path="/v1/signing-keys/rotate", operation_id="signing_keys.rotate", tag="Signing keys",
        permission=key_rotation.WRITE, summary="Make the next signing key",
        handler=_rotate_signing_key, body=RotateSigningKey, optional_body=True, response=SigningKeyView,
    ),
    Operation(
        method="POST", path="/v1/signing-keys/{id}/revoke", operation_id="signing_keys.revoke", tag="Signing keys",
        permission=key_rotation.WRITE, summary="Refuse a signing key, and every JWT that it signed, for good",
        handler=_revoke_signing_key, response=SigningKeyView,
    ),
)  # fmt: skip
