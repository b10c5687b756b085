"""Every legal change of state, in one literal table; ``docs/lifecycle.md`` is drawn from it.

A change that is not in the table is a conflict. No other file sets ``state``, ``revoked_at`` or ``deleted_at``.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from .artefacts import Artefact
from .clients import Client, ClientSecret
from .errors import Conflict
from .grants import Grant
from .incidents import Incident, Status, Step, with_step
from .instant import DAY, Instant
from .records import ApiKey, R, Record, SecretVersion, State
from .sessions import Session
from .signing_keys import SigningKey
from .tokens import TokenFamily
from .webhooks import Delivery, DeliveryStatus

UNDELETE_IN: Final = 30 * DAY
"""How long a deleted record can be brought back."""


class Change(StrEnum):
    """What can be done to a record's state."""

    ENABLE = "enable"
    DISABLE = "disable"
    REVOKE = "revoke"
    DELETE = "delete"
    UNDELETE = "undelete"


REVOCABLE: Final = (ApiKey, Client, Grant, Session, SigningKey)
"""The kinds of record that can be refused for good."""

RESTORED: Final = "as before the deletion"

TRANSITIONS: Final[dict[State, dict[Change, State | str]]] = {
    State.ENABLED: {
        Change.ENABLE: State.ENABLED,
        Change.DISABLE: State.DISABLED,
        Change.REVOKE: State.REVOKED,
        Change.DELETE: State.DELETED,
    },
    State.DISABLED: {
        Change.ENABLE: State.ENABLED,
        Change.DISABLE: State.DISABLED,
        Change.REVOKE: State.REVOKED,
        Change.DELETE: State.DELETED,
    },
    State.REVOKED: {
        Change.REVOKE: State.REVOKED,
        Change.DELETE: State.DELETED,
    },
    State.DELETED: {
        Change.UNDELETE: RESTORED,
    },
}


def change(record: R, wanted: Change, now: Instant) -> R:
    """Return the record after a change of state; the same object when it already is there (changes are idempotent).

    Raises ``Conflict`` when the table has no such change, or when the time to undelete is over.
    """
    target = TRANSITIONS[record.state].get(wanted)
    if target is None or (wanted is Change.REVOKE and not isinstance(record, REVOCABLE)):
        raise Conflict(_why_not(record, wanted))
    if target == record.state:
        return record
    if target == RESTORED:
        if record.deleted_at is None or now >= record.deleted_at + UNDELETE_IN:
            raise Conflict("The time to bring this record back is over.")
        before = record.state_before_deletion or State.DISABLED
        return touch(record, now, state=before, deleted_at=None, state_before_deletion=None)
    if target is State.DELETED:
        return touch(record, now, state=State.DELETED, deleted_at=now, state_before_deletion=record.state)
    if target is State.REVOKED:
        return touch(record, now, state=State.REVOKED, revoked_at=now)
    return touch(record, now, state=State(target))


def _why_not(record: Record, wanted: Change) -> str:
    if wanted is Change.UNDELETE:
        return "This record is not deleted, so there is nothing to bring back."
    if record.state is State.DELETED:
        return "This record was deleted; undelete it before changing it."
    if record.state is State.REVOKED:
        return "This key was revoked for good; create another one."
    return "Only keys can be revoked; disable or delete this record instead."


def touch(record: R, now: Instant, **changes: Any) -> R:
    """Return the record with these changes, a new ``updated_at`` and the next ``revision``."""
    return replace(record, updated_at=now, revision=record.revision + 1, **changes)


class VersionState(StrEnum):
    """Where one secret version of a key stands."""

    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    REVOKED = "revoked"


def version_state(version: SecretVersion, now: Instant) -> VersionState:
    """Return where a secret version stands at ``now``; revoked wins over retired."""
    if version.revoked_at is not None:
        return VersionState.REVOKED
    if version.expires_at is None:
        return VersionState.ACTIVE
    return VersionState.RETIRED if now >= version.expires_at else VersionState.RETIRING


def revoke_version(version: SecretVersion, now: Instant) -> SecretVersion:
    """Return the version refused from now on; a version that is revoked stays as it is."""
    return version if version.revoked_at is not None else replace(version, revoked_at=now)


def retire_version(
    version: SecretVersion, now: Instant, *, grace_in: int, quiet_in: int | None, key_expires_at: Instant | None
) -> SecretVersion:
    """Return the version with an end: ``min(now + grace, what it had, the key's own expiry)`` (DESIGN §6)."""
    ends = [now + grace_in]
    ends += [at for at in (version.expires_at, key_expires_at) if at is not None]
    return replace(version, expires_at=Instant(min(ends)), quiet_in=quiet_in)


