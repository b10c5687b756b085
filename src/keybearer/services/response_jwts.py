"""Authorization responses as signed JWTs, which nobody on the way can change or swap. Spec: JARM §2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..core.clients import Client
from ..core.instant import MINUTE, SECOND
from .authority import Authority

LIFETIME_IN: Final = 10 * MINUTE


async def response_jwt(authority: Authority, client: Client, parameters: Mapping[str, str]) -> str:
    """Return the ``response`` parameter that carries these parameters. Spec: JARM §2.1 and §2.2."""
    claims: dict[str, Any] = {
        **parameters,
        "iss": authority.settings.issuer_url,
        "aud": client.client_id,
        "exp": (authority.clock.now() + LIFETIME_IN) // SECOND,
    }
    return await authority.signing_keys.sign(claims, typ="JWT", algorithm=client.authorization_signed_response_alg)
