"""Which API a token is for, and which of the scopes belong there: a token has one audience.

Spec: RFC 8707 §2, RFC 9068 §3, RFC 9700 §2.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .oauth_error import InvalidScope, InvalidTarget
from .records import Api, CredentialKind, State
from .tokens import IDENTITY_SCOPES


def is_target(api: Api) -> bool:
    """Tell whether tokens may be issued for this API."""
    return api.state is State.ENABLED and CredentialKind.ACCESS_TOKEN in api.accepts


def names_of(api: Api | None) -> frozenset[str]:
    """Return the scopes that an API understands."""
    return frozenset(permission.name for permission in api.permissions) if api is not None else frozenset()


def choose_api(
    candidates: Sequence[Api], resources: Sequence[str], scopes: Iterable[str], *, consented: bool = False
) -> Api | None:
    """Return the API of a token: the one that is asked for, else the only one that understands the scopes.

    ``candidates`` are the APIs that may be asked for; with ``consented`` a user chose them, and a single one is meant
    also without scopes. ``None`` is a token that only says who the user is. Raises ``InvalidTarget``, ``InvalidScope``.
    """
    if len(resources) > 1:
        raise InvalidTarget("Ask for one resource at a time: a token is for one API.")
    if resources:
        for api in candidates:
            if api.identifier == resources[0]:
                return api
        raise InvalidTarget("The resource is not the identifier of an API that this client may ask for.")
    wanted = frozenset(scope for scope in scopes if scope not in IDENTITY_SCOPES)
    if not wanted:
        return candidates[0] if consented and len(candidates) == 1 else None
    known = [(api, names_of(api)) for api in candidates]
    whole = [api for api, names in known if wanted <= names]
    if len(whole) == 1:
        return whole[0]
    some = [api for api, names in known if wanted & names]
    if not some:
        raise InvalidScope("No API that this client may ask for understands the scope.")
    if len(some) == 1:
        return some[0]
    raise InvalidTarget("Several APIs understand these scopes: say which one with the resource parameter.")


def scopes_at(api: Api | None, scopes: Iterable[str]) -> tuple[str, ...]:
    """Return those scopes that a token for this API can carry, in order."""
    names = names_of(api)
    return tuple(scope for scope in scopes if scope in IDENTITY_SCOPES or scope in names)
