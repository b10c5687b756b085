"""Revocation by clients: a refresh token ends its family, an access token itself. Spec: RFC 7009.

An unknown token is answered like a revoked one: there is nothing to be learnt by guessing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..core import credential
from ..core.clients import Client
from ..core.errors import NotFound
from ..core.instant import Instant
from ..core.lifecycle import revoke_family as revoked
from ..core.oauth_error import InvalidGrant, UnsupportedTokenType
from ..core.tokens import TokenFamily
from ..formats import opaque, refresh_token
from ..ports import UnitOfWork
from .authority import Authority, Caller, Deed
from .client_authentication import ClientAuthentication, OAuthRequest
from .own_tokens import find_access_token, find_family

_OTHERS: Final = "The token was issued to another client."


async def revoke(
    authority: Authority, authentication: ClientAuthentication, request: OAuthRequest, tag_key: bytes
) -> None:
    """Revoke a token of the client that asks; raises ``OAuthError``, and ``Unavailable`` when that was not stored."""
    client = (await authentication.client_of(request)).client
    text = request.form.need("token")
    parts = credential.split(text)
    if parts is not None and parts[0] not in (opaque.PREFIX, refresh_token.PREFIX):
        raise UnsupportedTokenType("Only access tokens and refresh tokens are revoked here.")
    caller = request.caller(client)
    # token_type_hint is not needed: every token says what it is (RFC 7009 §2.1 lets servers ignore it).
    found = await find_family(authority, text, tag_key)
    if found is not None:
        await _revoke_family(authority, client, caller, found[0])
        return
    record = await find_access_token(authority, text)
    if record is None:
        return
    token = record.token
    if token.client_id != client.id:
        raise InvalidGrant(_OTHERS)

    async def work(uow: UnitOfWork) -> None:
        await revoke_token(uow, caller, token.id, token.expires_at, token.project_id, authority.clock.now())

    await authority.store.transact(work)


async def _revoke_family(authority: Authority, client: Client, caller: Caller, family: TokenFamily) -> None:
    if family.client_id != client.id:
        raise InvalidGrant(_OTHERS)

    async def work(uow: UnitOfWork) -> None:
        try:
            current = await uow.get_family(family.id)
        except NotFound:
            return
        await end_family(uow, caller, current, authority.clock.now(), {"by": "client"})

    await authority.store.transact(work)


async def revoke_token(
    uow: UnitOfWork, caller: Caller, token_id: str, expires_at: Instant, project_id: str, now: Instant
) -> None:
    """Refuse an access token from now on; one that is refused already stays as it is."""
    if await uow.revoke_token(token_id, expires_at):
        Deed(uow, caller, now).note("token.revoke", token_id, project_id=project_id)


async def end_family(
    uow: UnitOfWork, caller: Caller, family: TokenFamily, now: Instant, details: Mapping[str, object]
) -> None:
    """Refuse a family, and with it all access tokens that came from it; one that is revoked stays as it is."""
    if family.revoked_at is not None:
        return
    await uow.update_family(revoked(family, now), generation=family.generation)
    Deed(uow, caller, now).note("family.revoke", family.id, project_id=family.project_id, details=details)
