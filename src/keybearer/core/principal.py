"""What a successful verify returns: who calls, and with what leave.

Named tuples rather than frozen dataclasses: one of each is made per request, at a third of the price.
"""

from __future__ import annotations

from typing import NamedTuple

from .quota import LimitState
from .records import CredentialKind, Environment, KeyRecord


class Principal(NamedTuple):
    """A verified caller. Only ``decide`` makes one, so holding one proves that every check ran."""

    record: KeyRecord
    version: int

    @property
    def credential_id(self) -> str:
        """The public, log-safe id of the credential."""
        return self.record.key.id

    @property
    def project_id(self) -> str:
        """The project that calls."""
        return self.record.project.id

    @property
    def kind(self) -> CredentialKind:
        """Which kind of credential was presented."""
        return self.record.key.kind

    @property
    def environment(self) -> Environment:
        """Live or test."""
        return self.record.key.environment

    @property
    def permissions(self) -> frozenset[str]:
        """The permissions held, wildcards unexpanded."""
        return self.record.permissions


class Verified(NamedTuple):
    """A principal together with what the request took: the state of each limit, and credits left if any are kept."""

    principal: Principal
    limits: tuple[LimitState, ...] = ()
    credits_remaining: int | None = None
    replayed: bool = False
