"""API keys: created, shown, changed, switched off, revoked, deleted and brought back."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from msgspec import UNSET

from ..core.credential import mint, new_id
from ..core.errors import InvalidInput, NotFound
from ..core.instant import Instant
from ..core.lifecycle import Change, touch
from ..core.records import ApiKey, CredentialKind, SecretVersion
from ..core.secret import Secret
from ..formats.api_key import prefix_for
from ..ports import CreditBalance, UnitOfWork
from ..wire.base import to_instant
from ..wire.keys import CreateKey, IssuedKey, KeyView, RevokeKey, UpdateKey
from ..wire.limits import CreditsView, SetCredits
from ..wire.verify import RefundRequest, RefundResponse
from . import credits as accounts
from .authority import Authority, Caller, Deed
from .grounds import Ground, read_ground, read_identity
from .key_drafts import draft_key
from .key_rules import check_key, require_may_hand_on
from .key_views import Beside, key_view, read_beside
from .limits import to_limits, to_policy, to_quotas
from .paging import Page, PageQuery, read_page
from .plans import require_plan
from .problems import Problems
from .restrictions import to_restrictions
from .standing import change_state, require_live
from .text import check_metadata, check_text, shown

READ: Final = "keybearer:keys.read"
WRITE: Final = "keybearer:keys.write"
VERIFY: Final = "keybearer:verify"
SETTLING: Final = 0.1
"""Seconds beyond the lifetime of a view after which no node can still accept a revoked key."""


async def create(authority: Authority, caller: Caller, body: CreateKey) -> IssuedKey:
    """Create a key. Its credential is in the answer, and nowhere else."""
    caller.need(WRITE)
    ground = await read_ground(authority, caller, body.project_id)
    now = authority.clock.now()
    problems = Problems()
    prefix, credential_id = prefix_for(ground.project.brand, CredentialKind(body.kind), body.environment), new_id(now)
    credential = mint(prefix, credential_id)
    versions = (new_version(authority, credential, 1, now),)
    key = draft_key(problems, caller, body, ground, now, credential_id=credential_id, prefix=prefix, versions=versions)
    if body.identity_id is not None:
        await check_identity(problems, authority, key.project_id, body.identity_id)
    problems.settle()
    require_may_hand_on(caller, key.permissions, "Creating")

    async def work(uow: UnitOfWork) -> IssuedKey:
        if key.plan_id is not None:
            await require_plan(uow, key.plan_id, "plan_id")
        await uow.insert(key)
        balance = None if body.credits is None else await accounts.write(uow, key, None, body.credits, now)
        Deed(uow, caller, now).note(
            "key.create",
            key.id,
            project_id=key.project_id,
            details={"kind": key.kind, "environment": key.environment, "permissions": list(key.permissions)},
        )
        return IssuedKey(key_view(key, now, Beside(balance=balance)), credential.reveal())

    return await authority.change(caller, work)


async def get(authority: Authority, caller: Caller, key_id: str) -> KeyView:
    """Return a key, deleted ones too while they can be brought back."""
    key = await visible(authority, caller, READ, key_id)
    return key_view(key, authority.clock.now(), (await read_beside(authority.store, [key]))[key.id])


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[KeyView]:
    """Return one page of keys."""
    caller.need(READ)
    if caller.project_id is not None and query.where.get("project_id", caller.project_id) != caller.project_id:
        raise NotFound("project", query.where["project_id"])
    found = await read_page(authority.store, ApiKey, query.narrowed(project_id=caller.project_id))
    beside, now = await read_beside(authority.store, found.items), authority.clock.now()
    return Page([key_view(key, now, beside[key.id]) for key in found.items], found.after)


async def update(authority: Authority, caller: Caller, key_id: str, body: UpdateKey) -> KeyView:
    """Change a key. It may not be widened beyond what the caller could hand on."""
    before = await visible(authority, caller, WRITE, key_id)
    require_may_hand_on(caller, before.permissions, "Changing")
    ground = await read_ground(authority, caller, before.project_id)
    changes = await _changes(authority, caller, before, ground, body)
    require_may_hand_on(caller, changes.get("permissions", ()), "Changing")
    beside = (await read_beside(authority.store, [before]))[key_id]

    async def work(uow: UnitOfWork) -> KeyView:
        key = await uow.get(ApiKey, key_id)
        require_live(key)
        require_may_hand_on(caller, key.permissions, "Changing")
        now = authority.clock.now()
        changed = touch(key, now, **changes)
        problems = Problems()
        check_key(problems, changed, ground, check_permissions="permissions" in changes)
        problems.settle()
        if changes.get("plan_id") not in (None, key.plan_id):
            await require_plan(uow, changes["plan_id"], "plan_id")
        await uow.update(changed)
        balance: CreditBalance | None = beside.balance
        if body.credits is not UNSET and body.credits is not None:
            balance = await accounts.write(uow, changed, key.credits, body.credits, now)
        details: dict[str, object] = {"fields": sorted(changes)}
        if "permissions" in changes:
            details |= {"permissions": list(changed.permissions), "permissions_before": list(key.permissions)}
        Deed(uow, caller, now).note("key.update", key.id, project_id=key.project_id, details=details)
        return key_view(changed, now, Beside(beside.uses, balance))

    return await authority.change(caller, work)


async def _changes(
    authority: Authority, caller: Caller, key: ApiKey, ground: Ground, body: UpdateKey
) -> dict[str, Any]:
    problems = Problems()
    check_text(problems, body)
    changes: dict[str, Any] = {
        name: getattr(body, name)
        for name in ("name", "owner", "identity_id", "plan_id", "metadata")
        if getattr(body, name) is not UNSET
    }
    if body.metadata is not UNSET:
        check_metadata(problems, body.metadata)
    if body.permissions is not UNSET:
        changes["permissions"] = tuple(dict.fromkeys(body.permissions))
    if body.tags is not UNSET:
        changes["tags"] = tuple(dict.fromkeys(body.tags))
    if body.restrictions is not UNSET:
        changes["restrictions"] = to_restrictions(problems, body.restrictions, ground.apis)
    if body.limits is not UNSET:
        changes["limits"] = to_limits(body.limits)
    if body.quotas is not UNSET:
        changes["quotas"] = to_quotas(body.quotas)
    if body.credits is not UNSET:
        changes["credits"] = None if body.credits is None else to_policy(body.credits)
    if body.expires_at is not UNSET:
        changes["expires_at"] = None if body.expires_at is None else to_instant(body.expires_at)
        if changes["expires_at"] is not None and changes["expires_at"] <= authority.clock.now():
            problems.add("expires_at", "must lie in the future; to end a key at once, revoke it")
    if "plan_id" in changes and caller.project_id is not None:
        problems.add("plan_id", "only a key of the authority's own project may choose plans for keys")
    if changes.get("identity_id") not in (None, key.identity_id):
        await check_identity(problems, authority, key.project_id, changes["identity_id"])
    problems.settle()
    return changes


async def set_state(authority: Authority, caller: Caller, key_id: str, wanted: Change) -> KeyView:
    """Enable, disable, delete or undelete a key. Bringing one back is refused where making it would be."""
    before = await visible(authority, caller, WRITE, key_id)

    async def check(_uow: UnitOfWork, key: ApiKey, _now: Instant) -> None:
        if wanted in (Change.ENABLE, Change.UNDELETE):
            require_may_hand_on(caller, key.permissions, "Bringing back")

    return await _alter(authority, caller, before, wanted, check)


async def revoke(authority: Authority, caller: Caller, key_id: str, body: RevokeKey) -> KeyView:
    """Revoke a key for good, with every secret it has; with ``wait``, return once every node refuses it."""
    before = await visible(authority, caller, WRITE, key_id)
    check_reason(body.reason)
    view = await _alter(authority, caller, before, Change.REVOKE, None, {"reason": body.reason} if body.reason else {})
    if body.wait:
        await settled(authority)
    return view


async def settled(authority: Authority) -> None:
    """Return when every node refuses what was revoked before (DESIGN §5)."""
    await asyncio.sleep(authority.settings.view_lifetime + SETTLING)


async def _alter(
    authority: Authority,
    caller: Caller,
    before: ApiKey,
    wanted: Change,
    check: Any = None,
    details: dict[str, object] | None = None,
) -> KeyView:
    beside = (await read_beside(authority.store, [before]))[before.id]
    now = authority.clock.now()
    return await change_state(
        authority,
        caller,
        ApiKey,
        before.id,
        wanted,
        lambda key: key_view(key, now, beside),
        check=check,
        details=details,
    )


async def set_credits(authority: Authority, caller: Caller, key_id: str, body: SetCredits) -> CreditsView:
    """Set or add to a key's credits."""
    await visible(authority, caller, WRITE, key_id)
    return await accounts.change_balance(authority, caller, ApiKey, key_id, body)


