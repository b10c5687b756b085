"""Userinfo: what an access token may learn of its user, plain or signed. Spec: OIDC Core §5.3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.oauth_error import InsufficientScope
from ..core.principal import Principal
from ..core.tokens import TokenRecord
from .authority import Authority
from .claims import claims_about
from .subjects import subject_for


async def userinfo(authority: Authority, principal: Principal) -> dict[str, Any]:
    """Return the claims for a verified access token; raises ``InsufficientScope`` without ``openid`` or a user."""
    record = principal.record
    if not isinstance(record, TokenRecord) or record.user is None or "openid" not in record.scopes:
        raise InsufficientScope("This needs an access token of a user with the scope openid.")
    return {
        **claims_about(record.user, record.scopes, _requested(record)),
        "sub": subject_for(authority.keyring, record.user, record.client),
    }


async def signed_userinfo(authority: Authority, principal: Principal, claims: Mapping[str, Any]) -> str | None:
    """Return the claims as a signed JWT for a client that registered an algorithm for it, else ``None``."""
    record = principal.record
    if not isinstance(record, TokenRecord) or not record.client.userinfo_signed_response_alg:
        return None
    payload = {**claims, "iss": authority.settings.issuer_url, "aud": record.client.client_id}
    return await authority.signing_keys.sign(payload, typ="JWT", algorithm=record.client.userinfo_signed_response_alg)


def _requested(record: TokenRecord) -> Mapping[str, object] | None:
    asked = record.token.requested_claims
    return asked if asked else None
