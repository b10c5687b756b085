"""The rules that every key keeps, however it came to be: created, imported, changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..core import own_api
from ..core.errors import NotPermitted
from ..core.instant import SECOND, Instant
from ..core.permissions import is_holdable
from ..core.records import ApiKey, CredentialKind
from ..wire.base import to_instant
from ..wire.keys import KeySettings
from .authority import Caller
from .grounds import Ground
from .limits import check_names
from .problems import Problems
from .text import shown

NAMES_SHOWN: Final = 10


def require_may_hand_on(caller: Caller, permissions: Iterable[str], doing: str) -> None:
    """Raise ``NotPermitted`` if a key would get, or give to whoever sees its secret, power over Keybearer that the
    caller may not hand on.
    """
    refused = tuple(name for name in permissions if own_api.is_own(name) and not may_hand_on(caller, name))
    if refused:
        raise NotPermitted(
            f"{doing} a key with {', '.join(refused)} needs {own_api.ADMIN!r}, or {own_api.DELEGATE!r} together with "
            "those permissions themselves.",
            missing=refused,
        )


def may_hand_on(caller: Caller, permission: str) -> bool:
    """Tell whether the caller may give this power over Keybearer to a key."""
    return own_api.may_hand_on(caller.permissions, permission)


def check_key(problems: Problems, key: ApiKey, ground: Ground, *, check_permissions: bool = True) -> None:
    """Note whatever is wrong with a key as a whole. Permissions that it held before are not looked at again, so that
    a key whose API was taken from the project can still be changed.
    """
    check_names(problems, key.limits, key.quotas)
    if check_permissions:
        for index, name in enumerate(key.permissions):
            _check_permission(problems, f"permissions[{index}]", name, ground)
    if key.kind is CredentialKind.PUBLISHABLE_KEY:
        _check_publishable(problems, key, ground)


def _check_permission(problems: Problems, at: str, name: str, ground: Ground) -> None:
    if not is_holdable(name):
        problems.add(at, f"{shown(name)} is not a permission; write one such as 'orders:read' or 'orders:*'")
    elif not ground.declares(name):
        names = ground.names()
        known = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
        problems.add(
            at,
            f"no API that is enabled for the project has {name!r}; it may hold: {known or 'nothing, for want of APIs'}",
        )


def _check_publishable(problems: Problems, key: ApiKey, ground: Ground) -> None:
    if not key.restrictions.binds_a_publishable_key:
        problems.add("restrictions", "a publishable key is public: tie it to origins, referrers, apps or networks")
    for index, name in enumerate(key.permissions):
        at = f"permissions[{index}]"
        if "*" in name:
            problems.add(at, "a publishable key may not hold wildcards; name each permission")
        elif own_api.is_own(name):
            problems.add(at, "a publishable key may not hold power over Keybearer")
        elif is_holdable(name) and ground.declares(name) and not ground.is_read_only(name):
            problems.add(at, f"a publishable key may hold read-only permissions only, and {name!r} is not")


def expiry_of(problems: Problems, body: KeySettings, now: Instant) -> Instant | None:
    """Return when a new key expires, ``None`` for never."""
    if body.expires_at is not None and body.expires_in is not None:
        problems.add("expires_in", "give 'expires_at' or 'expires_in', not both")
        return None
    if body.expires_in is not None:
        return Instant(now + body.expires_in * SECOND)
    if body.expires_at is None:
        return None
    expires_at = to_instant(body.expires_at)
    if expires_at <= now:
        problems.add("expires_at", "must lie in the future")
    return expires_at
