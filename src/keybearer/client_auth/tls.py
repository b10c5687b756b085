"""``tls_client_auth``: a certificate that an authority of ours vouches for, with the name that the client registered.

Spec: RFC 8705 §2.1.
"""

from __future__ import annotations

from typing import Final

from ..core.clients import Client, ClientAuthMethod
from .certificate import is_vouched_for, names_client
from .means import Means
from .presented import Presented


class Tls:
    """The method."""

    method: Final = ClientAuthMethod.TLS

    def is_used(self, presented: Presented) -> bool:
        """Tell whether there is a certificate, and no other proof."""
        return presented.certificate is not None and not presented.has_proof

    async def proves(self, presented: Presented, client: Client, means: Means) -> bool:
        """Look for the registered name in a certificate that is vouched for."""
        certificate = presented.certificate
        return (
            certificate is not None
            and names_client(certificate, client)
            and is_vouched_for(certificate, means.authorities, means.now)
        )


METHOD: Final = Tls()
