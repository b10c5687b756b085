"""Clients with what stands around them, known until an event comes for one of those.

A client that was disabled, or lost a secret, is so refused within the promise of DESIGN §5: on this node at the next
request, on all others within a second.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..core.clients import Client, ClientRecord
from ..core.records import Api, Project, State
from ..core.target import is_target
from ..ports import NotReady
from .authority import Authority

MAX_KNOWN: Final = 10_000


class KnownClient(NamedTuple):
    """A client, its enabled project, and the APIs that it may have tokens for."""

    client: Client
    project: Project
    apis: tuple[Api, ...]


class KnownClients:
    """Finds clients; one object serves a process."""

    def __init__(self, authority: Authority) -> None:
        self._records = authority.records
        # With the view that the APIs are of: another API is no event of the client.
        self._known: dict[str, tuple[ClientRecord, int, KnownClient]] = {}

    def find_now(self, record_id: str) -> KnownClient | None:
        """Return a client whatever its state, ``None`` when there is none, or its project is not enabled.

        Raises ``NotReady``.
        """
        view = self._records.view_now()
        return self._joined(record_id, self._records.find_client_now(record_id), view)

    async def find(self, record_id: str) -> KnownClient | None:
        """Like ``find_now``, reading where that is needed."""
        while True:
            try:
                return self.find_now(record_id)
            except NotReady:
                record = await self._records.find_client(record_id)
            try:
                return self._joined(record_id, record, self._records.view_now())
            except NotReady:
                await self._records.refresh()

    def _joined(self, record_id: str, record: ClientRecord | None, view: int) -> KnownClient | None:
        if record is None or record.project.state is not State.ENABLED:
            return None
        known = self._known.get(record_id)
        if known is None or known[0] is not record or known[1] != view:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            found = [self._records.api(api_id) for api_id in record.project.enabled_apis]
            apis = tuple(api for api in found if api is not None and is_target(api))
            known = self._known[record_id] = (record, view, KnownClient(record.client, record.project, apis))
        return known[2]
