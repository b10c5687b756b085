"""What a device asked for, and what the user answered: lies in the artefact of its device code. Spec: RFC 8628."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .instant import MINUTE, SECOND, Instant

LIFETIME_IN: Final = 10 * MINUTE
"""How long a device code and its user code are good. Spec: RFC 8628 §3.2."""

INTERVAL_IN: Final = 5 * SECOND
"""How long a device waits between two polls; each poll that comes too early adds as much. Spec: RFC 8628 §3.5."""

MAX_INTERVAL_IN: Final = 60 * SECOND

USER_CODE_ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
USER_CODE_LENGTH: Final = 8
"""Eight of twenty letters are 34.5 bits. Spec: RFC 8628 §6.1."""


class Answer(StrEnum):
    """What the user said."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """The request of one device. ``resources`` are ids of APIs; what follows ``answer`` comes from the user's consent.

    ``session_id`` is the browser's session at the moment of consent, which the device outlives.
    """

    client_id: str
    scopes: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    authorization_details: tuple[Mapping[str, object], ...] = ()
    user_code_id: str = ""
    source: str = ""
    user_agent: str = ""
    interval_in: int = INTERVAL_IN
    polled_at: Instant | None = None
    answer: Answer = Answer.PENDING
    user_id: str = ""
    grant_id: str = ""
    session_id: str = ""
    authenticated_at: Instant | None = None
    amr: tuple[str, ...] = ()
    acr: str = ""


def normalised_user_code(typed: str) -> str | None:
    """Return the letters of a user code as people type it, or ``None`` when it can be none. Spec: RFC 8628 §6.1."""
    if len(typed) > 64:
        return None
    letters = "".join(character for character in typed.upper() if character.isalnum())
    if len(letters) != USER_CODE_LENGTH or any(letter not in USER_CODE_ALPHABET for letter in letters):
        return None
    return letters


def shown_user_code(letters: str) -> str:
    """Return a user code as it is shown: in two groups."""
    return f"{letters[:4]}-{letters[4:]}"
