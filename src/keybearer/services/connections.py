"""Connected applications: what a user has allowed, listed, narrowed and withdrawn by that user.

Every change goes through the event log, and so reaches tokens that are already out. Spec: DESIGN §1 (Grant), ASVS 10.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec

from ..core.clients import Client
from ..core.errors import InvalidInput, NotFound
from ..core.grants import GRANT_ID, Grant
from ..core.records import Api, State
from ..ports import Query, UnitOfWork
from .authority import Authority, Caller
from .consent import DetailLines, ScopeGroup, detail_lines, groups_of, is_over
from .grants import narrow as narrow_grant
from .grants import revoke_grant
from .sessions import SignedIn

MAX_GRANTS: Final = 200
"""Connected applications that are shown to one user."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A grant as its user sees it: to whom, for what. Each of the ``details`` has a name to keep or drop it by."""

    grant: Grant
    client: Client
    groups: tuple[ScopeGroup, ...]
    details: tuple[tuple[str, DetailLines], ...]


async def own(authority: Authority, signed_in: SignedIn) -> list[Connection]:
    """Return the applications that whoever is signed in has connected, the newest first."""
    where = {"user_id": signed_in.user.id, "state": State.ENABLED}
    found = await authority.store.page(Grant, Query(where, limit=MAX_GRANTS))
    now = authority.clock.now()
    return [await _connection(authority, grant) for grant in reversed(found) if not is_over(grant, now)]


async def own_one(authority: Authority, signed_in: SignedIn, grant_id: str) -> Connection:
    """Return one of one's own connections; raises ``NotFound``, also for another user's."""
    grant = await authority.store.get(Grant, grant_id) if grant_id.startswith(GRANT_ID) else None
    if grant is None or grant.user_id != signed_in.user.id or grant.state is not State.ENABLED:
        raise NotFound("connected application", grant_id)
    return await _connection(authority, grant)


async def _connection(authority: Authority, grant: Grant) -> Connection:
    client = await authority.store.get(Client, grant.client_id)
    apis = []
    for api_id in grant.resources:
        try:
            apis.append(await authority.store.get(Api, api_id))
        except NotFound:
            continue
    details = tuple((name_of(one), detail_lines(apis, one)) for one in grant.authorization_details)
    return Connection(grant, client, groups_of(client, apis, grant.scopes), details)


def name_of(detail: Mapping[str, object]) -> str:
    """Return what a form calls one authorization detail: its digest."""
    return sha256(msgspec.json.encode(detail, order="sorted")).hexdigest()[:20]


async def narrow(
    authority: Authority,
    caller: Caller,
    signed_in: SignedIn,
    grant_id: str,
    kept: frozenset[str],
    kept_details: frozenset[str],
) -> None:
    """Take scopes, and authorization details by their names, out of one of one's own grants; it never widens.

    Raises ``NotFound``, and ``InvalidInput`` when nothing would be left: that is a revocation, and must be said.
    """

    async def work(uow: UnitOfWork) -> None:
        grant = await _own_locked(uow, signed_in, grant_id)
        scopes = tuple(scope for scope in grant.scopes if scope in kept)
        details = tuple(one for one in grant.authorization_details if name_of(one) in kept_details)
        if not scopes and not details:
            raise InvalidInput.of("scopes", "keep at least one, or disconnect the application")
        if (scopes, details) != (grant.scopes, grant.authorization_details):
            now = authority.clock.now()
            await narrow_grant(uow, caller, grant, now, scopes=scopes, authorization_details=details)

    await authority.store.transact(work)


async def revoke(authority: Authority, caller: Caller, signed_in: SignedIn, grant_id: str) -> None:
    """Revoke one of one's own grants, with all refresh tokens of it. Raises ``NotFound``."""

    async def work(uow: UnitOfWork) -> None:
        grant = await _own_locked(uow, signed_in, grant_id)
        await revoke_grant(uow, caller, grant, authority.clock.now())

    await authority.store.transact(work)


async def _own_locked(uow: UnitOfWork, signed_in: SignedIn, grant_id: str) -> Grant:
    if not grant_id.startswith(GRANT_ID):
        raise NotFound("connected application", grant_id)
    grant = await uow.get(Grant, grant_id)
    if grant.user_id != signed_in.user.id or grant.state is not State.ENABLED:
        raise NotFound("connected application", grant_id)
    return grant
