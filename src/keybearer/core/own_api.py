"""Keybearer's own API: the permissions that service keys hold. The authority eats its own food."""

from __future__ import annotations

from typing import Final

from .permissions import covers, holds
from .records import Permission

IDENTIFIER: Final = "urn:keybearer:api"
NAMESPACE: Final = "keybearer:"
ADMIN: Final = "keybearer:admin"
VERIFY: Final = "keybearer:verify"
DELEGATE: Final = "keybearer:delegate"

PERMISSIONS: Final = (
    Permission(ADMIN, "Do everything, also make other keys that may."),
    Permission(VERIFY, "Verify credentials and refund charges."),
    Permission(DELEGATE, "Hand one's own keybearer permissions on to keys one creates or changes."),
    Permission("keybearer:apis.read", "See APIs.", True),
    Permission("keybearer:apis.write", "Register and change APIs."),
    Permission("keybearer:projects.read", "See projects.", True),
    Permission("keybearer:projects.write", "Register and change projects."),
    Permission("keybearer:plans.read", "See plans.", True),
    Permission("keybearer:plans.write", "Make and change plans."),
    Permission("keybearer:identities.read", "See identities.", True),
    Permission("keybearer:identities.write", "Make and change identities."),
    Permission("keybearer:keys.read", "See keys, never their secrets.", True),
    Permission("keybearer:keys.write", "Create, change, rotate and revoke keys."),
    Permission("keybearer:keys.import", "Import keys that exist elsewhere."),
    Permission("keybearer:users.read", "See users and how they can sign in.", True),
    Permission("keybearer:users.write", "Invite, import and change users, and set what they sign in with."),
    Permission("keybearer:sessions.read", "See who is signed in.", True),
    Permission("keybearer:sessions.write", "End sessions."),
    Permission("keybearer:usage.read", "See usage.", True),
    Permission("keybearer:audit.read", "See and verify the audit log.", True),
    Permission("keybearer:events.read", "Follow the event log.", True),
)


def may(held: frozenset[str], permission: str) -> bool:
    """Tell whether a holder of ``held`` may do what ``permission`` allows; an administrator may do everything."""
    return ADMIN in held or holds(held, permission)


def is_own(permission: str) -> bool:
    """Tell whether holding this gives power over Keybearer itself; ``*`` does."""
    return permission == "*" or permission.startswith(NAMESPACE)


def may_hand_on(held: frozenset[str], permission: str) -> bool:
    """Tell whether a holder of ``held`` may give this power over Keybearer to a key."""
    return ADMIN in held or (holds(held, DELEGATE) and covers(held, permission))
