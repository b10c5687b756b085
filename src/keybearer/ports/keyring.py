"""The keyring: secrets that live outside the database."""

from __future__ import annotations

from typing import Protocol


class Keyring(Protocol):
    """Keys that live outside the database: peppers, and keys for sealing, cursors and the audit chain."""

    @property
    def active_pepper_id(self) -> str:
        """The pepper for new digests."""
        ...

    @property
    def pepper_ids(self) -> tuple[str, ...]:
        """Every pepper that may still be in use, the active one first."""
        ...

    def digest(self, pepper_id: str, text: str) -> bytes:
        """Return HMAC-SHA-256 of the text under a pepper; raises ``ConfigurationError`` for an unknown one."""
        ...

    def derived(self, purpose: str) -> bytes:
        """Return a 32-byte key for one purpose (``audit``, ``cursor``, ``seal``), stable over restarts."""
        ...

    def import_secret(self, name: str) -> bytes | None:
        """Return the HMAC secret under which another system made its hashes, or ``None``."""
        ...

    @property
    def import_secret_names(self) -> tuple[str, ...]:
        """The names of all such secrets."""
        ...
