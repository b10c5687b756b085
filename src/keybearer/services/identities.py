"""Identities: external subjects through which several keys share limits and credits."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from ..core.credential import new_id
from ..core.errors import Conflict, NotFound
from ..core.lifecycle import Change, touch
from ..core.records import IDENTITY_ID, Identity, Project, State
from ..ports import CreditBalance, UnitOfWork
from ..wire.limits import CreditsView, SetCredits
from ..wire.records import CreateIdentity, IdentityView, UpdateIdentity
from . import credits as accounts
from .authority import Authority, Caller, Deed
from .limits import check_names, credits_view, limit_specs, quota_specs, to_limits, to_policy, to_quotas
from .paging import Page, PageQuery, read_page
from .problems import Problems
from .standing import change_state, require_live
from .text import check_metadata, check_text, shown
from .views import record_fields

READ: Final = "keybearer:identities.read"
WRITE: Final = "keybearer:identities.write"


async def create(authority: Authority, caller: Caller, body: CreateIdentity) -> IdentityView:
    """Register an identity; raises ``Conflict`` when the project has one with this ``external_id``."""
    caller.need_project(WRITE, body.project_id, "project", body.project_id)
    project = await authority.store.get(Project, body.project_id)
    if project.state is State.DELETED:
        raise NotFound("project", body.project_id)
    problems = Problems()
    check_text(problems, body)
    check_metadata(problems, body.metadata)
    now = authority.clock.now()
    identity = Identity(
        id=IDENTITY_ID + new_id(now),
        created_at=now,
        updated_at=now,
        project_id=project.id,
        external_id=body.external_id,
        name=body.name,
        limits=to_limits(body.limits),
        quotas=to_quotas(body.quotas),
        credits=None if body.credits is None else to_policy(body.credits),
        metadata=body.metadata,
    )
    check_names(problems, identity.limits, identity.quotas)
    problems.settle()

    async def work(uow: UnitOfWork) -> IdentityView:
        try:
            await uow.insert(identity)
        except Conflict:
            taken = f"The project already has an identity with the external_id {shown(identity.external_id)}."
            raise Conflict(f"{taken} A deleted one keeps it until it is gone for good.") from None
        balance = None
        if body.credits is not None:
            balance = await accounts.write(uow, identity, None, body.credits, now)
        Deed(uow, caller, now).note("identity.create", identity.id, project_id=identity.project_id)
        return view(identity, balance)

    return await authority.change(caller, work)


async def get(authority: Authority, caller: Caller, identity_id: str) -> IdentityView:
    """Return an identity with its balance."""
    identity = await _visible(authority, caller, READ, identity_id)
    balances = await accounts.read_balances(authority.store, [identity])
    return view(identity, balances.get(identity.id))


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[IdentityView]:
    """Return one page of identities."""
    caller.need(READ)
    if caller.project_id is not None and query.where.get("project_id", caller.project_id) != caller.project_id:
        raise NotFound("project", query.where["project_id"])
    found = await read_page(authority.store, Identity, query.narrowed(project_id=caller.project_id))
    balances = await accounts.read_balances(authority.store, found.items)
    return Page([view(identity, balances.get(identity.id)) for identity in found.items], found.after)


async def update(authority: Authority, caller: Caller, identity_id: str, body: UpdateIdentity) -> IdentityView:
    """Change an identity; it holds at once for all its keys."""
    before = await _visible(authority, caller, WRITE, identity_id)
    problems = Problems()
    check_text(problems, body)
    changes: dict[str, Any] = {}
    if body.name is not UNSET:
        changes["name"] = body.name
    if body.metadata is not UNSET:
        check_metadata(problems, body.metadata)
        changes["metadata"] = body.metadata
    if body.limits is not UNSET:
        changes["limits"] = to_limits(body.limits)
    if body.quotas is not UNSET:
        changes["quotas"] = to_quotas(body.quotas)
    if body.credits is not UNSET:
        changes["credits"] = None if body.credits is None else to_policy(body.credits)
    problems.settle()
    balances = await accounts.read_balances(authority.store, [before])

    async def work(uow: UnitOfWork) -> IdentityView:
        identity = await uow.get(Identity, identity_id)
        require_live(identity)
        now = authority.clock.now()
        changed = touch(identity, now, **changes)
        clash = Problems()
        check_names(clash, changed.limits, changed.quotas)
        clash.settle()
        await uow.update(changed)
        balance = balances.get(identity.id)
        if body.credits is not UNSET and body.credits is not None:
            balance = await accounts.write(uow, changed, identity.credits, body.credits, now)
        Deed(uow, caller, now).note(
            "identity.update", identity.id, project_id=identity.project_id, details={"fields": sorted(changes)}
        )
        return view(changed, balance)

    return await authority.change(caller, work)


async def set_state(authority: Authority, caller: Caller, identity_id: str, wanted: Change) -> IdentityView:
    """Enable, disable, delete or undelete an identity; its keys are refused while it is not enabled."""
    before = await _visible(authority, caller, WRITE, identity_id)
    balance = (await accounts.read_balances(authority.store, [before])).get(before.id)
    return await change_state(
        authority, caller, Identity, identity_id, wanted, lambda identity: view(identity, balance)
    )


async def set_credits(authority: Authority, caller: Caller, identity_id: str, body: SetCredits) -> CreditsView:
    """Set or add to an identity's credits."""
    await _visible(authority, caller, WRITE, identity_id)
    return await accounts.change_balance(authority, caller, Identity, identity_id, body)


async def _visible(authority: Authority, caller: Caller, permission: str, identity_id: str) -> Identity:
    caller.need(permission)
    identity = await authority.store.get(Identity, identity_id)
    caller.need_project(permission, identity.project_id, "identity", identity_id)
    return identity


def view(identity: Identity, balance: CreditBalance | None) -> IdentityView:
    """Return an identity as it travels."""
    return IdentityView(
        **record_fields(identity),
        project_id=identity.project_id,
        external_id=identity.external_id,
        name=identity.name,
        limits=limit_specs(identity.limits),
        quotas=quota_specs(identity.quotas),
        credits=credits_view(identity.credits, balance),
        metadata=dict(identity.metadata),
    )
