"""The unit of work over SQL: one transaction's reads and writes, and what it appends to the logs at its end."""

from __future__ import annotations

from typing import TypeVar

from ..core.artefacts import Artefact, ArtefactKind
from ..core.audit_chain import AuditDraft
from ..core.errors import Conflict
from ..core.instant import DAY, Instant
from ..core.records import CreditPolicy, R, Record
from ..core.tokens import AccessToken, TokenFamily
from ..ports import CreditBalance, Query, RememberedResponse, Work
from . import journal, ledger, recordkeeping, tokens
from .session import Session

T = TypeVar("T")


class SqlWork:
    """Fulfils ``ports.UnitOfWork`` over a session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._events: list[tuple[str, str]] = []
        self._drafts: list[AuditDraft] = []

    async def get(self, kind: type[R], record_id: str) -> R:
        """Return the record, locked until the end of the transaction."""
        return await recordkeeping.get(self._session, kind, record_id, self._session.for_update)

    async def page(self, kind: type[R], query: Query) -> tuple[R, ...]:
        """Return records in order of id."""
        return await recordkeeping.page(self._session, kind, query)

    async def insert(self, record: Record) -> None:
        """Add a record."""
        await recordkeeping.insert(self._session, record)

    async def update(self, record: Record) -> None:
        """Replace a record."""
        await recordkeeping.update(self._session, record)

    async def forget(self, kind: type[R], record_id: str) -> None:
        """Remove a deleted record for good."""
        await recordkeeping.forget(self._session, kind, record_id)

    def emit(self, event_type: str, subject: str) -> None:
        """Append an event at the end."""
        self._events.append((event_type, subject))

    def audit(self, draft: AuditDraft) -> None:
        """Append an audit entry at the end."""
        self._drafts.append(draft)

    async def set_credits(self, owner: str, amount: int, policy: CreditPolicy, now: Instant) -> CreditBalance:
        """Make ``amount`` the balance."""
        return await ledger.set_credits(self._session, owner, amount, policy, now)

    async def add_credits(self, owner: str, amount: int, now: Instant) -> CreditBalance:
        """Grant ``amount`` more."""
        return await ledger.add_credits(self._session, owner, amount)

    async def remember(self, response: RememberedResponse) -> None:
        """Keep a response, in the place of one that is older than a day if need be."""
        await self._session.execute(
            "DELETE FROM responses WHERE actor = ? AND idempotency_key = ? AND created_at <= ?",
            *(response.actor, response.idempotency_key, response.created_at - DAY),
        )
        kept = await self._session.execute(
            "INSERT INTO responses (actor, idempotency_key, request_digest, sealed, created_at) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (actor, idempotency_key) DO NOTHING",
            *(response.actor, response.idempotency_key, response.request_digest, response.sealed, response.created_at),
        )
        if not kept:
            raise Conflict("This idempotency key is in use.")

    async def add_token(self, token: AccessToken) -> None:
        """Store an opaque access token."""
        await tokens.add_token(self._session, token)

    async def revoke_token(self, token_id: str, expires_at: Instant) -> bool:
        """Refuse an access token until it expires."""
        return await tokens.revoke_token(self._session, token_id, expires_at)

    async def get_family(self, family_id: str) -> TokenFamily:
        """Return a family, locked until the end of the transaction."""
        return await tokens.get_family(self._session, family_id, self._session.for_update)

    async def add_family(self, family: TokenFamily) -> None:
        """Store a new family."""
        await tokens.add_family(self._session, family)

    async def update_family(self, family: TokenFamily, *, generation: int) -> None:
        """Replace a family of this generation."""
        await tokens.update_family(self._session, family, generation)

    async def revoke_families(self, column: str, value: str, now: Instant) -> tuple[str, ...]:
        """Revoke the families that a column names."""
        return await tokens.revoke_families(self._session, column, value, now)

    async def add_artefact(self, artefact: Artefact) -> None:
        """Store an artefact."""
        await tokens.add_artefact(self._session, artefact)

    async def get_artefact(self, kind: ArtefactKind, artefact_id: str) -> Artefact:
        """Return an artefact, locked until the end of the transaction."""
        return await tokens.get_artefact(self._session, kind, artefact_id, self._session.for_update)

    async def update_artefact(self, artefact: Artefact) -> None:
        """Replace an artefact."""
        await tokens.update_artefact(self._session, artefact)

    async def remove_artefacts(self, kind: ArtefactKind, subject: str) -> int:
        """Remove all artefacts of a kind that belong to a subject."""
        return await tokens.remove_artefacts(self._session, kind, subject)

    async def add_foreign_scheme(self, scheme: str) -> bool:
        """Note a way of looking up imported keys."""
        return bool(
            await self._session.execute(
                "INSERT INTO foreign_schemes (scheme) VALUES (?) ON CONFLICT (scheme) DO NOTHING", scheme
            )
        )

    async def run(self, work: Work[T], audit_key: bytes, now: Instant) -> T:
        """Do the work, then append what it emitted and audited."""
        result = await work(self)
        await journal.append(self._session, audit_key, self._events, self._drafts, now)
        return result
