"""Notices: what is told to a user by mail when something about their account changed. Spec: ASVS 6.3.7."""

from __future__ import annotations

from ..core.users import User
from .authority import Authority
from .outbox import Message


def tell(authority: Authority, user: User, what: str, *, at: str | None = None) -> None:
    """Tell a user, at their address or at the one they had (``at``), in the background."""
    text = (
        f"This is about your account at {authority.settings.brand_name}.\n\n{what}\n\n"
        f"If that was you, there is nothing to do. If it was not, set a new password at once at\n"
        f"{authority.settings.issuer_url} and end all sessions in your account.\n"
    )
    authority.outbox.post(Message(at or user.email, "Your account was changed", text))
