"""What the application must be told: where it is, where Keybearer is, and as whom it speaks to it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

API: str = "https://qa.example/api"
"""What tokens for this API are for (their audience). It is a name, and need not be where the API is."""


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration; the two secrets are in no ``repr``."""

    url: str
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    service_key: str = field(repr=False)
    """A key of Keybearer itself that may verify credentials, and nothing else."""

    @property
    def is_secure(self) -> bool:
        """Tell whether browsers come by https: then cookies are ``__Host-`` cookies, and never leave it."""
        return urlsplit(self.url).scheme == "https"

    @property
    def redirect_uri(self) -> str:
        """Where Keybearer sends people back to."""
        return f"{self.url}/signed-in"

    def save(self, path: Path) -> None:
        """Write it where only its owner reads it."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        return cls(**json.loads(path.read_text()))
