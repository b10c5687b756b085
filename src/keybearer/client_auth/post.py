"""``client_secret_post``: the secret in the form. Spec: RFC 6749 §2.3.1."""

from __future__ import annotations

from typing import Final

from ..core.clients import Client, ClientAuthMethod
from .client_secret import matches
from .means import Means
from .presented import Presented


class Post:
    """The method."""

    method: Final = ClientAuthMethod.POST

    def is_used(self, presented: Presented) -> bool:
        """Tell whether the form has a secret."""
        return bool(presented.form.get("client_secret"))

    async def proves(self, presented: Presented, client: Client, means: Means) -> bool:
        """Compare the secret of the form."""
        return matches(client, presented.form.get("client_secret"), means.keyring, means.now)


METHOD: Final = Post()
