"""What a scan finds: a credential and where it stands, and what the authority says about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ..core.secret import Secret


@dataclass(frozen=True, slots=True)
class Place:
    """Where a credential stands. ``name`` (a path, ``-`` for standard input) has no credential in it.

    ``line`` and ``column`` count from 1, columns in characters. ``at`` is when it was written, as RFC 3339, and
    ``client_ip`` who sent it, where the line says so; ``commit`` is the oldest commit with it.
    """

    kind: str
    name: str
    line: int
    column: int
    at: str | None = None
    client_ip: str | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """One credential at one place. ``rule`` is its kind, such as ``secret_key``, or the id of a loaded rule.

    ``prefix`` and ``credential_id`` are the public parts; they are empty for what a loaded rule found.
    """

    credential: Secret
    rule: str
    place: Place
    spelling: str
    prefix: str = ""
    credential_id: str = ""
    is_foreign: bool = False


class State(StrEnum):
    """Where a credential stands that was found; ``core/leaks.py`` has those that the authority answers.

    ``id_match``: the id is known and the checksum right, but the secret was not compared. ``unchecked``: nobody was
    asked. ``foreign``: a loaded rule matched, and only its vendor knows.
    """

    LIVE = "live"
    REVOKED = "revoked"
    EXPIRED = "expired"
    DISABLED = "disabled"
    DELETED = "deleted"
    UNKNOWN = "unknown"
    ID_MATCH = "id_match"
    UNCHECKED = "unchecked"
    FOREIGN = "foreign"


MAY_BE_LIVE = frozenset({State.LIVE, State.ID_MATCH, State.UNCHECKED, State.FOREIGN})
"""States of what opens doors, or may for all that is known here."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the authority knows about a credential, and what it did; empty texts for what is not known."""

    state: State
    kind: str = ""
    credential_id: str = ""
    project_id: str = ""
    project_name: str = ""
    key_id: str = ""
    key_name: str = ""
    environment: str = ""
    incident_id: str = ""
    action: str = "none"


class Matcher(Protocol):
    """Tells where credentials stand. May raise ``KeybearerError`` where nobody can tell just now."""

    def check(self, sightings: Sequence[Sighting], *, act: bool) -> Sequence[Verdict]:
        """Return a verdict for each sighting, in their order; ``act`` lets policies do what they say."""
        ...


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that could not be searched, or not to its end, and why. ``name`` has no credential in it."""

    name: str
    why: str
