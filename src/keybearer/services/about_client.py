"""What a client says about itself on the pages: its links and its logo.

Nobody vouches for any of it. A logo comes from the client's own server, so it is shown only over https, the page takes
pictures of that one origin besides ours, and the browser sends no referrer. Spec: OIDC Registration §2, RFC 7591 §5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ..core.clients import Client, ClientOrigin

_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class AboutClient:
    """A client as its user is shown it."""

    client: Client

    @property
    def name(self) -> str:
        """Its name."""
        return self.client.name

    @property
    def is_unknown(self) -> bool:
        """Whether the client named itself, so that nobody here vouches for its name."""
        return self.client.origin is not ClientOrigin.MANAGED

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """What the client says about itself elsewhere, as labels and web addresses."""
        client = self.client
        named = (("site", client.client_uri), ("privacy", client.policy_uri), ("terms", client.tos_uri))
        return tuple((label, uri) for label, uri in named if uri.startswith(("https://", "http://")))

    @property
    def logo(self) -> str:
        """The address of its logo, empty without one that may be shown."""
        return self.client.logo_uri if self.logo_sources else ""

    @property
    def logo_sources(self) -> list[str]:
        """The origin of its logo as a CSP source, if there is one that may be shown."""
        parts = urlsplit(self.client.logo_uri)
        is_shown = parts.scheme == "https" and _HOST.fullmatch(parts.netloc) is not None
        return [f"https://{parts.netloc}"] if is_shown else []
