"""Clients with what stands around them, read once and known until any event comes.

The view of the event log says for how long that is, so that a client that was disabled, or lost a secret, is refused
within the promise of DESIGN §5: on this node at the next request, on all others within a second.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..core.clients import Client
from ..core.errors import NotFound
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
        self._authority = authority
        self._view = -1
        self._known: dict[str, KnownClient] = {}

    async def find(self, client_id: str) -> KnownClient | None:
        """Return a client whatever its state, ``None`` when there is none, or its project is not enabled."""
        view = await self._fresh_view()
        if view is None or view != self._view or len(self._known) >= MAX_KNOWN:
            self._known.clear()
            self._view = -1 if view is None else view
        known = self._known.get(client_id)
        if known is None:
            # Read after the view was taken, and kept only for as long as that very view lasts.
            known = await self._read(client_id)
            if known is not None and view is not None and view == self._view:
                self._known[client_id] = known
        return known

    async def _fresh_view(self) -> int | None:
        records = self._authority.records
        try:
            return records.view_now()
        except NotReady:
            await records.refresh()
        try:
            return records.view_now()
        except NotReady:  # the log grows faster than it can be looked at
            return None

    async def _read(self, client_id: str) -> KnownClient | None:
        store = self._authority.store
        try:
            client = await store.get(Client, client_id)
            project = await store.get(Project, client.project_id)
        except NotFound:
            return None
        return (
            None if project.state is not State.ENABLED else KnownClient(client, project, await self._apis_of(project))
        )

    async def _apis_of(self, project: Project) -> tuple[Api, ...]:
        records = self._authority.records
        while True:
            try:
                found = [records.api(api_id) for api_id in project.enabled_apis]
            except NotReady:
                await records.refresh()
            else:
                return tuple(api for api in found if api is not None and is_target(api))
