"""Keys as they travel, with what the store keeps beside them: last uses and credits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..core.instant import Instant
from ..core.lifecycle import version_state
from ..core.records import ApiKey, SecretVersion
from ..ports import CreditBalance, KeyUse, Store
from ..wire.base import moment, to_moment
from ..wire.keys import KeyView, VersionView
from .credits import read_balances
from .limits import credits_view, limit_specs, quota_specs
from .restrictions import restrictions_spec
from .views import record_fields


@dataclass(frozen=True, slots=True)
class Beside:
    """What is kept beside a key: when each version was last used, and its credits."""

    uses: dict[int, Instant] = field(default_factory=dict)
    balance: CreditBalance | None = None


NOTHING_BESIDE = Beside()


async def read_beside(store: Store, keys: Sequence[ApiKey]) -> dict[str, Beside]:
    """Return what is kept beside these keys, by id."""
    if not keys:
        return {}
    by_key: defaultdict[str, list[KeyUse]] = defaultdict(list)
    for use in await store.uses([key.id for key in keys]):
        by_key[use.key_id].append(use)
    balances = await read_balances(store, keys)
    return {
        key.id: Beside({use.version: use.last_used_at for use in by_key[key.id]}, balances.get(key.id)) for key in keys
    }


def key_view(key: ApiKey, now: Instant, beside: Beside = NOTHING_BESIDE) -> KeyView:
    """Return a key as it travels; its secrets are not in it, and cannot be made from it."""
    uses = beside.uses
    return KeyView(
        **record_fields(key),
        project_id=key.project_id,
        kind=key.kind,
        environment=key.environment,
        hint=f"{key.prefix}_{key.credential_id}_…" if key.foreign_lookup is None else "(imported)",
        name=key.name,
        owner=key.owner,
        identity_id=key.identity_id,
        plan_id=key.plan_id,
        permissions=list(key.permissions),
        restrictions=restrictions_spec(key.restrictions),
        limits=limit_specs(key.limits),
        quotas=quota_specs(key.quotas),
        credits=credits_view(key.credits, beside.balance),
        expires_at=to_moment(key.expires_at),
        expired=key.expires_at is not None and now >= key.expires_at,
        revoked_at=to_moment(key.revoked_at),
        last_used_at=to_moment(max(uses.values(), default=None)),
        versions=[_version_view(version, now, uses.get(version.number)) for version in key.versions],
        tags=list(key.tags),
        metadata=dict(key.metadata),
        created_by=key.created_by,
    )


def _version_view(version: SecretVersion, now: Instant, last_used_at: Instant | None) -> VersionView:
    return VersionView(
        number=version.number,
        state=version_state(version, now),
        scheme=version.scheme,
        created_at=moment(version.created_at),
        expires_at=to_moment(version.expires_at),
        revoked_at=to_moment(version.revoked_at),
        last_used_at=to_moment(last_used_at),
    )