def revoke_family(family: TokenFamily, now: Instant) -> TokenFamily:
    """Return the family refused from now on; a family that is revoked stays as it is."""
    return family if family.revoked_at is not None else replace(family, revoked_at=now)


def revoke_secret(secret: ClientSecret, now: Instant) -> ClientSecret:
    """Return a client's secret refused from now on; one that is revoked stays as it is."""
    return secret if secret.revoked_at is not None else replace(secret, revoked_at=now)


def retire_secret(secret: ClientSecret, now: Instant, *, grace_in: int) -> ClientSecret:
    """Return a client's secret with an end, never later than the one it had."""
    end = Instant(now + grace_in)
    return secret if secret.expires_at is not None and secret.expires_at <= end else replace(secret, expires_at=end)


class IncidentChange(StrEnum):
    """What can be done to an incident."""

    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    REOPEN = "reopen"


INCIDENT_CHANGES: Final[dict[Status, dict[IncidentChange, Status]]] = {
    Status.OPEN: {
        IncidentChange.ACKNOWLEDGE: Status.ACKNOWLEDGED,
        IncidentChange.RESOLVE: Status.RESOLVED,
        IncidentChange.REOPEN: Status.OPEN,
    },
    Status.ACKNOWLEDGED: {
        IncidentChange.ACKNOWLEDGE: Status.ACKNOWLEDGED,
        IncidentChange.RESOLVE: Status.RESOLVED,
        IncidentChange.REOPEN: Status.OPEN,
    },
    Status.RESOLVED: {
        IncidentChange.RESOLVE: Status.RESOLVED,
        IncidentChange.REOPEN: Status.OPEN,
    },
}


def advance(incident: Incident, wanted: IncidentChange, now: Instant, actor: str, note: str = "") -> Incident:
    """Return the incident after a change of status, entered in its history; the same object when it is there already.

    Raises ``Conflict`` when the table has no such change.
    """
    target = INCIDENT_CHANGES[incident.status].get(wanted)
    if target is None:
        raise Conflict("This incident was resolved; reopen it before it is acknowledged.")
    if target is incident.status:
        return incident
    return touch(
        incident,
        now,
        status=target,
        resolved_at=now if target is Status.RESOLVED else None,
        steps=with_step(incident.steps, Step(now, target.value, actor, note)),
    )


class DeliveryChange(StrEnum):
    """What can become of a message to a webhook."""

    DELIVER = "deliver"
    GIVE_UP = "give up"
    REDELIVER = "redeliver"


DELIVERY_CHANGES: Final[dict[DeliveryStatus, dict[DeliveryChange, DeliveryStatus]]] = {
    DeliveryStatus.WAITING: {
        DeliveryChange.DELIVER: DeliveryStatus.DELIVERED,
        DeliveryChange.GIVE_UP: DeliveryStatus.DEAD,
        DeliveryChange.REDELIVER: DeliveryStatus.WAITING,
    },
    DeliveryStatus.DELIVERED: {
        DeliveryChange.REDELIVER: DeliveryStatus.WAITING,
    },
    DeliveryStatus.DEAD: {
        DeliveryChange.REDELIVER: DeliveryStatus.WAITING,
    },
}


def settle(delivery: Delivery, wanted: DeliveryChange, now: Instant, **changes: Any) -> Delivery:
    """Return the message after a change; one that is to be delivered again starts anew. Raises ``Conflict``."""
    target = DELIVERY_CHANGES[delivery.status].get(wanted)
    if target is None:
        raise Conflict("This message was settled meanwhile.")
    if target is DeliveryStatus.WAITING:
        return touch(delivery, now, status=target, due_at=now, attempts=0, settled_at=None, **changes)
    return touch(delivery, now, status=target, settled_at=now, **changes)


def use_up(artefact: Artefact, now: Instant) -> Artefact:
    """Return the artefact as used; raises ``Conflict`` when it was used before, or is over."""
    if artefact.used_at is not None:
        raise Conflict("This was used already.")
    if now >= artefact.expires_at:
        raise Conflict("The time to use this is over.")
    return replace(artefact, used_at=now)


def is_forgotten(record: Record, now: Instant) -> bool:
    """Tell whether a deleted record can no longer be brought back, so that the sweeper may remove it."""
    return record.deleted_at is not None and now >= record.deleted_at + UNDELETE_IN
