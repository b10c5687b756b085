"""Grants as a live ledger: listed, narrowed and revoked, and felt at once by the tokens that they gave.

A grant is not a session: ending one leaves the other. Revoking a grant ends its refresh families with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import UNSET

from ..core.errors import InvalidInput, NotFound
from ..core.grants import Grant
from ..core.instant import Instant
from ..core.lifecycle import Change, change, touch
from ..ports import UnitOfWork
from ..wire.base import to_instant, to_moment
from ..wire.grants import GrantView, RevokeGrant, UpdateGrant
from .authority import Authority, Caller, Deed
from .keys import settled
from .limits import check_names, limit_specs, quota_specs, to_limits, to_quotas
from .paging import Page, PageQuery, read_page
from .problems import Problems
from .standing import require_live
from .text import shown
from .views import record_fields

READ: Final = "keybearer:grants.read"
WRITE: Final = "keybearer:grants.write"


async def get(authority: Authority, caller: Caller, grant_id: str) -> GrantView:
    """Return a grant."""
    return view(await visible(authority, caller, READ, grant_id))


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[GrantView]:
    """Return one page of grants; a project's caller sees those given to its own clients."""
    caller.need(READ)
    if caller.project_id is not None and query.where.get("project_id", caller.project_id) != caller.project_id:
        raise NotFound("project", query.where["project_id"])
    found = await read_page(authority.store, Grant, query.narrowed(project_id=caller.project_id))
    return Page([view(grant) for grant in found.items], found.after)


async def update(authority: Authority, caller: Caller, grant_id: str, body: UpdateGrant) -> GrantView:
    """Narrow a grant, or limit its tokens; raises ``InvalidInput`` for scopes that it does not have."""
    await visible(authority, caller, WRITE, grant_id)
    problems = Problems()
    changes: dict[str, Any] = {}
    if body.scopes is not UNSET:
        changes["scopes"] = tuple(dict.fromkeys(body.scopes))
    if body.expires_at is not UNSET:
        changes["expires_at"] = to_instant(body.expires_at)
    if body.limits is not UNSET:
        changes["limits"] = to_limits(body.limits)
    if body.quotas is not UNSET:
        changes["quotas"] = to_quotas(body.quotas)
    check_names(problems, changes.get("limits", ()), changes.get("quotas", ()))
    problems.settle()

    async def work(uow: UnitOfWork) -> GrantView:
        grant = await uow.get(Grant, grant_id)
        require_live(grant)
        return view(await narrow(uow, caller, grant, authority.clock.now(), **changes))

    return await authority.change(caller, work)


async def revoke(authority: Authority, caller: Caller, grant_id: str, body: RevokeGrant) -> GrantView:
    """Revoke a grant with every token that it gave; with ``wait``, return once every node refuses them."""
    await visible(authority, caller, WRITE, grant_id)

    async def work(uow: UnitOfWork) -> GrantView:
        grant = await uow.get(Grant, grant_id)
        return view(await revoke_grant(uow, caller, grant, authority.clock.now()))

    revoked = await authority.change(caller, work)
    if body.wait:
        await settled(authority)
    return revoked


async def narrow(uow: UnitOfWork, caller: Caller, grant: Grant, now: Instant, **changes: Any) -> Grant:
    """Take scopes away from a grant, or end it sooner, or limit it; raises ``InvalidInput`` for anything wider."""
    scopes: Sequence[str] = changes.get("scopes", grant.scopes)
    wider = [scope for scope in scopes if scope not in grant.scopes]
    if wider:
        raise InvalidInput.of("scopes", f"the user did not grant {shown(wider[0])}; scopes can only be taken away here")
    expires_at = changes.get("expires_at")
    if expires_at is not None and grant.expires_at is not None and expires_at > grant.expires_at:
        raise InvalidInput.of("expires_at", "must not lie after the end that the grant has")
    changed = touch(grant, now, **changes)
    await uow.update(changed)
    Deed(uow, caller, now).note(
        "grant.update",
        grant.id,
        project_id=grant.project_id,
        details={"scopes": list(changed.scopes), "scopes_before": list(grant.scopes)},
    )
    return changed


async def revoke_grant(uow: UnitOfWork, caller: Caller, grant: Grant, now: Instant) -> Grant:
    """Revoke a grant and its refresh families, and tell the caches of both. Revoking twice is fine."""
    revoked = change(grant, Change.REVOKE, now)
    if revoked is grant:
        return grant
    await uow.update(revoked)
    deed = Deed(uow, caller, now)
    deed.note("grant.revoke", grant.id, project_id=grant.project_id, details={"user_id": grant.user_id})
    for family_id in await uow.revoke_families("grant_id", grant.id, now):
        deed.note("family.revoke", family_id, project_id=grant.project_id)
    return revoked


async def visible(authority: Authority, caller: Caller, permission: str, grant_id: str) -> Grant:
    """Return a grant that the caller may see; another project's does not exist for it."""
    caller.need(permission)
    grant = await authority.store.get(Grant, grant_id)
    caller.need_project(permission, grant.project_id, "grant", grant_id)
    return grant


def view(grant: Grant) -> GrantView:
    """Return a grant as it travels."""
    return GrantView(
        **record_fields(grant),
        user_id=grant.user_id,
        client_id=grant.client_id,
        project_id=grant.project_id,
        scopes=list(grant.scopes),
        resources=list(grant.resources),
        authorization_details=[dict(detail) for detail in grant.authorization_details],
        expires_at=to_moment(grant.expires_at),
        revoked_at=to_moment(grant.revoked_at),
        limits=limit_specs(grant.limits),
        quotas=quota_specs(grant.quotas),
    )
