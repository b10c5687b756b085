"""Incidents: one per leaked secret, with where it was seen, what was done, when and by whom."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .instant import Instant
from .leaks import TOKENS, Done, LeakKind
from .records import Environment, Record

INCIDENT_ID: Final = "inc_"
MAX_SIGHTINGS: Final = 50
"""Sightings that an incident keeps: the first, and the newest; all are counted."""
MAX_STEPS: Final = 100
"""Steps that the history of an incident keeps: the first, and the newest."""


class SourceKind(StrEnum):
    """In what a credential was found; ``url`` is a request that carried it there."""

    FILE = "file"
    GIT = "git"
    STDIN = "stdin"
    LOG = "log"
    REPORT = "report"
    URL = "url"


class Status(StrEnum):
    """Where an incident stands; ``core/lifecycle.py`` says which changes are legal."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One place where a credential was found. ``at`` is the time written there, ``reported_at`` when it was told."""

    kind: SourceKind
    name: str
    reported_at: Instant
    line: int | None = None
    column: int | None = None
    at: Instant | None = None
    client_ip: str | None = None
    commit: str | None = None

    @property
    def place(self) -> tuple[object, ...]:
        """What tells one place from another, however often it is looked at."""
        return (self.kind, self.name, self.line, self.column, self.at, self.commit)


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of an incident's history: what was done, when and by whom."""

    at: Instant
    what: str
    actor: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident(Record):
    """One leaked secret. ``subject`` names it for ever (kind, id, version), so that each has one incident.

    ``credential_id`` is the public id inside the credential, ``counted_as`` the id that its usage is counted by.
    ``sighted`` counts all sightings, of which some are kept. ``action`` is the strongest thing that was done.
    """

    subject: str
    project_id: str
    kind: LeakKind
    environment: Environment
    credential_id: str
    version: int
    name: str
    counted_as: str
    first_seen_at: Instant
    last_seen_at: Instant
    sightings: tuple[Sighting, ...]
    sighted: int
    key_id: str | None = None
    client_id: str | None = None
    owner: str | None = None
    status: Status = Status.OPEN
    action: Done = Done.NONE
    steps: tuple[Step, ...] = ()
    resolved_at: Instant | None = None

    @property
    def ends_at(self) -> Instant | None:
        """From when on nobody needs it any more: once it is resolved; a token's once it is not seen again."""
        if self.kind in TOKENS:
            return self.resolved_at or self.last_seen_at
        return self.resolved_at

    def knows(self, sighting: Sighting) -> bool:
        """Tell whether this place is among those that are kept."""
        return any(one.place == sighting.place for one in self.sightings)


def subject_of(kind: LeakKind, record_id: str, version: int) -> str:
    """Return what an incident is about, as one text."""
    return f"{kind.value}:{record_id}:{version}"


def kept(sightings: tuple[Sighting, ...]) -> tuple[Sighting, ...]:
    """Return the sightings that are kept of all these: the first, and the newest."""
    return sightings if len(sightings) <= MAX_SIGHTINGS else (sightings[0], *sightings[-(MAX_SIGHTINGS - 1) :])


def with_step(steps: tuple[Step, ...], step: Step) -> tuple[Step, ...]:
    """Return a history with one step more."""
    longer = (*steps, step)
    return longer if len(longer) <= MAX_STEPS else (longer[0], *longer[-(MAX_STEPS - 1) :])
