"""``client_secret_basic``: the secret in the ``Authorization`` header. Spec: RFC 6749 §2.3.1."""

from __future__ import annotations

from typing import Final

from ..core.clients import Client, ClientAuthMethod
from .client_secret import matches
from .means import Means
from .presented import Presented


class Basic:
    """The method."""

    method: Final = ClientAuthMethod.BASIC

    def is_used(self, presented: Presented) -> bool:
        """Tell whether there is such a header."""
        return presented.basic is not None

    async def proves(self, presented: Presented, client: Client, means: Means) -> bool:
        """Compare the secret of the header."""
        basic = presented.basic
        return basic is not None and matches(client, basic.client_secret, means.keyring, means.now)


METHOD: Final = Basic()
