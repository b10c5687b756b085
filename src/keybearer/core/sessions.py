"""Sessions: browser sign-ins, each with its own end. Not grants, and not families of refresh tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .instant import Instant
from .records import Record

SESSION_ID: Final = "sess_"
COOKIE_PREFIX: Final = "kb_ss"
"""What the secret in the session cookie begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(Record):
    """One sign-in of a user with one browser; ``id`` is the ``sid`` that clients see.

    ``authenticated_at`` is ``auth_time``, ``amr`` the methods (RFC 8176), ``expires_at`` the absolute end and
    ``idle_in`` how long it may lie unused after ``seen_at``, which moves in steps of minutes.
    """

    user_id: str
    digest: bytes
    pepper_id: str
    authenticated_at: Instant
    expires_at: Instant
    idle_in: int
    seen_at: Instant
    amr: tuple[str, ...] = ()
    acr: str = ""
    source: str = ""
    user_agent: str = ""
    client_ids: tuple[str, ...] = ()
    revoked_at: Instant | None = None

    @property
    def ends_at(self) -> Instant:
        """When this session ends by itself, unless it is seen again before."""
        return Instant(min(self.expires_at, self.seen_at + self.idle_in))

    def is_over(self, now: Instant) -> bool:
        """Tell whether this session has ended by itself."""
        return now >= self.ends_at
