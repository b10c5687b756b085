"""OpenID claims about a user: what each scope, and the ``claims`` parameter, asks for. Spec: OIDC Core §5.4, §5.5."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from ..core.instant import SECOND
from ..core.users import User

PROFILE: Final = (
    "name",
    "family_name",
    "given_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "updated_at",
)
BY_SCOPE: Final[Mapping[str, tuple[str, ...]]] = {
    "profile": PROFILE,
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": ("phone_number", "phone_number_verified"),
}
SUPPORTED: Final = ("sub", *(name for names in BY_SCOPE.values() for name in names))


def claims_about(user: User, scopes: Collection[str], requested: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Return the claims that the scopes, and one part of the ``claims`` parameter, ask for; unknown ones are left out.

    ``requested`` is the ``userinfo`` or the ``id_token`` member of the parameter.
    """
    wanted = {name for scope in scopes for name in BY_SCOPE.get(scope, ())} | set(requested or ())
    known: dict[str, Any] = {
        **user.claims,
        "name": user.name or None,
        "email": user.email,
        "email_verified": user.email_verified,
        "updated_at": user.updated_at // SECOND,
    }
    return {name: known[name] for name in SUPPORTED if name in wanted and known.get(name) is not None}