async def refund(authority: Authority, caller: Caller, body: RefundRequest) -> RefundResponse:
    """Give a charge back once. Whoever may verify may also give back what was not used."""
    await visible(authority, caller, VERIFY, body.key_id)
    return RefundResponse(await authority.store.refund(body.key_id, body.request_id, authority.clock.now()))


async def visible(authority: Authority, caller: Caller, permission: str, key_id: str) -> ApiKey:
    """Return a key that the caller may see; another project's key does not exist for it."""
    caller.need(permission)
    key = await authority.store.get(ApiKey, key_id)
    caller.need_project(permission, key.project_id, "API key", key_id)
    return key


async def check_identity(problems: Problems, authority: Authority, project_id: str, identity_id: str) -> None:
    """Note an identity that is not one of the project."""
    if await read_identity(authority, project_id, identity_id) is None:
        problems.add("identity_id", f"the project has no identity {shown(identity_id)}; create it first")


def check_reason(reason: str) -> None:
    """Raise ``InvalidInput`` for a reason that cannot be logged."""
    problems = Problems()
    check_text(problems, reason, "reason", of_several_lines=True)
    if problems.found:
        raise InvalidInput(*problems.found)


def new_version(authority: Authority, credential: Secret, number: int, now: Instant) -> SecretVersion:
    """Return the secret version that stores a fresh credential: its digest under the active pepper."""
    pepper_id = authority.keyring.active_pepper_id
    return SecretVersion(number, authority.keyring.digest(pepper_id, credential.reveal()), now, pepper_id=pepper_id)
