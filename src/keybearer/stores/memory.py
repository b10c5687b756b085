"""The in-memory engine: for tests, and the model that the SQL engines are compared with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from ..core.artefacts import Artefact, ArtefactKind
from ..core.audit_chain import GENESIS, AuditDraft, AuditEntry, link
from ..core.errors import Conflict
from ..core.instant import DAY, Instant
from ..core.records import ApiKey, Identity, KeyRecord, Plan, Project, R, key_record
from ..core.tokens import AccessToken, TokenFamily, TokenRecord
from ..core.webhooks import Delivery, DeliveryStatus
from ..ports import (
    Charge,
    Charged,
    Clock,
    CreditBalance,
    Event,
    KeyUse,
    Query,
    RememberedResponse,
    Swept,
    UsageBatch,
    UsageQuery,
    Work,
)
from . import memory_ledger, memory_sweeping, memory_tokens, memory_usage
from .journal import check_audit_fields, settled
from .ledger import Refused
from .memory_tables import MemoryTables
from .memory_work import MemoryWork, get, page
from .session import machine_now
from .storable import require_storable
from .tables import retires_at

T = TypeVar("T")


class MemoryStore:
    """Fulfils ``ports.ImmediateStore``. A unit of work never waits, so each is alone while it runs."""

    name: Final = "memory"

    def __init__(self, audit_key: bytes, *, clock: Clock | None = None) -> None:
        self.on_commit: Callable[[int], None] | None = None
        self._audit_key = audit_key
        self._now = machine_now if clock is None else clock.now
        self._tables = MemoryTables()

    async def open(self) -> None:
        """Do nothing: it is there."""

    async def close(self) -> None:
        """Do nothing: what it holds goes with the object."""

    # Transactions

    async def transact(self, work: Work[T]) -> T:
        """Run ``work`` in one transaction."""
        unit = MemoryWork(self._tables)

        async def whole() -> T:
            result = await work(unit)
            self._append(unit.events, unit.drafts)
            return result

        before = self._tables.head
        result = self._alone(whole())
        if self._tables.head > before and self.on_commit is not None:
            self.on_commit(self._tables.head)
        return result

    def _alone(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, and take back what it did when it raises."""
        head = self._tables.head
        self._tables.begin()
        try:
            try:
                coroutine.send(None)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            coroutine.close()
            raise RuntimeError("a unit of work may wait for nothing but the store")
        except BaseException:
            self._tables.roll_back()
            self._tables.head = head
            raise

    def _append(self, events: Sequence[tuple[str, str]], drafts: Sequence[AuditDraft]) -> None:
        for event_type, subject in events:
            self._tables.head += 1
            self._tables.events[self._tables.head] = Event(self._tables.head, self._now(), event_type, subject)
        for draft in drafts:
            ready, _ = settled(draft)
            texts = (ready.actor, ready.action, ready.target, ready.outcome)
            require_storable((*texts, ready.project_id, ready.source, ready.request_id))
            seq = len(self._tables.audit) + 1
            previous = self._tables.audit[seq - 1].digest if seq > 1 else GENESIS
            self._tables.audit[seq] = AuditEntry(seq, ready, link(self._audit_key, previous, seq, ready))

    # Records

    def find_now(self, key_id: str) -> KeyRecord | None:
        """Return a key with all it depends on, and the head."""
        require_storable((key_id,), "key_id")
        key = self._tables.records[ApiKey].get(key_id)
        if key is None:
            return None
        project = self._tables.records[Project][key.project_id]
        plan_id = project.plan_id if key.plan_id is None else key.plan_id
        identity = None if key.identity_id is None else self._tables.records[Identity][key.identity_id]
        plan = None if plan_id is None else self._tables.records[Plan][plan_id]
        return key_record(self._tables.head, key, project, identity, plan)

    def find_foreign_now(self, lookups: Sequence[str]) -> KeyRecord | None:
        """Return the imported key whose lookup is one of these."""
        require_storable(lookups, "lookups")
        found = {key.foreign_lookup: key.id for key in self._tables.records[ApiKey].values() if key.foreign_lookup}
        return next((self.find_now(found[lookup]) for lookup in lookups if lookup in found), None)

    def find_token_now(self, token_id: str, claimed: AccessToken | None = None) -> TokenRecord | None:
        """Return an access token with all it depends on, and the head."""
        require_storable((token_id,), "token")
        token = self._tables.tokens.get(token_id) if claimed is None else claimed
        key = None if token is None or token.key_id is None else self.find_now(token.key_id)
        return memory_tokens.find_token(self._tables, token, key, self._tables.head)

    def get_now(self, kind: type[R], record_id: str) -> R:
        """Return a record."""
        return get(self._tables, kind, record_id)

    def head_now(self) -> int:
        """Return the sequence of the newest event."""
        return self._tables.head

    def events_now(self, after: int, limit: int = 1000) -> tuple[Event, ...]:
        """Return events in order, without gaps."""
        newer = sorted(seq for seq in self._tables.events if seq > after)
        return tuple(self._tables.events[seq] for seq in newer[:limit])

    async def find(self, key_id: str) -> KeyRecord | None:
        """Return a key with all it depends on, and the head."""
        return self.find_now(key_id)

    async def find_foreign(self, lookups: Sequence[str]) -> KeyRecord | None:
        """Return the imported key whose lookup is one of these."""
        return self.find_foreign_now(lookups)

    async def find_token(self, token_id: str, claimed: AccessToken | None = None) -> TokenRecord | None:
        """Return an access token with all it depends on, and the head."""
        return self.find_token_now(token_id, claimed)

    async def get_family(self, family_id: str) -> TokenFamily:
        """Return a family of refresh tokens."""
        return memory_tokens.get_family(self._tables, family_id)

    async def get_artefact(self, kind: ArtefactKind, artefact_id: str) -> Artefact:
        """Return an artefact."""
        return memory_tokens.get_artefact(self._tables, kind, artefact_id)

    async def head(self) -> int:
        """Return the sequence of the newest event."""
        return self.head_now()

    async def events(self, after: int, limit: int = 1000) -> tuple[Event, ...]:
        """Return events in order, without gaps."""
        return self.events_now(after, limit)

    async def get(self, kind: type[R], record_id: str) -> R:
        """Return a record."""
        return get(self._tables, kind, record_id)

    async def page(self, kind: type[R], query: Query) -> tuple[R, ...]:
        """Return records in order of id."""
        return page(self._tables, kind, query)

    async def foreign_schemes(self) -> frozenset[str]:
        """Return the ways in which imported keys are looked up."""
        return frozenset(self._tables.schemes)

    async def retiring_keys(self, limit: int) -> tuple[ApiKey, ...]:
        """Return keys that have a version on its way out, the first to run out first."""
        now = self._now()
        keys = [(retires_at(key), key.id, key) for key in self._tables.records[ApiKey].values()]
        retiring = sorted((end, key_id) for end, key_id, _ in keys if end is not None and end > now)
        return tuple(self._tables.records[ApiKey][key_id] for _, key_id in retiring[:limit])

    async def due_deliveries(self, now: Instant, limit: int) -> tuple[Delivery, ...]:
        """Return messages that wait and are due."""
        waiting = [one for one in self._tables.records[Delivery].values() if one.status is DeliveryStatus.WAITING]
        due = sorted((one for one in waiting if one.due_at <= now), key=lambda one: (one.due_at, one.id))
        return tuple(due[:limit])

    # The ledger

    async def charge(self, charge: Charge) -> Charged:
        """Take credits and quotas, all or nothing."""

        async def take() -> Charged:
            return memory_ledger.charge(self._tables, charge)

        try:
            return self._alone(take())
        except Refused as refusal:
            return refusal.charged

    async def refund(self, key_id: str, request_id: str, now: Instant) -> bool:
        """Give a charge back once."""
        return memory_ledger.refund(self._tables, key_id, request_id, now)

    async def balances(self, owners: Sequence[str]) -> tuple[CreditBalance, ...]:
        """Return the credits of those owners that have any."""
        accounts = self._tables.accounts
        return tuple(accounts[owner].as_balance(owner) for owner in sorted(set(owners)) if owner in accounts)

    async def recall(self, actor: str, idempotency_key: str) -> RememberedResponse | None:
        """Return a remembered response that is less than a day old."""
        require_storable((actor, idempotency_key))
        kept = self._tables.responses.get((actor, idempotency_key))
        return kept if kept is not None and kept.created_at > self._now() - DAY else None

    # Observation

    async def add_usage(self, batch: UsageBatch) -> None:
        """Add a flush, all or nothing."""

        async def add() -> None:
            memory_usage.add(self._tables, batch)
            self._append((), batch.audit)

        self._alone(add())

    async def usage(self, query: UsageQuery) -> tuple[Mapping[str, Any], ...]:
        """Return sums of usage."""
        return memory_usage.usage(self._tables, query)

    async def uses(self, key_ids: Sequence[str]) -> tuple[KeyUse, ...]:
        """Return the last uses of these keys."""
        asked = set(key_ids)
        return tuple(
            KeyUse(key_id, version, Instant(at))
            for (key_id, version), at in sorted(self._tables.uses.items())
            if key_id in asked
        )

    async def audit_page(
        self, after: int, limit: int, where: Mapping[str, str] | None = None, *, newest_first: bool = False
    ) -> tuple[AuditEntry, ...]:
        """Return audit entries."""
        check_audit_fields(where)
        entries = sorted(self._tables.audit.values(), key=lambda entry: entry.seq, reverse=newest_first)
        if after or not newest_first:
            entries = [entry for entry in entries if (entry.seq < after if newest_first else entry.seq > after)]
        for name, value in (where or {}).items():
            entries = [entry for entry in entries if getattr(entry.draft, name) == value]
        return tuple(entries[:limit])

    async def sweep(self, now: Instant, batch: int = 1000, tables: Collection[str] | None = None) -> Swept:
        """Remove what has expired."""
        self._tables.begin()
        return memory_sweeping.sweep(self._tables, now, batch, tables)

    # Peppers

    async def known_peppers(self) -> Mapping[str, bytes]:
        """Return the fingerprint of every pepper in use."""
        return dict(self._tables.peppers)

    async def note_pepper(self, pepper_id: str, fingerprint: bytes) -> None:
        """Remember a pepper's fingerprint; raises ``Conflict`` when another is known under this id."""
        if self._tables.peppers.setdefault(pepper_id, fingerprint) != fingerprint:
            raise Conflict(f"Another pepper is known as {pepper_id!r}.")
