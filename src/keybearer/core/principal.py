"""What a successful verify returns: who calls, and with what leave.

Named tuples rather than frozen dataclasses: one of each is made per request, at a third of the price.
"""

from __future__ import annotations

from typing import NamedTuple

from .quota import LimitState
from .records import CredentialKind, CredentialRecord, Environment, KeyRecord
from .tokens import TokenRecord


class Principal(NamedTuple):
    """A verified caller. Only ``decide`` and ``decide_token`` make one, so holding one proves that every check ran.

    ``record`` is a ``KeyRecord`` or a ``TokenRecord``; ``version`` is of a key's secret, 0 for a token.
    """

    record: CredentialRecord
    version: int

    @property
    def credential_id(self) -> str:
        """The public, log-safe id of the credential."""
        return self.record.id

    @property
    def actor(self) -> str:
        """Who the logs say acts: the user or client of a token, else the key."""
        record = self.record
        return record.token.user_id or record.client.id if isinstance(record, TokenRecord) else record.id

    @property
    def project_id(self) -> str:
        """The project that calls."""
        return self.record.project.id

    @property
    def kind(self) -> CredentialKind:
        """Which kind of credential was presented."""
        return self.record.kind

    @property
    def environment(self) -> Environment:
        """Live or test; a token is what the key is that it comes from, else live."""
        record = self.record
        if isinstance(record, KeyRecord):
            return record.key.environment
        return record.environment if isinstance(record, TokenRecord) else Environment.LIVE

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
