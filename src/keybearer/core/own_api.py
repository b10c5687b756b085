"""Keybearer's own API: the permissions that service keys hold. The authority eats its own food."""

from __future__ import annotations

from typing import Final

from .permissions import covers, holds
from .records import CredentialKind, Permission

IDENTIFIER: Final = "urn:keybearer:api"
NAMESPACE: Final = "keybearer:"
ADMIN: Final = "keybearer:admin"
VERIFY: Final = "keybearer:verify"
DELEGATE: Final = "keybearer:delegate"


def _power(name: str, description: str, read_only: bool = False) -> Permission:
    """Return a permission that only users who hold it can grant, whatever they consent to."""
    return Permission(name, description, read_only, restricted=True)


PERMISSIONS: Final = (
    _power(ADMIN, "Do everything, also make other keys that may."),
    _power(VERIFY, "Verify credentials and refund charges."),
    _power(DELEGATE, "Hand one's own keybearer permissions on to keys one creates or changes."),
    _power("keybearer:apis.read", "See APIs.", True),
    _power("keybearer:apis.write", "Register and change APIs."),
    _power("keybearer:projects.read", "See projects.", True),
    _power("keybearer:projects.write", "Register and change projects."),
    _power("keybearer:plans.read", "See plans.", True),
    _power("keybearer:plans.write", "Make and change plans."),
    _power("keybearer:identities.read", "See identities.", True),
    _power("keybearer:identities.write", "Make and change identities."),
    _power("keybearer:keys.read", "See keys, never their secrets.", True),
    _power("keybearer:keys.write", "Create, change, rotate and revoke keys."),
    _power("keybearer:keys.import", "Import keys that exist elsewhere."),
    _power("keybearer:users.read", "See users and how they can sign in.", True),
    _power("keybearer:users.write", "Invite, import and change users, and set what they sign in with."),
    _power("keybearer:sessions.read", "See who is signed in.", True),
    _power("keybearer:sessions.write", "End sessions."),
    _power("keybearer:clients.read", "See OAuth clients, never their secrets.", True),
    _power("keybearer:clients.write", "Register and change OAuth clients."),
    _power("keybearer:clients.register", "Register OAuth clients dynamically."),
    _power("keybearer:grants.read", "See what users allowed clients.", True),
    _power("keybearer:grants.write", "Narrow and revoke what users allowed clients."),
    _power("keybearer:signing_keys.read", "See signing keys, never their private halves.", True),
    _power("keybearer:signing_keys.write", "Rotate and revoke signing keys."),
    _power("keybearer:upstreams.read", "See upstream OpenID providers, never the secrets they gave.", True),
    _power("keybearer:upstreams.write", "Register and change upstream OpenID providers, whose users may sign in."),
    _power("keybearer:leaks.read", "See what leaked, never the secrets themselves.", True),
    _power("keybearer:leaks.write", "Report leaked credentials, have something done about them, and say what."),
    _power("keybearer:webhooks.read", "See webhooks and the messages to them, never their secrets.", True),
    _power("keybearer:webhooks.write", "Make, change and try out webhooks, and send messages again."),
    _power("keybearer:routes.read", "See the routes of the gateway.", True),
    _power("keybearer:routes.write", "Make and change routes: what the gateway opens to whom."),
    _power("keybearer:secrets.read", "See which upstream secrets there are, never the secrets.", True),
    _power("keybearer:secrets.write", "Set and replace the secrets that the gateway shows to upstreams."),
    _power("keybearer:usage.read", "See usage.", True),
    _power("keybearer:audit.read", "See and verify the audit log.", True),
    _power("keybearer:events.read", "Follow the event log.", True),
)


ACCEPTS: Final = (CredentialKind.SECRET_KEY, CredentialKind.ACCESS_TOKEN)
"""What opens Keybearer's own API: service keys, and tokens of people who signed in."""


def may(held: frozenset[str], permission: str) -> bool:
    """Tell whether a holder of ``held`` may do what ``permission`` allows; an administrator may do everything."""
    return ADMIN in held or holds(held, permission)


def is_own(permission: str) -> bool:
    """Tell whether holding this gives power over Keybearer itself; ``*`` does."""
    return permission == "*" or permission.startswith(NAMESPACE)


def may_hand_on(held: frozenset[str], permission: str) -> bool:
    """Tell whether a holder of ``held`` may give this power over Keybearer to a key."""
    return ADMIN in held or (holds(held, DELEGATE) and covers(held, permission))
