"""``private_key_jwt``: an assertion signed with a key that the client registered. Spec: OIDC Core §9, RFC 7523 §2.2."""

from __future__ import annotations

from typing import Final

from ..core.clients import Client, ClientAuthMethod
from ..formats.assertion import unverified, verified
from ..formats.jws import ASYMMETRIC
from .means import Means
from .presented import Presented


class PrivateKeyJwt:
    """The method."""

    method: Final = ClientAuthMethod.PRIVATE_KEY_JWT

    def is_used(self, presented: Presented) -> bool:
        """Tell whether there is an assertion."""
        return bool(presented.assertion)

    async def proves(self, presented: Presented, client: Client, means: Means) -> bool:
        """Verify the assertion under the client's keys, which are fetched again when none fits."""
        found = unverified(presented.assertion)
        wanted = client.token_endpoint_auth_signing_alg
        allowed = frozenset({wanted}) & ASYMMETRIC if wanted else ASYMMETRIC
        if found is None or found.unverified_header["alg"] not in allowed:
            return False
        claims = None
        for afresh in (False, True):
            claims = verified(found, await means.keys_of(client, afresh), allowed)
            if claims is not None or not client.jwks_uri:
                break
        return await means.accept(claims, client)


METHOD: Final = PrivateKeyJwt()
