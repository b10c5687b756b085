"""From the settings on the wire to a whole key that only lacks its secret."""

from __future__ import annotations

from ..core.instant import Instant
from ..core.records import KEY_ID, ApiKey, CredentialKind, SecretVersion
from ..wire.keys import KeySettings
from .authority import Caller
from .grounds import Ground
from .key_rules import check_key, expiry_of
from .limits import to_limits, to_policy, to_quotas
from .problems import Problems
from .restrictions import to_restrictions
from .text import check_metadata, check_text


def draft_key(
    problems: Problems,
    caller: Caller,
    body: KeySettings,
    ground: Ground,
    now: Instant,
    *,
    credential_id: str,
    prefix: str,
    versions: tuple[SecretVersion, ...],
    foreign_lookup: str | None = None,
) -> ApiKey:
    """Return the key that ``body`` describes, noting everything that is wrong with it."""
    check_text(problems, body)
    check_metadata(problems, body.metadata)
    if body.plan_id is not None and caller.project_id is not None:
        # A plan of its own takes a key out of its project's plan.
        problems.add("plan_id", "only a key of the authority's own project may choose plans for keys")
    key = ApiKey(
        id=KEY_ID + credential_id,
        created_at=now,
        updated_at=now,
        project_id=ground.project.id,
        kind=CredentialKind(body.kind),
        environment=body.environment,
        prefix=prefix,
        name=body.name,
        versions=versions,
        owner=body.owner,
        identity_id=body.identity_id,
        plan_id=body.plan_id,
        permissions=tuple(dict.fromkeys(body.permissions)),
        restrictions=to_restrictions(problems, body.restrictions, ground.apis),
        limits=to_limits(body.limits),
        quotas=to_quotas(body.quotas),
        credits=None if body.credits is None else to_policy(body.credits),
        expires_at=expiry_of(problems, body, now),
        tags=tuple(dict.fromkeys(body.tags)),
        metadata=body.metadata,
        created_by=caller.actor,
        foreign_lookup=foreign_lookup,
    )
    check_key(problems, key, ground)
    return key
