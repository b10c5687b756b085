"""The gate that people pass each time they write: Keybearer's guard is asked about the token of their session."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from keybearer.guards import Caller, Code, Guard, Rejected, Rule, Unreachable

from .permissions import MODERATE, READ, WORDS
from .site.authority import Authority, SignInFailed

if TYPE_CHECKING:
    from .site.sessions import Session, Tokens

RENEW_BEFORE = 15.0
MODERATORS_SIGNED_IN_WITHIN = 15 * 60
"""Moderators take things away from others, so theirs must be a fresh sign-in (step-up, RFC 9470)."""


class NotSignedIn(Exception):
    """Nobody is signed in, or no longer, or not lately enough (``again``): they shall sign in, and come back."""

    def __init__(self, *, again: bool = False) -> None:
        super().__init__("Sign in first.")
        self.again = again


class Refused(Exception):
    """Keybearer says no; the text is for the person."""

    def __init__(self, status: int, title: str, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.title = title
        self.headers = headers or {}


class Gate:
    """Asks about tokens, and renews those that are over."""

    def __init__(self, guard: Guard, authority: Authority) -> None:
        self._guard = guard
        self._authority = authority
        self._rules = {
            name: Rule(name, accept=["access_token"], max_age=MODERATORS_SIGNED_IN_WITHIN if name == MODERATE else None)
            for name in WORDS
        }
        self._renewing: WeakKeyDictionary[Session, asyncio.Lock] = WeakKeyDictionary()

    async def allowed(self, session: Session, permission: str) -> Caller:
        """Return who it is that may do this now. Raises ``NotSignedIn``, ``Refused``.

        A grant that was withdrawn, in this very second even, ends the session here.
        """
        tokens = await self._current(session)
        try:
            caller = await self._guard.averify(tokens.access.reveal(), self._rules[permission])
        except Rejected as rejection:
            raise self._answer(session, permission, rejection) from None
        except Unreachable:
            raise Refused(503, "Please try again", "Keybearer cannot be asked for now, so nobody may write.") from None
        if caller.user_id is None or caller.user_id != session.person_id:
            raise NotSignedIn
        return caller

    async def holds(self, session: Session, permission: str) -> bool:
        """Tell whether somebody still holds a permission, to decide what to show them."""
        try:
            caller = await self.allowed(session, READ)
        except (NotSignedIn, Refused, SignInFailed):
            return False
        return caller.may(permission)

    async def _current(self, session: Session) -> Tokens:
        """Return tokens that are not over. Two requests at once renew them once."""
        async with self._renewing.setdefault(session, asyncio.Lock()):
            tokens = session.tokens
            if tokens is not None and tokens.ends - RENEW_BEFORE < time.monotonic():
                tokens = session.tokens = await self._authority.renewed(tokens)
        if tokens is None:
            raise NotSignedIn
        return tokens

    def _answer(self, session: Session, permission: str, rejection: Rejected) -> Exception:
        match rejection.code:
            case Code.INSUFFICIENT_PERMISSIONS:
                what = WORDS[permission][0].lower() + WORDS[permission][1:]
                if permission == MODERATE:
                    return Refused(403, "For moderators", "Only moderators may do this.")
                return Refused(403, "You have not allowed this", f"You did not let this site {what}.")
            case Code.INSUFFICIENT_AUTHENTICATION:
                return NotSignedIn(again=True)
            case Code.RATE_LIMITED:
                seconds = str(-(-(rejection.retry_after or 1_000_000) // 1_000_000))
                return Refused(429, "Slowly, please", f"Try again in {seconds} seconds.", {"retry-after": seconds})
            case _:
                session.tokens = None
                return NotSignedIn()
