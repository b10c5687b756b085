"""``none``: a public client says its name and proves nothing. Spec: RFC 6749 §2.1 and §3.2.1."""

from __future__ import annotations

from typing import Final

from ..core.clients import Client, ClientAuthMethod
from .means import Means
from .presented import Presented


class NoProof:
    """The method."""

    method: Final = ClientAuthMethod.NONE

    def is_used(self, presented: Presented) -> bool:
        """Tell whether the request proves nothing."""
        return not presented.has_proof

    async def proves(self, presented: Presented, client: Client, means: Means) -> bool:
        """Ask for nothing: what a public client gets is bound by PKCE, redirect URI, and rotation."""
        return True


METHOD: Final = NoProof()
