"""What the holder of a key may do with nothing but the key itself: see what it is, and burn it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..core.decide import decide
from ..core.errors import NotPermitted
from ..core.lifecycle import Change, change
from ..core.records import ApiKey, CredentialKind, KeyRecord, SecretVersion, State
from ..core.requirement import Requirement
from ..core.tokens import TokenRecord
from ..ports import UnitOfWork
from ..verify import Verifier
from ..wire.base import to_moment
from ..wire.verify import CreditsLeft, RevokedMine, RevokeMine, Whoami
from .authority import Authority, Caller, Deed
from .keys import check_reason, settled
from .limits import limit_specs, quota_specs


@dataclass(frozen=True, slots=True)
class Holder:
    """Whoever presented a secret that matches: the key, and which version of it. Nothing else was checked."""

    record: KeyRecord
    version: SecretVersion


async def identify(verifier: Verifier, text: str, requirement: Requirement) -> Holder:
    """Return whose secret this is, whatever the state of the key; raises ``Rejected`` when it is nobody's."""
    record, version = await verifier.identify(text, requirement)
    return Holder(record, version)


async def whoami(authority: Authority, holder: Holder, requirement: Requirement) -> Whoami:
    """Return what a key is. The key must be good and come from where it may, but may be restricted to other APIs."""
    record, version = holder.record, holder.version
    bound = record.restrictions
    here = replace(record, restrictions=replace(bound, apis=(), methods=(), paths=()))
    decide(here, version, requirement, authority.clock.now())
    key, project = record.key, record.project
    limited = [one for one in (key, record.identity, record.plan) if one is not None]
    balances = await authority.store.balances([owner for owner, _ in record.credit_owners])
    return Whoami(
        id=key.id,
        name=key.name,
        kind=key.kind,
        environment=key.environment,
        version=version.number,
        project_id=project.id,
        project_name=project.name,
        owner=key.owner,
        permissions=list(key.permissions),
        expires_at=to_moment(key.expires_at),
        version_expires_at=to_moment(version.expires_at),
        credits=CreditsLeft(min(balance.balance for balance in balances)) if balances else None,
        limits=limit_specs(limit for one in limited for limit in one.limits),
        quotas=quota_specs(quota for one in limited for quota in one.quotas),
    )


async def whoami_token(verifier: Verifier, text: str, requirement: Requirement) -> Whoami:
    """Return what an access token is, for any API. Takes nothing from limits; raises ``Rejected``."""
    record = (await verifier.verify(text, requirement._replace(cost=0, credit_cost=0))).principal.record
    assert isinstance(record, TokenRecord)  # noqa: S101 — only tokens come here
    token = record.token
    return Whoami(
        id=token.id,
        name=record.client.name,
        kind=CredentialKind.ACCESS_TOKEN,
        environment=record.environment,
        version=0,
        project_id=record.project.id,
        project_name=record.project.name,
        owner=None if record.key is None else record.key.key.owner,
        permissions=sorted(record.permissions),
        expires_at=to_moment(token.expires_at),
        version_expires_at=None,
        credits=None,
        limits=[],
        quotas=[],
        user_id=token.user_id,
        client_id=record.client.client_id,
    )


async def revoke_mine(authority: Authority, holder: Holder, caller: Caller, body: RevokeMine) -> RevokedMine:
    """Revoke the presented key, also one that is disabled or has expired; doing it again changes nothing.

    Whoever holds a secret can end it; that is all it needs. A publishable key is no secret: it stands in a page, and
    whoever reads the page could shut it for all. Raises ``NotPermitted`` for those.
    """
    if holder.record.key.kind is CredentialKind.PUBLISHABLE_KEY:
        raise NotPermitted("A publishable key is public; only who manages the project's keys can revoke it.")
    check_reason(body.reason)
    key_id = holder.record.key.id

    async def work(uow: UnitOfWork) -> None:
        key = await uow.get(ApiKey, key_id)
        if key.state in (State.REVOKED, State.DELETED):
            return
        now = authority.clock.now()
        changed = change(key, Change.REVOKE, now)
        await uow.update(changed)
        details: dict[str, object] = {"version": holder.version.number, "by": "holder"}
        if body.reason:
            details["reason"] = body.reason
        Deed(uow, caller, now).note("key.revoke", key.id, project_id=key.project_id, details=details)

    await authority.store.transact(work)
    if body.wait:
        await settled(authority)
    return RevokedMine(key_id, True)
