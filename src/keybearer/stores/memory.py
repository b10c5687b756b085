"""The in-memory engine: for tests, and the model that the SQL engines are compared with."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from ..core.audit_chain import GENESIS, AuditDraft, AuditEntry, link
from ..core.errors import Conflict, NotFound
from ..core.instant import DAY, Instant
from ..core.records import Api, ApiKey, CreditPolicy, Identity, KeyRecord, Plan, Project, State, key_record
from ..ports import (
    AnyRecord,
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
from . import memory_ledger, memory_usage
from .journal import check_audit_fields, settled
from .ledger import Refused
from .memory_tables import MemoryTables
from .session import machine_now
from .storable import require_storable
from .tables import TABLES, check_query, encode, retires_at

R = TypeVar("R", Api, Project, Plan, Identity, ApiKey)
T = TypeVar("T")

_UNIQUE: Final[Mapping[type, tuple[str, ...]]] = {
    Api: ("identifier",),
    Identity: ("project_id", "external_id"),
    ApiKey: ("foreign_lookup",),
}
_REFERENCES: Final[Mapping[str, type]] = {
    "project_id": Project,
    "identity_id": Identity,
    "plan_id": Plan,
    "default_plan_id": Plan,
}


class MemoryWork:
    """Fulfils ``ports.UnitOfWork``; what it did is taken back when the work raises."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables
        self.events: list[tuple[str, str]] = []
        self.drafts: list[AuditDraft] = []

    async def get(self, kind: type[R], record_id: str) -> R:
        """Return the record."""
        return get(self._tables, kind, record_id)

    async def page(self, kind: type[R], query: Query) -> tuple[R, ...]:
        """Return records in order of id."""
        return page(self._tables, kind, query)

    async def insert(self, record: AnyRecord) -> None:
        """Add a record."""
        table = self._tables.of(record)
        if record.id in table:
            raise Conflict(f"The {TABLES[type(record)].noun} exists already.")
        self._put(record)

    async def update(self, record: AnyRecord) -> None:
        """Replace a record."""
        before = self._tables.of(record).get(record.id)
        if before is None or before.revision != record.revision - 1:
            raise Conflict(f"The {TABLES[type(record)].noun} {record.id!r} changed meanwhile.")
        self._put(record)

    def _put(self, record: AnyRecord) -> None:
        stored: AnyRecord = TABLES[type(record)].decode(encode(record))  # no metadata is shared with the caller
        unique = _UNIQUE.get(type(record), ())
        mine = tuple(getattr(record, name) for name in unique)
        table = self._tables.of(record)
        if unique and None not in mine:
            for other in table.values():
                if other.id != record.id and tuple(getattr(other, name) for name in unique) == mine:
                    raise Conflict("The change clashes with a record that exists.")
        for name, kind in _REFERENCES.items():
            reference = getattr(record, name, None)
            if reference is not None and reference not in self._tables.records[kind]:
                raise Conflict("A record that this one refers to is missing, or others refer to it.")
        table[record.id] = stored

    async def forget(self, kind: type[R], record_id: str) -> None:
        """Remove a deleted record for good."""
        record = self._tables.records[kind].get(record_id)
        if record is None:
            return
        if record.state is not State.DELETED:
            raise Conflict(f"The {TABLES[kind].noun} {record_id!r} is not deleted, so it cannot be forgotten.")
        if memory_usage.referred(self._tables, record):
            raise Conflict(f"Other records still refer to the {TABLES[kind].noun} {record_id!r}.")
        memory_usage.remove(self._tables, kind, record_id)

    def emit(self, event_type: str, subject: str) -> None:
        """Append an event at the end."""
        require_storable((event_type, subject))
        self.events.append((event_type, subject))

    def audit(self, draft: AuditDraft) -> None:
        """Append an audit entry at the end."""
        self.drafts.append(draft)

    async def set_credits(self, owner: str, amount: int, policy: CreditPolicy, now: Instant) -> CreditBalance:
        """Make ``amount`` the balance."""
        return memory_ledger.set_credits(self._tables, owner, amount, policy, now)

    async def add_credits(self, owner: str, amount: int, now: Instant) -> CreditBalance:
        """Grant ``amount`` more."""
        return memory_ledger.add_credits(self._tables, owner, amount)

    async def remember(self, response: RememberedResponse) -> None:
        """Keep a response."""
        key = (response.actor, response.idempotency_key)
        require_storable(key)
        kept = self._tables.responses.get(key)
        if kept is not None and kept.created_at > response.created_at - DAY:
            raise Conflict("This idempotency key is in use.")
        self._tables.responses[key] = response

    async def add_foreign_scheme(self, scheme: str) -> bool:
        """Note a way of looking up imported keys."""
        is_new = scheme not in self._tables.schemes
        self._tables.schemes[scheme] = None
        return is_new


def get(tables: MemoryTables, kind: type[R], record_id: str) -> R:
    """Return a record; raises ``NotFound``."""
    require_storable((record_id,), "id")
    try:
        record: R = tables.records[kind][record_id]
    except KeyError:
        raise NotFound(TABLES[kind].noun, record_id) from None
    return record


def page(tables: MemoryTables, kind: type[R], query: Query) -> tuple[R, ...]:
    """Return records in order of id."""
    check_query(kind, query)
    require_storable(query.where.values())
    found: list[R] = []
    for record_id in sorted(tables.records[kind]):
        record = tables.records[kind][record_id]
        if query.after is not None and record_id <= query.after:
            continue
        if "state" not in query.where and record.state is State.DELETED:
            continue
        if all(
            value in record.tags if name == "tag" else getattr(record, name) == value
            for name, value in query.where.items()
        ):
            found.append(record)
            if len(found) == query.limit:
                break
    return tuple(found)


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

    async def sweep(self, now: Instant, batch: int = 1000) -> Swept:
        """Remove what has expired."""
        self._tables.begin()
        return memory_usage.sweep(self._tables, now, batch)

    # Peppers

    async def known_peppers(self) -> Mapping[str, bytes]:
        """Return the fingerprint of every pepper in use."""
        return dict(self._tables.peppers)

    async def note_pepper(self, pepper_id: str, fingerprint: bytes) -> None:
        """Remember a pepper's fingerprint; raises ``Conflict`` when another is known under this id."""
        if self._tables.peppers.setdefault(pepper_id, fingerprint) != fingerprint:
            raise Conflict(f"Another pepper is known as {pepper_id!r}.")
