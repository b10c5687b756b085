"""How fresh a sign-in must be before what one signs in with may be changed. Spec: ASVS 7.5.1, SECURITY-BAR 23."""

from __future__ import annotations

from typing import Final

from ..core.errors import NotPermitted
from ..core.instant import MINUTE
from .authority import Authority
from .sessions import SignedIn

RECENT_IN: Final = 10 * MINUTE


class SignInNeeded(NotPermitted):
    """The sign-in is good, but too old for this: sign in once more (``prompt=login``), then do it."""


def is_recent(authority: Authority, signed_in: SignedIn) -> bool:
    """Tell whether whoever is signed in proved it within the last ten minutes."""
    return authority.clock.now() < signed_in.session.authenticated_at + RECENT_IN


def require_recent(authority: Authority, signed_in: SignedIn) -> None:
    """Raise ``SignInNeeded`` unless the sign-in is recent."""
    if not is_recent(authority, signed_in):
        raise SignInNeeded("Sign in once more before you change how you sign in.")
