"""The edge of the X-Auth-Token service, one file per family of endpoints: the v1 call, Keystone's tokens, its versions.

Off unless the settings say ``x_auth``.
"""

from __future__ import annotations

from starlette.routing import Route

from ...http.client_address import TrustedProxies
from ...services.authority import Authority
from ...services.x_auth import XAuth
from ...services.x_auth_tokens import XAuthTokens
from ...verify import Verifier
from . import catalog, tokens, v1, versions
from .door import Door


def routes(authority: Authority, verifier: Verifier, proxies: TrustedProxies) -> list[Route]:
    """Return the routes of the whole service."""
    x_auth = XAuth(authority, verifier)
    door = Door(authority, proxies, x_auth, XAuthTokens(authority, x_auth))
    return [*v1.routes(door), *tokens.routes(door), *catalog.routes(door), *versions.routes(door)]


__all__ = ["routes"]
