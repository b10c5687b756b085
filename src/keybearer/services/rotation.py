"""Rotation: a new secret beside the old ones, which run out; and the revocation of one secret alone.

All secrets are versions of one record, so that limits, credits and usage are shared and never doubled (DESIGN §6).
"""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from ..core.credential import mint
from ..core.errors import Conflict, InvalidInput, NotFound
from ..core.instant import SECOND, Instant
from ..core.lifecycle import VersionState, retire_version, revoke_version, touch, version_state
from ..core.records import ApiKey, SecretVersion
from ..formats.api_key import prefix_for
from ..ports import UnitOfWork
from ..wire.base import to_instant
from ..wire.keys import IssuedKey, KeyView, RevokeKey, RotateKey
from .authority import Authority, Caller, Deed
from .grounds import read_ground
from .key_rules import require_may_hand_on
from .key_views import key_view, read_beside
from .keys import WRITE, check_reason, new_version, settled, visible
from .standing import require_live

MAX_LIVE: Final = 5
MAX_KEPT: Final = 20
"""Secrets that are over stay in the record, so that they answer REVOKED or EXPIRED; the oldest go beyond this."""
_LIVE: Final = (VersionState.ACTIVE, VersionState.RETIRING)


async def rotate(authority: Authority, caller: Caller, key_id: str, body: RotateKey) -> IssuedKey:
    """Give a key a new secret, answered once; the others work on for the grace, never beyond what they had."""
    before = await visible(authority, caller, WRITE, key_id)
    require_may_hand_on(caller, before.permissions, "Rotating")
    ground = await read_ground(authority, caller, before.project_id)
    prefix = prefix_for(ground.project.brand, before.kind, before.environment)
    credential = mint(prefix, before.credential_id)
    beside = (await read_beside(authority.store, [before]))[key_id]

    async def work(uow: UnitOfWork) -> IssuedKey:
        key = await uow.get(ApiKey, key_id)
        require_live(key)
        require_may_hand_on(caller, key.permissions, "Rotating")
        now = authority.clock.now()
        expires_at = _new_expiry(key, body, now)
        others = [
            _retired(version, now, body, key.expires_at) if version_state(version, now) in _LIVE else version
            for version in key.versions
        ]
        if sum(version_state(version, now) in _LIVE for version in others) >= MAX_LIVE:
            raise Conflict(f"This key has {MAX_LIVE} secrets that still work; revoke one, or rotate with 'grace_in' 0.")
        fresh = new_version(authority, credential, max(version.number for version in key.versions) + 1, now)
        versions = (*_kept(others, now), fresh)
        changed = touch(key, now, versions=versions, expires_at=expires_at, prefix=prefix)
        await uow.update(changed)
        Deed(uow, caller, now).note(
            "key.rotate",
            key.id,
            project_id=key.project_id,
            details={"version": fresh.number, "grace_in": body.grace_in, "quiet_in": body.quiet_in},
        )
        return IssuedKey(key_view(changed, now, beside), credential.reveal())

    return await authority.change(caller, work)


async def revoke_one(authority: Authority, caller: Caller, key_id: str, number: int, body: RevokeKey) -> KeyView:
    """Revoke one secret of a key at once; the key's last one can only go with the key."""
    before = await visible(authority, caller, WRITE, key_id)
    check_reason(body.reason)
    beside = (await read_beside(authority.store, [before]))[key_id]

    async def work(uow: UnitOfWork) -> KeyView:
        key = await uow.get(ApiKey, key_id)
        require_live(key)
        now = authority.clock.now()
        chosen = next((version for version in key.versions if version.number == number), None)
        if chosen is None:
            raise NotFound("secret of this key with the number", str(number))
        if chosen.revoked_at is not None:
            return key_view(key, now, beside)
        if not any(version.number != number and version_state(version, now) in _LIVE for version in key.versions):
            raise Conflict("This is the key's only secret that works; revoke the key instead, or rotate it first.")
        versions = tuple(revoke_version(v, now) if v is chosen else v for v in key.versions)
        changed = touch(key, now, versions=versions)
        await uow.update(changed)
        details: dict[str, object] = {"version": number, **({"reason": body.reason} if body.reason else {})}
        Deed(uow, caller, now).note("key.revoke_version", key.id, project_id=key.project_id, details=details)
        return key_view(changed, now, beside)

    view = await authority.change(caller, work)
    if body.wait:
        await settled(authority)
    return view


def _new_expiry(key: ApiKey, body: RotateKey, now: Instant) -> Instant | None:
    if body.expires_at is UNSET:
        if key.expires_at is not None and now >= key.expires_at:
            raise Conflict("This key has expired; give it a new 'expires_at' with the rotation.")
        return key.expires_at
    if body.expires_at is None:
        return None
    expires_at = to_instant(body.expires_at)
    if expires_at <= now:
        raise InvalidInput.of("expires_at", "must lie in the future")
    return expires_at


def _retired(version: SecretVersion, now: Instant, body: RotateKey, key_expires_at: Instant | None) -> SecretVersion:
    quiet_in = None if body.quiet_in is None else body.quiet_in * SECOND
    return retire_version(
        version,
        now,
        grace_in=body.grace_in * SECOND,
        # A version that a former rotation lets end when quiet keeps the shorter of the two times.
        quiet_in=min((time for time in (quiet_in, version.quiet_in) if time is not None), default=None),
        key_expires_at=key_expires_at,
    )


def _kept(versions: list[SecretVersion], now: Instant) -> list[SecretVersion]:
    over = [version for version in versions if version_state(version, now) not in _LIVE]
    dropped = {version.number for version in over[: max(0, len(versions) + 1 - MAX_KEPT)]}
    return [version for version in versions if version.number not in dropped]


def retired_early(key: ApiKey, numbers: frozenset[int], now: Instant) -> ApiKey:
    """Return the key with these versions ended now, because nobody used them any more."""
    return touch(
        key,
        now,
        versions=tuple(
            retire_version(v, now, grace_in=0, quiet_in=v.quiet_in, key_expires_at=key.expires_at)
            if v.number in numbers
            else v
            for v in key.versions
        ),
    )


def rehashed(key: ApiKey, fresh: SecretVersion, foreign_lookup: str | None, now: Instant) -> ApiKey:
    """Return the key with one version stored under the active pepper; what it opens, and until when, is unchanged."""
    versions = tuple(fresh if v.number == fresh.number else v for v in key.versions)
    return touch(key, now, versions=versions, foreign_lookup=foreign_lookup)
