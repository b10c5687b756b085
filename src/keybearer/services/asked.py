"""What an authorization request asks for, once it is understood: scopes and APIs within the ceiling of its client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core import own_api
from ..core.authorization_details import Details
from ..core.authorization_request import AuthorizationRequest, ResponseTarget
from ..core.clients import Client
from ..core.permissions import holds
from ..core.records import Api
from ..core.tokens import IDENTITY_SCOPES
from ..core.users import User


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is understood: of a client in force, for scopes within its ceiling, for APIs that it may call.

    ``required_subject`` is the one user that it insists on; ``pushed_id`` the pushed request that it came as.
    """

    client: Client
    request: AuthorizationRequest
    target: ResponseTarget
    apis: tuple[Api, ...]
    scopes: tuple[str, ...]
    details: Details = ()
    required_subject: str | None = None
    pushed_id: str = ""

    def scopes_of(self, user: User) -> tuple[str, ...]:
        """Return the scopes that this user is entitled to grant."""
        held = frozenset(user.permissions)
        return tuple(scope for scope in self.scopes if may_grant(self.apis, held, scope))


def may_grant(apis: Sequence[Api], held: frozenset[str], scope: str) -> bool:
    """Tell whether a user who holds these restricted permissions may grant a scope at these APIs."""
    if scope in IDENTITY_SCOPES:
        return True
    if own_api.is_own(scope):
        return own_api.may(held, scope)
    return any(
        permission.name == scope and (not permission.restricted or holds(held, scope))
        for api in apis
        for permission in api.permissions
    )
