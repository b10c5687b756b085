"""Leaked credentials: told apart by their digest, entered as incidents, and contained by policy.

The credential itself is dropped as soon as it was looked up: it is in no record, log, audit entry, message or answer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..core.credential import new_id, without_secrets
from ..core.errors import Conflict, KeybearerError, NotFound, Unavailable
from ..core.incidents import (
    INCIDENT_ID,
    Incident,
    Sighting,
    Status,
    Step,
    kept,
    subject_of,
    with_step,
)
from ..core.instant import Instant
from ..core.leaks import Done, LeakKind, LeakState, Measure, Rules
from ..core.lifecycle import IncidentChange, advance, touch
from ..core.secret import Secret
from ..core.webhooks import WebhookEvent
from ..formats.redaction import redact
from ..ports import Query, UnitOfWork
from ..wire.base import to_instant
from ..wire.leaks import CheckedFinding, CheckedLeaks, CheckLeaks, LeakSource
from .announcements import announce, write_to_owner
from .authority import Authority, Caller, Deed
from .containment import contain
from .leak_finder import Leaked, find_all
from .leak_policies import WRITE, effective
from .problems import Problems
from .text import check_text

log = logging.getLogger(__name__)

BATCH: Final = 50
"""Incidents that are entered in one transaction."""
TRIES: Final = 5
"""How often a batch is tried when somebody else enters the same incidents."""
_ACTED_ON: Final = frozenset({LeakState.LIVE, LeakState.DISABLED})
"""Credentials that open something, or would again once somebody enables them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one leaked secret; ``opened`` is its incident when that was opened, or opened again, just now."""

    incident_id: str | None
    action: Done
    opened: Incident | None = None


NOTHING: Final = Outcome(None, Done.NONE)


@dataclass(slots=True)
class _Case:
    """One leaked secret with all places where it was found this time."""

    leaked: Leaked
    sightings: list[Sighting]
    rules: Rules


async def check(authority: Authority, caller: Caller, body: CheckLeaks) -> CheckedLeaks:
    """Tell what found credentials are; with ``act``, enter incidents and take the measures of the policies."""
    caller.need_everything(WRITE)
    problems = Problems()
    for index, finding in enumerate(body.findings):
        check_text(problems, finding.source, f"findings[{index}].source")
    problems.settle()
    now = authority.clock.now()
    found = await find_all(authority, [Secret(one.credential) for one in body.findings], with_slow_hashes=True)
    places = [_sighting(one.source, now) for one in body.findings]
    outcomes = await respond(authority, caller, list(zip(found, places, strict=True)), act=body.act)
    return CheckedLeaks([_checked(leaked, outcomes) for leaked in found])


async def respond(
    authority: Authority,
    caller: Caller,
    found: Sequence[tuple[Leaked | None, Sighting]],
    *,
    act: bool,
    by_public: bool = False,
    at_most_alert: bool = False,
) -> Mapping[str, Outcome]:
    """Enter what was found as incidents, do about each what the policy says, and return what became of each subject.

    Without ``act`` nothing is changed. ``by_public``: whoever reads a page has the publishable key in it, so nobody
    from outside can have that ended. ``at_most_alert`` is for what is no leak yet, only likely to become one.
    """
    cases: dict[str, _Case] = {}
    rules: dict[str, Rules] = {}
    for leaked, sighting in found:
        if leaked is None:
            continue
        if leaked.project_id not in rules:
            rules[leaked.project_id] = await effective(authority, leaked.project_id)
        case = cases.setdefault(subject_of_leaked(leaked), _Case(leaked, [], rules[leaked.project_id]))
        if not any(one.place == sighting.place for one in case.sightings):
            case.sightings.append(sighting)
    if not act:
        return {subject: await _known(authority, subject) for subject in cases}
    outcomes: dict[str, Outcome] = {}
    for batch in _batches(list(cases.items())):
        outcomes |= await _enter_batch(authority, caller, batch, by_public, at_most_alert)
    return outcomes


def subject_of_leaked(leaked: Leaked) -> str:
    """Return what the incident of a credential is about."""
    return subject_of(leaked.kind, leaked.record_id, leaked.version)


async def _known(authority: Authority, subject: str) -> Outcome:
    found = await authority.store.page(Incident, Query({"subject": subject}, limit=1))
    return Outcome(found[0].id, Done.NONE) if found else NOTHING


async def _enter_batch(
    authority: Authority, caller: Caller, batch: Sequence[tuple[str, _Case]], by_public: bool, at_most_alert: bool
) -> dict[str, Outcome]:
    def only_alerts(case: _Case) -> bool:
        return at_most_alert or (by_public and case.leaked.kind is LeakKind.PUBLISHABLE_KEY)

    async def work(uow: UnitOfWork) -> dict[str, Outcome]:
        now = authority.clock.now()
        return {
            subject: await _enter(uow, authority, caller, subject, case, only_alerts(case), now)
            for subject, case in batch
        }

    for _ in range(TRIES):
        try:
            outcomes = await authority.store.transact(work)
        except Conflict:
            # Somebody else entered one of them at the same time, or changed what it is about: look again.
            continue
        for subject, case in batch:
            authority.on_leak(case.leaked.kind.value, case.leaked.state.value, outcomes[subject].action.value)
            if (opened := outcomes[subject].opened) is not None:
                await _write(authority, opened)
        return outcomes
    raise Unavailable("The incidents changed all the time; try again.")


async def _enter(
    uow: UnitOfWork,
    authority: Authority,
    caller: Caller,
    subject: str,
    case: _Case,
    only_alerts: bool,
    now: Instant,
) -> Outcome:
    found = await uow.page(Incident, Query({"subject": subject}, limit=1))
    known = found[0] if found else None
    leaked = case.leaked
    measure = case.rules.measure(leaked.environment, leaked.kind)
    matters = leaked.state in _ACTED_ON and measure is not Measure.IGNORE
    if known is None and not matters:
        return NOTHING
    if only_alerts:
        measure = Measure.ALERT
    fresh = [one for one in case.sightings if known is None or not known.knows(one)]
    if known is not None and not fresh and (not matters or not _is_stronger(_DONE[measure], known.action)):
        return Outcome(known.id, Done.NONE)
    incident = before = known or _opened(subject, case, now)
    comes_back = known is not None and known.status is Status.RESOLVED and matters
    if comes_back:
        before = advance(before, IncidentChange.REOPEN, now, caller.actor, "It was found again, and still works.")
    action = Done.NONE
    if matters:
        try:
            action = await contain(uow, caller, leaked, measure, case.rules.grace_in, incident.id, now)
        except NotFound:  # it was swept away meanwhile, and opens nothing any more
            action = Done.NONE
    times = [min(one.at or one.reported_at, now) for one in fresh]
    changed = touch(
        before,
        now,
        sightings=kept((*incident.sightings, *fresh)),
        sighted=incident.sighted + len(fresh),
        first_seen_at=min((incident.first_seen_at, *times)),
        last_seen_at=max((incident.last_seen_at, *times)),
        action=max(incident.action, action, key=_STRENGTH.index),
        steps=_steps(before, action, caller.actor, now),
    )
    changed = replace(changed, revision=incident.revision + 1)
    if known is None:
        await uow.insert(changed)
    else:
        await uow.update(changed)
    if known is None or comes_back:
        Deed(uow, caller, now).note(
            "incident.open" if known is None else "incident.reopen",
            changed.id,
            project_id=changed.project_id,
            details={"kind": leaked.kind.value, "credential_id": leaked.credential_id, "action": action.value},
            event=False,
        )
        event = WebhookEvent.INCIDENT_OPENED if known is None else WebhookEvent.INCIDENT_REOPENED
        await announce(uow, authority.own_project_id, event, changed, now)
        return Outcome(changed.id, action, changed)
    return Outcome(changed.id, action)


async def _write(authority: Authority, incident: Incident) -> None:
    try:
        await write_to_owner(authority, incident)
    except KeybearerError as error:
        # What was done stands, and so do the messages to webhooks; only this letter is lost.
        log.warning(
            "nobody could be written to about an incident",
            extra={"incident": incident.id, "error": error.detail or error.public},
        )


def _opened(subject: str, case: _Case, now: Instant) -> Incident:
    leaked = case.leaked
    return Incident(
        id=INCIDENT_ID + new_id(now),
        created_at=now,
        updated_at=now,
        revision=0,
        subject=subject,
        project_id=leaked.project_id,
        kind=leaked.kind,
        environment=leaked.environment,
        credential_id=leaked.credential_id,
        version=leaked.version,
        name=leaked.name,
        counted_as=leaked.counted_as,
        first_seen_at=now,
        last_seen_at=Instant(0),
        sightings=(),
        sighted=0,
        key_id=leaked.key_id,
        client_id=leaked.client_id,
        owner=leaked.owner,
    )


def _steps(incident: Incident, action: Done, actor: str, now: Instant) -> tuple[Step, ...]:
    steps = incident.steps
    if not steps:
        steps = with_step(steps, Step(now, "opened", actor))
    if _is_stronger(action, incident.action):
        steps = with_step(steps, Step(now, action.value, actor))
    return steps


_DONE: Final = {
    Measure.REVOKE: Done.REVOKED,
    Measure.DISABLE: Done.DISABLED,
    Measure.ROTATE: Done.ROTATED,
    Measure.ALERT: Done.ALERTED,
}
"""What stands in an incident whose measure was taken. For a place that is known only a stronger one is taken, so that
what people changed since then stays as they want it.
"""
_STRENGTH: Final = (Done.NONE, Done.ALERTED, Done.ROTATED, Done.DISABLED, Done.REVOKED)


def _is_stronger(one: Done, other: Done) -> bool:
    return _STRENGTH.index(one) > _STRENGTH.index(other)


def _batches(cases: list[tuple[str, _Case]]) -> list[list[tuple[str, _Case]]]:
    return [cases[start : start + BATCH] for start in range(0, len(cases), BATCH)]


def place_of(text: str) -> str:
    """Return what is kept of a place: a path or a URL may itself hold what was found in it, in any spelling."""
    return without_secrets(redact(text.encode("utf-8", "replace")).decode("utf-8", "replace"))


def _sighting(source: LeakSource, now: Instant) -> Sighting:
    return Sighting(
        kind=source.kind,
        name=place_of(source.name),
        reported_at=now,
        line=source.line,
        column=source.column,
        at=None if source.at is None else to_instant(source.at),
        client_ip=source.client_ip,
        commit=source.commit,
    )


def _checked(leaked: Leaked | None, outcomes: Mapping[str, Outcome]) -> CheckedFinding:
    if leaked is None:
        return CheckedFinding(LeakState.UNKNOWN)
    outcome = outcomes.get(subject_of_leaked(leaked), NOTHING)
    return CheckedFinding(
        state=leaked.state,
        kind=leaked.kind,
        credential_id=leaked.credential_id,
        project_id=leaked.project_id,
        project_name=leaked.project_name,
        key_id=leaked.key_id,
        key_name=None if leaked.key_id is None else leaked.name,
        client_id=leaked.client_id,
        environment=leaked.environment,
        incident_id=outcome.incident_id,
        action=outcome.action,
    )
