"""The observer: who hears every outcome of verify."""

from __future__ import annotations

from typing import Protocol

from ..core.errors import Rejected
from ..core.instant import Instant
from ..core.principal import Principal
from ..core.records import KeyRecord, SecretVersion
from ..core.requirement import Requirement
from ..core.standing import Standing


class Observer(Protocol):
    """Hears every outcome of verify, in memory; it must neither wait nor raise."""

    def verified(self, principal: Principal, requirement: Requirement, now: Instant) -> None:
        """A credential was accepted."""
        ...

    def verified_again(self, standing: Standing, now: Instant) -> None:
        """A credential was accepted because what was found out about it still stands, and so was its ``asker``."""
        ...

    def issued(self, project_id: str, client_id: str, api_id: str, now: Instant) -> None:
        """A token was issued to a client."""
        ...

    def outdated(self, record: KeyRecord, version: SecretVersion, digest: bytes) -> None:
        """An accepted secret is stored under an old pepper or a foreign hash; ``digest`` is what should be stored."""
        ...

    def rejected(self, rejection: Rejected, attempted_id: str, requirement: Requirement, now: Instant) -> None:
        """A credential was refused. ``attempted_id`` is the public id it claimed, empty if it had none."""
        ...
