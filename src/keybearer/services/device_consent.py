"""The user's answer to a device: what it may have is shown, agreed to, and written into the user's grant.

Spec: RFC 8628 §3.3, SECURITY-BAR 7; authentik CVE-2024-52287 (a device got scopes that nobody had approved).
"""

from __future__ import annotations

from typing import NamedTuple

from ..core.lifecycle import touch
from ..core.oauth_error import AccessDenied
from ..core.records import Api, State
from ..core.sessions import Session
from ..core.target import names_of
from ..core.users import User
from ..ports import UnitOfWork
from . import consent, device
from .asked import may_grant
from .authority import Authority, Caller
from .authorize import apis_of, client_in_force
from .device import FoundDevice
from .sessions import SignedIn


class Offered(NamedTuple):
    """What a device may have of what it asked for, of this user."""

    view: consent.ConsentView
    apis: tuple[Api, ...]
    scopes: tuple[str, ...]


async def offered(authority: Authority, found: FoundDevice, user: User) -> Offered:
    """Return what this user can grant to a device; raises ``AccessDenied`` when that is nothing, ``OAuthError``."""
    client = await client_in_force(authority, found.client.client_id)
    enabled, asked = await apis_of(authority, client), found.request
    named = tuple(api for api in enabled if api.id in asked.resources)
    apis = named or tuple(api for api in enabled if names_of(api).intersection(asked.scopes))
    held = frozenset(user.permissions)
    scopes = tuple(scope for scope in asked.scopes if may_grant(apis, held, scope))
    if not scopes and not asked.authorization_details:
        raise AccessDenied("Nothing of what the device asks for is yours to give.")
    details = tuple(asked.authorization_details)
    return Offered(consent.view(client, apis, scopes, details, offline=True), apis, scopes)


async def approve(
    authority: Authority,
    caller: Caller,
    found: FoundDevice,
    signed_in: SignedIn,
    selected: frozenset[str],
    *,
    seen: str,
) -> bool:
    """Let a device have what is required and what is ``selected`` of what is optional, in one transaction.

    ``seen`` is the fingerprint of what the page showed: false when that has changed, and the user must be asked again.
    Raises ``AccessDenied`` when nothing is left, and ``Conflict`` when the device was answered meanwhile.
    """
    offer = await offered(authority, found, signed_in.user)
    if offer.view.fingerprint != seen:
        return False
    client, details = offer.view.client, tuple(found.request.authorization_details)
    granted = tuple(scope for scope in offer.scopes if scope not in client.optional_scopes or scope in selected)
    if not granted and not details:
        raise AccessDenied("You deselected everything that was asked for.")
    refused = frozenset(offer.scopes) - frozenset(granted)

    async def work(uow: UnitOfWork) -> None:
        now = authority.clock.now()
        user = await uow.get(User, signed_in.user.id)
        session = await uow.get(Session, signed_in.session.id)
        if user.state is not State.ENABLED or session.state is not State.ENABLED or session.is_over(now):
            raise AccessDenied("The session has ended.")
        grant = await consent.write(uow, caller, now, user.id, client, offer.apis, granted, details, refused)
        if client.id not in session.client_ids:
            session = touch(session, now, client_ids=(*session.client_ids, client.id)[-100:])
            await uow.update(session)
        await device.approve(uow, authority, caller, found, user=user, grant=grant, session=session, granted=granted)

    await authority.store.transact(work)
    return True


async def deny(authority: Authority, caller: Caller, found: FoundDevice, signed_in: SignedIn) -> None:
    """Refuse a device."""

    async def work(uow: UnitOfWork) -> None:
        await device.deny(uow, authority, caller, found, user=signed_in.user)

    await authority.store.transact(work)
