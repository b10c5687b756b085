"""A user and what they sign in with, made together: two records, one for each of the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..core import password_policy
from ..core.instant import Instant
from ..core.users import USER_ID, Factors, User, factors_id
from ..ports import UnitOfWork
from .authority import Authority


async def insert_user(
    uow: UnitOfWork,
    authority: Authority,
    public_id: str,
    email: str,
    name: str = "",
    *,
    verified: bool = False,
    claims: Mapping[str, object] | None = None,
    permissions: tuple[str, ...] = (),
    metadata: Mapping[str, object] | None = None,
) -> tuple[User, Factors]:
    """Add a user who can sign in with nothing yet; raises ``Conflict`` when somebody has the address."""
    now = authority.clock.now()
    user = User(
        id=USER_ID + public_id,
        created_at=now,
        updated_at=now,
        email=email,
        email_verified=verified,
        name=name,
        claims=dict(claims or {}),
        permissions=permissions,
        metadata=dict(metadata or {}),
    )
    factors = Factors(id=factors_id(user.id), created_at=now, updated_at=now, user_id=user.id)
    await uow.insert(user)
    await uow.insert(factors)
    return user, factors


def with_password(factors: Factors, encoded: str, password: str, now: Instant) -> Factors:
    """Return the factors with a new password, as they are to be changed by one ``touch`` or ``update`` more."""
    return replace(
        factors,
        password_hash=encoded,
        password_changed_at=now,
        password_is_long=password_policy.is_long(password),
    )
