"""What an authorization code stands for: all that the token endpoint must know of the request and of the user's answer.

Spec: RFC 6749 §4.1.2, RFC 7636 §4.4, OIDC Core §3.1.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .instant import MINUTE, Instant

LIFETIME = MINUTE
"""How long a code is good. Spec: ASVS 10.4.3, OAuth 2.1 §4.1.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCode:
    """A code is bound to its client, its redirect URI and its PKCE challenge, whichever of them the request had.

    ``redirect_uri`` is as the request said it, ``None`` when it said none. ``resources`` are ids of APIs.
    """

    client_id: str
    user_id: str
    grant_id: str
    session_id: str
    scopes: tuple[str, ...]
    authenticated_at: Instant
    redirect_uri: str | None = None
    code_challenge: str = ""
    resources: tuple[str, ...] = ()
    authorization_details: tuple[Mapping[str, object], ...] = ()
    nonce: str = ""
    claims: Mapping[str, object] | None = None
    amr: tuple[str, ...] = ()
    acr: str = ""
    key_thumbprint: str = ""
    certificate_thumbprint: str = ""
    offline: bool = False
