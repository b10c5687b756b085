"""``client_secret_jwt``: an assertion under the client secret itself, which is therefore kept sealed.

Spec: OIDC Core §9, RFC 7523 §2.2.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Final

from ..core.clients import Client, ClientAuthMethod
from ..formats import jws
from ..formats.assertion import unverified
from ..formats.jws import HMACS, InvalidJws
from .client_secret import living
from .means import Means
from .presented import Presented


class ClientSecretJwt:
    """The method."""

    method: Final = ClientAuthMethod.SECRET_JWT

    def is_used(self, presented: Presented) -> bool:
        """Tell whether there is an assertion."""
        return bool(presented.assertion)

    async def proves(self, presented: Presented, client: Client, means: Means) -> bool:
        """Verify the assertion under each secret that is good now."""
        found = unverified(presented.assertion)
        wanted = client.token_endpoint_auth_signing_alg
        allowed = frozenset({wanted}) & HMACS if wanted else HMACS
        if found is None:
            return False
        claims = None
        for secret in living(client, means.now):
            if not secret.sealed:
                continue
            text = means.open_secret(client, secret.sealed)
            key = {"kty": "oct", "k": urlsafe_b64encode(text.encode()).rstrip(b"=").decode()}
            try:
                claims = jws.verify(found, key, allowed)
                break
            except InvalidJws:
                continue
        return await means.accept(claims, client)


METHOD: Final = ClientSecretJwt()
