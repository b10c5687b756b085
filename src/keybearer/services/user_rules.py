"""The rules that every user keeps, however they came to be, and who may change whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..core import own_api
from ..core.email_address import normalise
from ..core.errors import NotPermitted
from ..core.permissions import is_holdable
from .authority import Caller
from .problems import Problems
from .text import check_metadata, shown

RESERVED_CLAIMS: Final = frozenset(
    (
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "nonce", "auth_time", "acr", "amr", "azp", "at_hash"),
        *("c_hash", "s_hash", "sid", "act", "cnf", "scope", "client_id", "may_act", "events"),
        *("email", "email_verified", "name"),
    )
)
"""Claims that say something else than an administrator could know, or that have a field of their own."""


def check_person(
    problems: Problems,
    email: str | None,
    claims: Mapping[str, Any],
    permissions: Iterable[str],
    metadata: Mapping[str, Any],
) -> str:
    """Note what is wrong with the fields of a user; returns the address as it is stored, empty without one."""
    address = ""
    if email is not None:
        address = normalise(email) or ""
        if not address:
            problems.add("email", f"{shown(email)} is no address such as ada@example.com")
    check_metadata(problems, metadata)
    check_metadata(problems, claims, "claims")
    for name in sorted(RESERVED_CLAIMS & claims.keys()):
        problems.add(f"claims.{name}", "is not an administrator's to say; 'email' and 'name' have fields of their own")
    for index, permission in enumerate(permissions):
        if not is_holdable(permission):
            problems.add(f"permissions[{index}]", f"{shown(permission)} is no permission; write one as 'orders:read'")
    return address


def require_may_grant(caller: Caller, permissions: Iterable[str], doing: str) -> None:
    """Raise ``NotPermitted`` when a user has, or would get, power over Keybearer that the caller may not hand on.

    Whoever can set the password of an administrator is one.
    """
    refused = tuple(
        name for name in permissions if own_api.is_own(name) and not own_api.may_hand_on(caller.permissions, name)
    )
    if refused:
        raise NotPermitted(
            f"{doing} a user with {', '.join(refused)} needs {own_api.ADMIN!r}, or {own_api.DELEGATE!r} together with "
            "those permissions themselves.",
            missing=refused,
        )
