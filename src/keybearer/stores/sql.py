"""The store over SQL, whatever the engine: each method is one read or one transaction of shared statements.

The coroutines here wait for nothing but the session. So PostgreSQL can await them, and SQLite can drive them to their
end inside its own threads; the engines differ in nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from ..core.artefacts import Artefact, ArtefactKind
from ..core.audit_chain import AuditEntry
from ..core.errors import Conflict, Unavailable
from ..core.instant import DAY, Instant
from ..core.records import ApiKey, KeyRecord, R
from ..core.tokens import AccessToken, TokenFamily, TokenRecord
from ..core.webhooks import Delivery
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
from . import journal, ledger, recordkeeping, tokens, usage
from .session import Now, Session, machine_now
from .sweeping import STEPS
from .work import SqlWork

T = TypeVar("T")

PATIENCE_S: Final = 1.9
"""How long a read may take over a network that may be silent."""
LONG_PATIENCE_S: Final = 9.5
"""The same, for reads that may have much to read."""


class SqlStore(ABC):
    """Everything of ``ports.Store`` but opening, closing, and how a read or a transaction is run."""

    def __init__(self, audit_key: bytes, clock: Clock | None = None) -> None:
        self.on_commit: Callable[[int], None] | None = None
        """Hears of the new head after each durable commit that appended events, before its callers do."""
        self._audit_key = audit_key
        self._now: Now = machine_now if clock is None else clock.now

    @abstractmethod
    async def _read(self, ask: Callable[[Session], Awaitable[T]], patience: float = PATIENCE_S) -> T:
        """Run one question that reads, for at most ``patience`` seconds; each of its statements is a snapshot."""

    @abstractmethod
    async def _write(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Run one transaction, and return after it is durable."""

    async def transact(self, work: Work[T]) -> T:
        """Run ``work`` in one transaction."""
        return await self._write(lambda session: SqlWork(session).run(work, self._audit_key, self._now()))

    # Records

    async def find(self, key_id: str) -> KeyRecord | None:
        """Return a key with all it depends on, and the head."""
        return await self._read(lambda session: recordkeeping.find(session, key_id))

    async def find_foreign(self, lookups: Sequence[str]) -> KeyRecord | None:
        """Return the imported key whose lookup is one of these."""
        return await self._read(lambda session: recordkeeping.find_foreign(session, lookups))

    async def find_token(self, token_id: str, claimed: AccessToken | None = None) -> TokenRecord | None:
        """Return an access token with all it depends on, and the head."""
        return await self._read(lambda session: tokens.find_token(session, token_id, claimed))

    async def get_family(self, family_id: str) -> TokenFamily:
        """Return a family of refresh tokens."""
        return await self._read(lambda session: tokens.get_family(session, family_id))

    async def get_artefact(self, kind: ArtefactKind, artefact_id: str) -> Artefact:
        """Return an artefact."""
        return await self._read(lambda session: tokens.get_artefact(session, kind, artefact_id))

    async def get(self, kind: type[R], record_id: str) -> R:
        """Return a record."""
        return await self._read(lambda session: recordkeeping.get(session, kind, record_id))

    async def page(self, kind: type[R], query: Query) -> tuple[R, ...]:
        """Return records in order of id."""
        return await self._read(lambda session: recordkeeping.page(session, kind, query), LONG_PATIENCE_S)

    async def retiring_keys(self, limit: int) -> tuple[ApiKey, ...]:
        """Return keys that have a version on its way out, the first to run out first."""
        return await self._read(lambda session: recordkeeping.retiring_keys(session, limit, self._now()))

    async def due_deliveries(self, now: Instant, limit: int) -> tuple[Delivery, ...]:
        """Return messages that wait and are due, the longest due first."""
        return await self._read(lambda session: recordkeeping.due_deliveries(session, now, limit))

    async def foreign_schemes(self) -> frozenset[str]:
        """Return the ways in which imported keys are looked up."""
        rows = await self._read(lambda session: session.fetch("SELECT scheme FROM foreign_schemes"))
        return frozenset(row[0] for row in rows)

    # Logs

    async def head(self) -> int:
        """Return the sequence of the newest event."""
        return await self._read(journal.head)

    async def events(self, after: int, limit: int = 1000) -> tuple[Event, ...]:
        """Return events in order, without gaps."""
        return await self._read(lambda session: journal.events(session, after, limit))

    async def audit_page(
        self, after: int, limit: int, where: Mapping[str, str] | None = None, *, newest_first: bool = False
    ) -> tuple[AuditEntry, ...]:
        """Return audit entries."""
        return await self._read(
            lambda session: journal.audit_page(session, after, limit, where, newest_first=newest_first),
            LONG_PATIENCE_S,
        )

    # The ledger

    async def charge(self, charge: Charge) -> Charged:
        """Take credits and quotas, all or nothing."""
        try:
            return await self._write(lambda session: ledger.charge(session, charge))
        except ledger.Refused as refusal:
            return refusal.charged

    async def refund(self, key_id: str, request_id: str, now: Instant) -> bool:
        """Give a charge back once."""
        return await self._write(lambda session: ledger.refund(session, key_id, request_id, now))

    async def balances(self, owners: Sequence[str]) -> tuple[CreditBalance, ...]:
        """Return the credits of those owners that have any."""
        return await self._read(lambda session: ledger.balances(session, owners))

    async def recall(self, actor: str, idempotency_key: str) -> RememberedResponse | None:
        """Return a remembered response that is less than a day old."""
        row = await self._read(
            lambda session: session.fetch_one(
                "SELECT actor, idempotency_key, request_digest, sealed, created_at FROM responses "
                "WHERE actor = ? AND idempotency_key = ? AND created_at > ?",
                *(actor, idempotency_key, self._now() - DAY),
            )
        )
        return None if row is None else RememberedResponse(*row)

    # Observation

    async def add_usage(self, batch: UsageBatch) -> None:
        """Add a flush, all or nothing."""

        async def add(session: Session) -> None:
            await usage.add(session, batch)
            await journal.append(session, self._audit_key, (), batch.audit, self._now())

        await self._write(add)

    async def usage(self, query: UsageQuery) -> tuple[Mapping[str, Any], ...]:
        """Return sums of usage."""
        return await self._read(lambda session: usage.usage(session, query), LONG_PATIENCE_S)

    async def uses(self, key_ids: Sequence[str]) -> tuple[KeyUse, ...]:
        """Return the last uses of these keys."""
        return await self._read(lambda session: usage.uses(session, key_ids))

    async def sweep(self, now: Instant, batch: int = 1000, tables: Collection[str] | None = None) -> Swept:
        """Remove what has expired, each step in a transaction of its own."""
        removed: Counter[str] = Counter()
        more: set[str] = set()
        for table, step in STEPS:
            if tables is None or table in tables:
                # The default binds this step: the loop moves on while a transaction may be tried again.
                count = await self._write(lambda session, step=step: step(session, now, batch))  # type: ignore[misc]
                removed[table] += count
                if count >= batch:
                    more.add(table)
        return Swept(dict(+removed), frozenset(more))

    # Peppers

    async def known_peppers(self) -> Mapping[str, bytes]:
        """Return the fingerprint of every pepper in use."""
        rows = await self._read(lambda session: session.fetch("SELECT pepper_id, fingerprint FROM peppers"))
        return {pepper_id: bytes(fingerprint) for pepper_id, fingerprint in rows}

    async def note_pepper(self, pepper_id: str, fingerprint: bytes) -> None:
        """Remember a pepper's fingerprint; raises ``Conflict`` when another is known under this id."""

        async def note(session: Session) -> None:
            await session.execute(
                "INSERT INTO peppers (pepper_id, fingerprint) VALUES (?, ?) ON CONFLICT (pepper_id) DO NOTHING",
                *(pepper_id, fingerprint),
            )
            row = await session.fetch_one("SELECT fingerprint FROM peppers WHERE pepper_id = ?", pepper_id)
            if row is None:
                raise Unavailable("A pepper could not be noted.")
            if bytes(row[0]) != fingerprint:
                raise Conflict(f"Another pepper is known as {pepper_id!r}.")

        await self._write(note)
