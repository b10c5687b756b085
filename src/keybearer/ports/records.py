"""The records that verify may trust now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..core.clients import ClientRecord
from ..core.records import Api, KeyRecord, Plan
from ..core.routes import Route
from ..core.signing_keys import SigningKey
from ..core.tokens import AccessToken, TokenRecord
from ..core.upstream_secrets import UpstreamSecret


class NotReady(Exception):
    """The answer cannot be given at once: a read from the network, or a durable write, must come first."""


class Records(Protocol):
    """The verify path's view of the store: records that may be trusted now (see ``stores/cached.py``)."""

    def find_now(self, key_id: str) -> KeyRecord | None:
        """Return a fresh record or ``None``; raises ``NotReady`` when that takes I/O that may block."""
        ...

    def find_foreign_now(self, lookups: Sequence[str]) -> KeyRecord | None:
        """Like ``find_now``, by lookups of imported keys."""
        ...

    async def find(self, key_id: str) -> KeyRecord | None:
        """Return the record, from the cache while it is fresh, else from the store."""
        ...

    async def find_foreign(self, lookups: Sequence[str]) -> KeyRecord | None:
        """Like ``find``, by lookups of imported keys."""
        ...

    def find_token_now(self, token_id: str, claimed: AccessToken | None = None) -> TokenRecord | None:
        """Return a fresh access token, like ``find_now``; ``claimed`` as in ``Store.find_token``."""
        ...

    async def find_token(self, token_id: str, claimed: AccessToken | None = None) -> TokenRecord | None:
        """Return an access token, from the cache while it is fresh, else from the store."""
        ...

    def find_client_now(self, record_id: str) -> ClientRecord | None:
        """Return a fresh client with its project by the id of its record, like ``find_now``."""
        ...

    async def find_client(self, record_id: str) -> ClientRecord | None:
        """Return a client with its project, from the cache while it is fresh, else from the store."""
        ...

    async def refresh(self) -> None:
        """Bring the view up to the head of the event log; raises ``Unavailable`` when the database does not answer."""
        ...

    @property
    def foreign_schemes(self) -> frozenset[str]:
        """How imported keys are looked up; empty means that a foreign credential is refused without I/O.

        Raises ``NotReady`` while the catalogue is not fresh.
        """
        ...

    def api(self, identifier: str) -> Api | None:
        """Return an API by its id or identifier, from the catalogue that the event log keeps fresh.

        Raises ``NotReady`` while the catalogue is not fresh.
        """
        ...

    def signing_keys(self) -> tuple[SigningKey, ...]:
        """Return all signing keys, from the catalogue that the event log keeps fresh, in order of id.

        Raises ``NotReady`` while the catalogue is not fresh.
        """
        ...

    def routes(self) -> tuple[Route, ...]:
        """Return all routes of the gateway, from the catalogue that the event log keeps fresh.

        It is the same object while the catalogue is the same. Raises ``NotReady`` while that is not fresh.
        """
        ...

    def upstream_secrets(self) -> Mapping[str, UpstreamSecret]:
        """Return the secrets that upstreams are shown, by name, like ``routes``."""
        ...

    def default_plan(self, api: Api) -> Plan | None:
        """Return the plan that serves projects without one at this API."""
        ...

    def applied_now(self) -> int:
        """Return the newest event that the fresh view has seen; raises ``NotReady`` like ``view_now``."""
        ...

    def view_now(self) -> int:
        """Return the number of the fresh view, which no other view has: while it is the same, no event has come.

        Raises ``NotReady`` when becoming fresh takes I/O that may block.
        """
        ...
