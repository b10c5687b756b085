"""Users: the people that tokens act for, what they sign in with, and who they are elsewhere.

What identifies a user is apart from what proves it: a token's verify reads the one and never the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .instant import Instant
from .records import Record

USER_ID: Final = "user_"
FACTORS_ID: Final = "fac_"
LINK_ID: Final = "lnk_"


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Record):
    """A person. ``email`` is kept in lower case and is unique; ``subject`` is the ``sub`` that clients see.

    ``claims`` are further OpenID claims (``given_name``, ``picture``, …); ``permissions`` are the restricted
    permissions that the user holds (``Permission.restricted``), over any API. Spec: OIDC Core §5.1.
    """

    email: str
    email_verified: bool = False
    name: str = ""
    claims: Mapping[str, object] = field(default_factory=dict)
    permissions: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """The ``sub`` of this user, the same for every client that has no pairwise one."""
        return self.id


@dataclass(frozen=True, slots=True)
class Totp:
    """A time-based second factor: its sealed secret, and the last time step that was accepted (each counts once)."""

    sealed: bytes
    created_at: Instant
    confirmed_at: Instant | None = None
    last_step: int = 0


@dataclass(frozen=True, slots=True)
class Passkey:
    """A WebAuthn credential. Ids and keys are the raw bytes; ``sign_count`` only ever grows."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    name: str
    created_at: Instant
    transports: tuple[str, ...] = ()
    backed_up: bool = False
    last_used_at: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors(Record):
    """What a user signs in with. Its id has the user's own characters after ``fac_``.

    ``failures`` counts consecutive wrong passwords and codes, ``failed_at`` when the last was.
    ``password_is_long`` says that the password may be the only factor (``core/password_policy.py``).
    """

    user_id: str
    password_hash: str = ""
    password_changed_at: Instant | None = None
    password_is_long: bool = False
    totp: Totp | None = None
    recovery_digests: tuple[bytes, ...] = ()
    passkeys: tuple[Passkey, ...] = ()
    failures: int = 0
    failed_at: Instant | None = None

    @property
    def has_second_factor(self) -> bool:
        """Whether a password alone is not enough for this user."""
        return bool(self.passkeys) or (self.totp is not None and self.totp.confirmed_at is not None)


def factors_id(user_id: str) -> str:
    """Return the id under which a user's factors are kept."""
    return FACTORS_ID + user_id.removeprefix(USER_ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Record):
    """Who a user is elsewhere: the ``subject`` at an ``issuer`` (an upstream provider's URL, or any name)."""

    user_id: str
    issuer: str
    subject: str
