"""The cached store: records that verify may trust, under the revocation promise of DESIGN §5.

The view is *fresh* while every event was applied up to the head that the database vouched for within the last ``L``
(0.9 s, monotonic), and no process of this machine has rung the doorbell for a later one. Only a fresh view answers from
the cache; otherwise it catches up first: at once on engines that allow it, else by way of the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from ..core.clients import Client, ClientRecord, client_record
from ..core.errors import NotFound, StoreError, Unavailable
from ..core.records import Api, KeyRecord, Plan, Project, State
from ..core.routes import Route
from ..core.signing_keys import SigningKey
from ..core.tokens import AccessToken, TokenRecord
from ..core.upstream_secrets import UpstreamSecret
from ..ports import Event, ImmediateStore, NotReady, Query, Store
from .doorbell import Doorbell, LocalDoorbell
from .generations import Cacheable, RecordCache
from .live_events import RecentEvents

log = logging.getLogger(__name__)

MAX_REMEMBERED_EVENTS: Final = 20_000
MAX_NEGATIVES: Final = 20_000
NEGATIVE_LIFETIME_NS: Final = 1_000_000_000
EVENTS_PAGE: Final = 1000
MAX_CATCH_UPS: Final = 20
_CATALOGUE_EVENTS: Final = ("api.", "plan.", "foreign.", "signing_key.", "route.", "upstream_secret.")

T = TypeVar("T")


class CachedRecords:
    """Implements ``ports.Records`` around any store. ``immediate`` is the same store, if it can answer at once."""

    def __init__(
        self,
        store: Store,
        immediate: ImmediateStore | None,
        *,
        lifetime: float = 0.9,
        poll_interval: float = 0.2,
        entries: int = 100_000,
        doorbell: Doorbell | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._store = store
        self._immediate = immediate
        self._lifetime_ns = int(lifetime * 1_000_000_000)
        self._poll_interval = poll_interval
        self._doorbell: Doorbell = doorbell or LocalDoorbell()
        self._rung = self._doorbell.head
        self._monotonic_ns = monotonic_ns
        self._cache: RecordCache[KeyRecord] = RecordCache(entries)
        self._tokens: RecordCache[TokenRecord] = RecordCache(entries)
        self._clients: RecordCache[ClientRecord] = RecordCache(entries)
        self._applied = 0
        self.live = RecentEvents(self._vouched_at)
        self._view = 0
        self._fresh_until = 0
        self._last_event: dict[str, int] = {}
        self._forgotten_before = 0
        self._negatives: dict[str, int] = {}
        self._apis: dict[str, Api] = {}
        self._plans: dict[str, Plan] = {}
        self._schemes: frozenset[str] = frozenset()
        self._signing_keys: tuple[SigningKey, ...] = ()
        self._routes: tuple[Route, ...] = ()
        self._upstream_secrets: Mapping[str, UpstreamSecret] = {}
        self._catalogue_version = 1
        self._catalogue_read = 0
        self._one_reader = asyncio.Lock()
        self._catching_up: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None

    # Life.

    async def start(self) -> None:
        """Read the catalogue and begin to follow the event log."""
        await self.refresh()
        self._follower = asyncio.create_task(self._follow(), name="keybearer-event-follower")

    async def stop(self) -> None:
        """Stop following. What is cached is no longer trusted once it is older than ``L``."""
        self.live.close()
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower

    async def _follow(self) -> None:
        reachable = True
        while True:
            await asyncio.sleep(self._poll_interval)
            try:
                # Not wait_for: before Python 3.12 it can swallow a cancellation, and stop() would wait for ever.
                async with asyncio.timeout(2.0):
                    await self._catch_up()
            except (StoreError, TimeoutError) as error:
                if reachable:  # said once, not five times a second
                    log.warning("event log cannot be read; cached records expire", extra={"error": str(error)})
                reachable = False
            else:
                if not reachable:
                    log.info("event log can be read again")
                reachable = True
                self.live.wake()

    # Reading.

    def find_now(self, key_id: str) -> KeyRecord | None:
        """Return a fresh record, or ``None`` when there is none; raises ``NotReady`` if that takes a slower read."""
        if self._monotonic_ns() >= self._fresh_until or self._rung() > self._applied:
            self._catch_up_now()
        record = self._cache.get(key_id)
        if record is not None:
            return record
        if self._is_known_missing(key_id):
            return None
        if self._immediate is None:
            raise NotReady
        return self._keep(key_id, self._immediate.find_now(key_id))

    def find_foreign_now(self, lookups: Sequence[str]) -> KeyRecord | None:
        """Like ``find_now``, for imported keys."""
        if not self._is_fresh():
            self._catch_up_now()
        for lookup in lookups:
            record = self._cache.get(lookup)
            if record is not None:
                return record
            if not self._is_known_missing(lookup):
                break  # the store may have it, and then it comes before those behind
        else:
            return None
        if self._immediate is None:
            raise NotReady
        return self._keep_foreign(lookups, self._immediate.find_foreign_now(lookups))

    async def find(self, key_id: str) -> KeyRecord | None:
        """Return the record from the cache while it is fresh, else as the store has it now."""
        try:
            return self.find_now(key_id)
        except NotReady:
            # The read is its own proof of freshness: its snapshot begins after this request came in.
            await self.refresh()
            return self._cache.get(key_id) or self._keep(key_id, await self._store.find(key_id))

    async def find_foreign(self, lookups: Sequence[str]) -> KeyRecord | None:
        """Like ``find``, for imported keys."""
        try:
            return self.find_foreign_now(lookups)
        except NotReady:
            await self.refresh()
            return self._keep_foreign(lookups, await self._store.find_foreign(lookups))

    def find_token_now(self, token_id: str, claimed: AccessToken | None = None) -> TokenRecord | None:
        """Like ``find_now``, for access tokens."""
        if self._monotonic_ns() >= self._fresh_until or self._rung() > self._applied:
            self._catch_up_now()
        record = self._cached_token(token_id, claimed)
        if record is not None:
            return record
        if claimed is None and self._is_known_missing(token_id):
            return None
        if self._immediate is None:
            raise NotReady
        return self._keep_token(token_id, claimed, self._immediate.find_token_now(token_id, claimed))

    async def find_token(self, token_id: str, claimed: AccessToken | None = None) -> TokenRecord | None:
        """Like ``find``, for access tokens."""
        try:
            return self.find_token_now(token_id, claimed)
        except NotReady:
            await self.refresh()
            return self._cached_token(token_id, claimed) or self._keep_token(
                token_id, claimed, await self._store.find_token(token_id, claimed)
            )

    def find_client_now(self, record_id: str) -> ClientRecord | None:
        """Like ``find_now``, for clients. That there is none is not remembered: nothing tells guesses from names."""
        if self._monotonic_ns() >= self._fresh_until or self._rung() > self._applied:
            self._catch_up_now()
        record = self._clients.get(record_id)
        if record is not None:
            return record
        immediate = self._immediate
        if immediate is None:
            raise NotReady
        # The head is read first, so that everything is at least as new as the record says.
        head = immediate.head_now()
        try:
            client = immediate.get_now(Client, record_id)
            return self._keep_client(client_record(head, client, immediate.get_now(Project, client.project_id)))
        except NotFound:
            return None

    async def find_client(self, record_id: str) -> ClientRecord | None:
        """Like ``find``, for clients."""
        try:
            return self.find_client_now(record_id)
        except NotReady:
            await self.refresh()
        known = self._clients.get(record_id)
        if known is not None:
            return known
        head = await self._store.head()
        try:
            client = await self._store.get(Client, record_id)
            project = await self._store.get(Project, client.project_id)
        except NotFound:
            return None
        return self._keep_client(client_record(head, client, project))

    @property
    def foreign_schemes(self) -> frozenset[str]:
        """How imported keys are looked up; raises ``NotReady`` while the catalogue is not fresh."""
        if not self._is_fresh():
            self._catch_up_now()
        return self._schemes

    def api(self, identifier: str) -> Api | None:
        """Return an API by id or identifier; raises ``NotReady`` while the catalogue is not fresh."""
        if not self._is_fresh():
            self._catch_up_now()
        return self._apis.get(identifier)

    def signing_keys(self) -> tuple[SigningKey, ...]:
        """Return all signing keys; raises ``NotReady`` while the catalogue is not fresh."""
        if not self._is_fresh():
            self._catch_up_now()
        return self._signing_keys

    def routes(self) -> tuple[Route, ...]:
        """Return all routes; raises ``NotReady`` while the catalogue is not fresh."""
        if not self._is_fresh():
            self._catch_up_now()
        return self._routes

    def upstream_secrets(self) -> Mapping[str, UpstreamSecret]:
        """Return all upstream secrets by name; raises ``NotReady`` while the catalogue is not fresh."""
        if not self._is_fresh():
            self._catch_up_now()
        return self._upstream_secrets

    def default_plan(self, api: Api) -> Plan | None:
        """Return the plan that serves projects without one at this API."""
        return None if api.default_plan_id is None else self._plans.get(api.default_plan_id)

    # Freshness.

    def view_now(self) -> int:
        """Return the number of the fresh view, which changes with every event and with a catalogue that is read anew.

        Unlike ``applied`` it never comes back, not even where the database is put back to an older copy.
        """
        if self._monotonic_ns() >= self._fresh_until or self._rung() > self._applied:
            self._catch_up_now()
        return self._view

    def applied_now(self) -> int:
        """Return the newest event that the fresh view has seen; raises ``NotReady`` like ``view_now``."""
        if not self._is_fresh():
            self._catch_up_now()
        return self._applied

    @property
    def is_fresh(self) -> bool:
        """Whether the cache may be trusted at this moment."""
        return self._is_fresh()

    @property
    def applied(self) -> int:
        """The newest event that this view has seen."""
        return self._applied

    def __len__(self) -> int:
        return len(self._cache) + len(self._tokens) + len(self._clients)

    def _is_fresh(self) -> bool:
        return self._monotonic_ns() < self._fresh_until and self._rung() <= self._applied

    def _vouched_at(self) -> int | None:
        return self._fresh_until - self._lifetime_ns if self._is_fresh() else None

    async def refresh(self) -> None:
        """Bring the view up to the head of the event log; raises ``Unavailable`` when the database does not answer."""
        if self._is_fresh():
            return
        # Where the log can be read at once there is nothing to wait for, however fast it grows meanwhile.
        with contextlib.suppress(NotReady):
            self._catch_up_now()
            return
        for _ in range(MAX_CATCH_UPS):
            if self._is_fresh():
                return
            if self._catching_up is None or self._catching_up.done():
                self._catching_up = asyncio.create_task(self._catch_up())
                self._catching_up.add_done_callback(_look_at)
            try:
                # Shielded and shared: a thousand waiting requests make one read, and one that gives up stops nobody.
                await asyncio.wait_for(asyncio.shield(self._catching_up), timeout=2.0)
            except TimeoutError as error:
                raise Unavailable("The database does not answer.") from error
        raise Unavailable("The event log grows faster than this process can follow.")

    def _catch_up_now(self) -> None:
        if self._immediate is None or self._catalogue_is_stale:
            raise NotReady
        while True:
            asked_at = self._monotonic_ns()
            events = self._immediate.events_now(self._applied, EVENTS_PAGE)
            self._apply(events, self._immediate.head_now if not events else None)
            if self._catalogue_is_stale:
                raise NotReady
            if len(events) < EVENTS_PAGE:
                self._fresh_until = asked_at + self._lifetime_ns
                return

    async def _catch_up(self) -> None:
        async with self._one_reader:
            while True:
                asked_at = self._monotonic_ns()
                events = await self._store.events(self._applied, EVENTS_PAGE)
                self._apply(events, None)
                if not events:
                    self._notice_going_back(await self._store.head())
                if self._catalogue_is_stale:
                    await self._read_catalogue()
                elif len(events) < EVENTS_PAGE:
                    self._fresh_until = max(self._fresh_until, asked_at + self._lifetime_ns)
                    return

    def _apply(self, events: Sequence[Event], head: Callable[[], int] | None) -> None:
        if head is not None:
            self._notice_going_back(head())
        for event in events:
            if event.seq <= self._applied:
                continue
            if event.seq != self._applied + 1:
                self._start_over(event.seq - 1)
            self._applied = event.seq
            self.live.append(event)
            self._view += 1
            self._last_event[event.subject] = event.seq
            self._negatives.pop(event.subject, None)
            self._cache.drop(event.subject, event.seq)
            self._tokens.drop(event.subject, event.seq)
            self._clients.drop(event.subject, event.seq)
            if event.type.startswith(_CATALOGUE_EVENTS):
                self._catalogue_version += 1
            if event.type.startswith(("key.create", "key.import", "key.undelete", "foreign.")):
                self._negatives.clear()
        if events:
            self.live.wake()
        if self._catalogue_is_stale:
            # All events are applied, but the APIs and plans at hand are older: the view must not pass for fresh.
            self._fresh_until = 0
        if len(self._last_event) > MAX_REMEMBERED_EVENTS:
            self._forget_old_events()

    def _notice_going_back(self, head: int) -> None:
        # The log is shorter than what was applied: the database was put back to an older copy.
        if head < self._applied:
            self._start_over(head)

    def _start_over(self, applied: int) -> None:
        self._cache.clear()
        self._tokens.clear()
        self._clients.clear()
        self._negatives.clear()
        self._last_event.clear()
        self._forgotten_before = applied
        self._applied = applied
        self.live.start_over(applied)
        self._view += 1
        self._catalogue_version += 1
        self._fresh_until = 0

    def _forget_old_events(self) -> None:
        newest = sorted(self._last_event.items(), key=lambda item: item[1])
        dropped = newest[: len(newest) // 2]
        self._forgotten_before = max(self._forgotten_before, dropped[-1][1])
        self._last_event = dict(newest[len(newest) // 2 :])

    # Filling.

    def _keep(self, cache_key: str, record: KeyRecord | None) -> KeyRecord | None:
        if record is None:
            self._note_missing(cache_key)
        elif self._may_keep(record):
            self._cache.put(cache_key, record)
        return record

    def _keep_foreign(self, lookups: Sequence[str], record: KeyRecord | None) -> KeyRecord | None:
        if record is None:
            for lookup in lookups:
                self._note_missing(lookup)
        elif record.key.foreign_lookup is not None and self._may_keep(record):
            self._cache.put(record.key.foreign_lookup, record)
            # The store prefers the first, so it has none of those before.
            for lookup in itertools.takewhile(record.key.foreign_lookup.__ne__, lookups):
                self._note_missing(lookup)
        return record

    def _cached_token(self, token_id: str, claimed: AccessToken | None) -> TokenRecord | None:
        """Return what is cached for a token, unless it was read for a token of another kind or with other claims."""
        record = self._tokens.get(token_id)
        if record is None or (not record.token.digest if claimed is None else record.token != claimed):
            return None
        return record

    def _keep_token(self, token_id: str, claimed: AccessToken | None, record: TokenRecord | None) -> TokenRecord | None:
        if record is None:
            # Not for a JWT: whoever knows its id could bring that as an opaque token, and have the JWT refused.
            if claimed is None:
                self._note_missing(token_id)
        elif self._may_keep(record):
            self._tokens.put(token_id, record)
        return record

    def _keep_client(self, record: ClientRecord) -> ClientRecord:
        if self._may_keep(record):
            self._clients.put(record.client.id, record)
        return record

    def _may_keep(self, record: Cacheable) -> bool:
        """Refuse a fill that is older than an event already applied for what it depends on (the stale-fill race)."""
        if record.seq < self._forgotten_before:
            return False
        last = self._last_event
        return all(last.get(record_id, 0) <= record.seq for record_id in record.depends_on)

    def _note_missing(self, cache_key: str) -> None:
        if len(self._negatives) >= MAX_NEGATIVES:
            self._negatives.clear()
        self._negatives[cache_key] = self._monotonic_ns() + NEGATIVE_LIFETIME_NS

    def _is_known_missing(self, cache_key: str) -> bool:
        until = self._negatives.get(cache_key)
        return until is not None and self._monotonic_ns() < until

    @property
    def _catalogue_is_stale(self) -> bool:
        return self._catalogue_read != self._catalogue_version

    async def _read_catalogue(self) -> None:
        # An event that comes in while this reads raises the version, and the catalogue is read again.
        version = self._catalogue_version
        apis = [api for api in await self._all(Api) if api.state is not State.DELETED]
        plans = await self._all(Plan)
        self._schemes = await self._store.foreign_schemes()
        self._apis = {name: api for api in apis for name in (api.id, api.identifier)}
        self._plans = {plan.id: plan for plan in plans}
        self._signing_keys = tuple(await self._all(SigningKey))
        self._routes = tuple(await self._all(Route))
        self._upstream_secrets = {secret.name: secret for secret in await self._all(UpstreamSecret)}
        self._catalogue_read = version
        self._view += 1

    async def _all(self, kind: type[T]) -> list[T]:
        found: list[T] = []
        after = None
        while True:
            page = await self._store.page(kind, Query(after=after, limit=200))  # type: ignore[type-var]
            found.extend(page)
            if len(page) < 200:
                return found
            after = page[-1].id  # type: ignore[attr-defined]


def _look_at(catching_up: asyncio.Task[None]) -> None:
    """Take note of a failure that nobody waits for any more, or asyncio would log it as forgotten."""
    if not catching_up.cancelled():
        catching_up.exception()
