"""OAuth clients: registered, shown, changed, given new secrets, switched off, revoked, deleted and brought back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ..core.clients import CLIENT_ID, SECRET_METHODS, SECRET_PREFIX, Client, ClientAuthMethod, ClientSecret
from ..core.credential import mint, new_id
from ..core.errors import Conflict, NotFound
from ..core.instant import SECOND, Instant
from ..core.lifecycle import Change, touch
from ..core.secret import Secret
from ..ports import UnitOfWork
from ..wire.base import moment, to_moment
from ..wire.clients import (
    ClientSecretView,
    ClientView,
    CreateClient,
    IssuedClient,
    RotateClientSecret,
    UpdateClient,
)
from .authority import Authority, Caller, Deed
from .client_rules import check_client, require_may_hand_on, require_may_trust
from .grounds import read_ground
from .limits import limit_specs, quota_specs, to_limits, to_quotas
from .paging import Page, PageQuery, read_page
from .problems import Problems
from .sealing import seal
from .standing import change_state, require_live
from .text import check_metadata, check_text
from .views import record_fields

READ: Final = "keybearer:clients.read"
WRITE: Final = "keybearer:clients.write"
MAX_SECRETS: Final = 10
SEAL_PURPOSE: Final = "client-secret"
_DURATIONS: Final = ("access_token_in", "refresh_token_in", "refresh_idle_in")
_OPTIONAL_DURATIONS: Final = ("default_max_age",)


async def create(authority: Authority, caller: Caller, body: CreateClient) -> IssuedClient:
    """Register a client. Its secret, if it has one, is in the answer and nowhere else."""
    caller.need(WRITE)
    ground = await read_ground(authority, caller, body.project_id)
    problems = Problems()
    now = authority.clock.now()
    draft = Client(
        id=CLIENT_ID + new_id(now),
        created_at=now,
        updated_at=now,
        **_changes(problems, body),
    )
    check_client(problems, draft, tuple(ground.apis.values()))
    problems.settle()
    require_may_hand_on(caller, draft.scopes)
    require_may_trust(caller, None, draft)
    secret: Secret | None = None
    if draft.token_endpoint_auth_method in SECRET_METHODS:
        secret, stored = new_secret(authority, draft, 1, now)
        draft = replace(draft, secrets=(stored,))
    client = draft

    async def work(uow: UnitOfWork) -> IssuedClient:
        await uow.insert(client)
        Deed(uow, caller, now).note(
            "client.create",
            client.id,
            project_id=client.project_id,
            details={"scopes": list(client.scopes), "auth": client.token_endpoint_auth_method},
        )
        return IssuedClient(view(client), None if secret is None else secret.reveal())

    return await authority.change(caller, work)


async def get(authority: Authority, caller: Caller, client_id: str) -> ClientView:
    """Return a client, deleted ones too while they can be brought back."""
    return view(await visible(authority, caller, READ, client_id))


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[ClientView]:
    """Return one page of clients; a project's caller sees its own."""
    caller.need(READ)
    if caller.project_id is not None and query.where.get("project_id", caller.project_id) != caller.project_id:
        raise NotFound("project", query.where["project_id"])
    found = await read_page(authority.store, Client, query.narrowed(project_id=caller.project_id))
    return Page([view(client) for client in found.items], found.after)


async def update(authority: Authority, caller: Caller, client_id: str, body: UpdateClient) -> ClientView:
    """Change a client. Scopes that are taken away are gone from tokens already out."""
    before = await visible(authority, caller, WRITE, client_id)
    ground = await read_ground(authority, caller, before.project_id)
    problems = Problems()
    changes = _changes(problems, body)
    problems.settle()

    async def work(uow: UnitOfWork) -> ClientView:
        client = await uow.get(Client, client_id)
        require_live(client)
        now = authority.clock.now()
        changed = touch(client, now, **changes)
        check_client(problems, changed, tuple(ground.apis.values()))
        problems.settle()
        # Whoever changes a client can become it, with keys or a redirect URI of their own: what it has counts too.
        require_may_hand_on(caller, (*client.scopes, *changed.scopes))
        require_may_trust(caller, client, changed)
        if changed.token_endpoint_auth_method is ClientAuthMethod.SECRET_JWT and not any(
            secret.sealed for secret in changed.secrets
        ):
            raise Conflict("client_secret_jwt needs a new secret: register a client with this method.")
        if changed.token_endpoint_auth_method in SECRET_METHODS and not changed.secrets:
            raise Conflict("This client has no secret yet: register a client with this method.")
        await uow.update(changed)
        Deed(uow, caller, now).note(
            "client.update", client.id, project_id=client.project_id, details={"fields": sorted(changes)}
        )
        return view(changed)

    return await authority.change(caller, work)


