"""What is done about a leaked credential: the measure of the policy, taken in the transaction of its incident.

Every change is one of those that operators can make themselves, through the same lifecycle, events and audit log.
"""

from __future__ import annotations

from ..core.clients import Client
from ..core.incidents import Incident, Status, subject_of
from ..core.instant import SECOND, Instant
from ..core.leaks import Done, LeakKind, Measure
from ..core.lifecycle import (
    Change,
    VersionState,
    change,
    retire_secret,
    retire_version,
    revoke_secret,
    revoke_version,
    touch,
    version_state,
)
from ..core.records import ApiKey, State
from ..ports import Query, UnitOfWork
from .authority import Caller, Deed
from .leak_finder import Leaked
from .revocation import end_family, revoke_token

_LIVE = (VersionState.ACTIVE, VersionState.RETIRING)
_CHANGEABLE = (State.ENABLED, State.DISABLED)


async def contain(
    uow: UnitOfWork, caller: Caller, leaked: Leaked, measure: Measure, grace_in: int, incident_id: str, now: Instant
) -> Done:
    """Take a measure about a credential, and return what was done; ``ALERTED`` when there was nothing left to do."""
    if measure in (Measure.ALERT, Measure.IGNORE):
        return Done.ALERTED
    deed = Deed(uow, caller, now, extra={"incident": incident_id})
    if leaked.kind is LeakKind.ACCESS_TOKEN:
        end = leaked.expires_at or now
        await revoke_token(uow, caller, leaked.record_id, end, leaked.project_id, now)
        return Done.REVOKED
    if leaked.kind is LeakKind.REFRESH_TOKEN:
        family = await uow.get_family(leaked.record_id)
        await end_family(uow, caller, family, now, {"by": "leak", "incident": incident_id})
        return Done.REVOKED
    if leaked.kind is LeakKind.CLIENT_SECRET:
        return await _contain_client(uow, deed, leaked, measure, grace_in)
    return await _contain_key(uow, deed, leaked, measure, grace_in)


async def _contain_key(uow: UnitOfWork, deed: Deed, leaked: Leaked, measure: Measure, grace_in: int) -> Done:
    key, now = await uow.get(ApiKey, leaked.record_id), deed.now
    version = next((one for one in key.versions if one.number == leaked.version), None)
    if key.state not in _CHANGEABLE or version is None or version_state(version, now) not in _LIVE:
        return Done.ALERTED
    if measure is Measure.DISABLE:
        changed = change(key, Change.DISABLE, now)
        if changed is not key:
            await uow.update(changed)
            deed.note("key.disable", key.id, project_id=key.project_id, details={"version": version.number})
        return Done.DISABLED
    if measure is Measure.ROTATE:
        retired = retire_version(
            version, now, grace_in=grace_in, quiet_in=version.quiet_in, key_expires_at=key.expires_at
        )
        if retired != version:
            await uow.update(touch(key, now, versions=tuple(retired if v is version else v for v in key.versions)))
            details = {"version": version.number, "grace_in": grace_in // SECOND}
            deed.note("key.retire_version", key.id, project_id=key.project_id, details=details)
        return Done.ROTATED
    if await _has_another_secret(uow, key, leaked.version, now):
        versions = tuple(revoke_version(v, now) if v is version else v for v in key.versions)
        await uow.update(touch(key, now, versions=versions))
        deed.note("key.revoke_version", key.id, project_id=key.project_id, details={"version": version.number})
    else:
        await uow.update(change(key, Change.REVOKE, now))
        deed.note("key.revoke", key.id, project_id=key.project_id, details={"version": version.number})
    return Done.REVOKED


async def _has_another_secret(uow: UnitOfWork, key: ApiKey, leaked: int, now: Instant) -> bool:
    """Tell whether a key has another secret that works and did not leak, too."""
    for version in key.versions:
        if version.number == leaked or version_state(version, now) not in _LIVE:
            continue
        subject = subject_of(LeakKind(key.kind.value), key.id, version.number)
        known = await uow.page(Incident, Query({"subject": subject}, limit=1))
        if not known or known[0].status is Status.RESOLVED:
            return True
    return False


async def _contain_client(uow: UnitOfWork, deed: Deed, leaked: Leaked, measure: Measure, grace_in: int) -> Done:
    client, now = await uow.get(Client, leaked.record_id), deed.now
    secret = next((one for one in client.secrets if one.number == leaked.version), None)
    if client.state not in _CHANGEABLE or secret is None:
        return Done.ALERTED
    if measure is Measure.DISABLE:
        changed = change(client, Change.DISABLE, now)
        if changed is not client:
            await uow.update(changed)
            deed.note("client.disable", client.id, project_id=client.project_id, details={"number": secret.number})
        return Done.DISABLED
    ended = revoke_secret(secret, now) if measure is Measure.REVOKE else retire_secret(secret, now, grace_in=grace_in)
    if ended != secret:
        await uow.update(touch(client, now, secrets=tuple(ended if one is secret else one for one in client.secrets)))
        action = "client.revoke_secret" if measure is Measure.REVOKE else "client.retire_secret"
        deed.note(action, client.id, project_id=client.project_id, details={"number": secret.number})
    return Done.REVOKED if measure is Measure.REVOKE else Done.ROTATED