async def set_state(authority: Authority, caller: Caller, client_id: str, wanted: Change) -> ClientView:
    """Enable, disable, revoke, delete or undelete a client; all its tokens follow at once."""
    before = await visible(authority, caller, WRITE, client_id)
    if wanted in (Change.ENABLE, Change.UNDELETE):
        require_may_hand_on(caller, before.scopes)
    return await change_state(authority, caller, Client, client_id, wanted, view)


async def rotate(authority: Authority, caller: Caller, client_id: str, body: RotateClientSecret) -> IssuedClient:
    """Give a client a new secret; those it has run out after the grace, and never later than before."""
    before = await visible(authority, caller, WRITE, client_id)
    require_may_hand_on(caller, before.scopes)

    async def work(uow: UnitOfWork) -> IssuedClient:
        client = await uow.get(Client, client_id)
        require_live(client)
        if client.token_endpoint_auth_method not in SECRET_METHODS:
            raise Conflict(f"A client that uses {client.token_endpoint_auth_method.value} has no secret.")
        now = authority.clock.now()
        end = Instant(now + body.grace_in * SECOND)
        kept = tuple(
            one if one.expires_at is not None and one.expires_at <= end else replace(one, expires_at=end)
            for one in client.secrets
            if one.expires_at is None or one.expires_at > now
        )
        if len(kept) >= MAX_SECRETS:
            raise Conflict(f"A client may have {MAX_SECRETS} secrets at once; wait until one runs out.")
        number = max((one.number for one in client.secrets), default=0) + 1
        secret, stored = new_secret(authority, client, number, now)
        changed = touch(client, now, secrets=(*kept, stored))
        await uow.update(changed)
        Deed(uow, caller, now).note(
            "client.rotate", client.id, project_id=client.project_id, details={"number": number, "ends": end}
        )
        return IssuedClient(view(changed), secret.reveal())

    return await authority.change(caller, work)


async def visible(authority: Authority, caller: Caller, permission: str, client_id: str) -> Client:
    """Return a client that the caller may see; another project's does not exist for it."""
    caller.need(permission)
    client = await authority.store.get(Client, client_id)
    caller.need_project(permission, client.project_id, "client", client_id)
    return client


def new_secret(authority: Authority, client: Client, number: int, now: Instant) -> tuple[Secret, ClientSecret]:
    """Return a fresh secret and how it is stored: its digest and, for ``client_secret_jwt``, sealed but readable."""
    secret = mint(SECRET_PREFIX, client.id.removeprefix(CLIENT_ID))
    pepper_id = authority.keyring.active_pepper_id
    sealed = b""
    if client.token_endpoint_auth_method is ClientAuthMethod.SECRET_JWT:
        # An HMAC is checked with the secret itself, so a digest is not enough.
        sealed = seal(authority.keyring, SEAL_PURPOSE, secret.reveal().encode(), client.id.encode())
    return secret, ClientSecret(
        number, authority.keyring.digest(pepper_id, secret.reveal()), pepper_id, now, sealed=sealed
    )


def _changes(problems: Problems, body: CreateClient | UpdateClient) -> dict[str, Any]:
    """Return the fields that were given, as the record has them."""
    check_text(problems, body)
    changes: dict[str, Any] = {}
    for name in body.__struct_fields__:
        value = getattr(body, name)
        if value is UNSET:
            continue
        if name == "limits":
            value = to_limits(value)
        elif name == "quotas":
            value = to_quotas(value)
        elif name in _DURATIONS or (name in _OPTIONAL_DURATIONS and value is not None):
            value = value * SECOND
        elif name == "metadata":
            check_metadata(problems, value)
        elif name == "jwks" and value is not None:
            check_metadata(problems, value, "jwks")
        elif isinstance(value, list):
            value = tuple(dict.fromkeys(value))
        changes[name] = value
    return changes


def view(client: Client) -> ClientView:
    """Return a client as it travels; its secrets are not in it."""
    plain = {
        name: _plain(getattr(client, name))
        for name in CreateClient.__struct_fields__
        if name not in ("limits", "quotas", *_DURATIONS, *_OPTIONAL_DURATIONS)
    }
    return ClientView(
        **record_fields(client),
        **plain,
        origin=client.origin,
        revoked_at=to_moment(client.revoked_at),
        secrets=[
            ClientSecretView(one.number, moment(one.created_at), to_moment(one.expires_at), to_moment(one.revoked_at))
            for one in client.secrets
        ],
        default_max_age=None if client.default_max_age is None else client.default_max_age // SECOND,
        access_token_in=client.access_token_in // SECOND,
        refresh_token_in=client.refresh_token_in // SECOND,
        refresh_idle_in=client.refresh_idle_in // SECOND,
        limits=limit_specs(client.limits),
        quotas=quota_specs(client.quotas),
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else msgspec.to_builtins(value) if isinstance(value, dict) else value
