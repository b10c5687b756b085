"""The store: where records live, its transactions, and its log of events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from ..core.artefacts import Artefact, ArtefactKind
from ..core.audit_chain import AuditDraft, AuditEntry
from ..core.instant import Instant
from ..core.records import ApiKey, CreditPolicy, KeyRecord, R, Record
from ..core.tokens import AccessToken, TokenFamily, TokenRecord
from ..core.webhooks import Delivery
from .charges import Charge, Charged, CreditBalance
from .usage import KeyUse, UsageBatch, UsageQuery

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event:
    """One change that can alter a decision. ``seq`` is dense: a consumer that sees a gap knows it missed something."""

    seq: int
    at: Instant
    type: str
    subject: str


@dataclass(frozen=True, slots=True)
class Query:
    """Which records to list, in order of id. ``where`` compares indexed fields with values, all of which must hold.

    Fields: ``project_id`` (Identity, ApiKey, Client, Grant), ``identity_id``, ``plan_id`` (Project, ApiKey), ``kind``,
    ``environment``, ``owner`` (ApiKey), ``identifier`` (Api), ``external_id`` (Identity), ``name`` (Api, Project, Plan,
    ApiKey, Client), ``tag`` (ApiKey), ``email`` (User), ``user_id`` (Link, Session, Grant), ``client_id`` (Grant),
    ``issuer`` (Link, Upstream), ``subject`` (Link, Incident), ``origin`` (Client), ``status`` (Incident, Delivery),
    ``key_id`` (Incident), ``webhook_id`` (Delivery), ``state`` (all); of Incident ``project_id``, ``kind`` and
    ``environment`` too, of Webhook, Delivery and LeakPolicy ``project_id``. Deleted records are left out unless
    ``state`` asks for them. An unknown field raises ``InvalidInput``.
    """

    where: Mapping[str, str] = field(default_factory=dict)
    after: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class RememberedResponse:
    """The sealed answer to a request that carried an ``Idempotency-Key``."""

    actor: str
    idempotency_key: str
    request_digest: bytes
    sealed: bytes
    created_at: Instant


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows a sweep removed, by table; ``more`` are the tables where it stopped before the end."""

    removed: Mapping[str, int]
    more: frozenset[str]


class UnitOfWork(Protocol):
    """One transaction. Its coroutines never wait for anything but the store: SQLite drives them in its writer
    thread."""

    async def get(self, kind: type[R], record_id: str) -> R:
        """Return the record, locked until the end of the transaction; raises ``NotFound``. Deleted ones are
        returned."""
        ...

    async def page(self, kind: type[R], query: Query) -> tuple[R, ...]:
        """Return records in order of id."""
        ...

    async def insert(self, record: Record) -> None:
        """Add a record; raises ``Conflict`` when its id or its unique field exists (Api.identifier, User.email,
        (Identity.project_id, external_id), ApiKey.foreign_lookup, Factors.user_id, (Link.issuer, subject),
        Incident.subject, LeakPolicy.project_id), be the other deleted or not. Of the grants of one user to one client,
        one may be neither revoked nor deleted.
        """
        ...

    async def update(self, record: Record) -> None:
        """Replace a record; raises ``Conflict`` unless the stored revision is ``record.revision - 1``."""
        ...

    async def forget(self, kind: type[R], record_id: str) -> None:
        """Remove a deleted record for good, with its credits and last use. Absent records are fine."""
        ...

    def emit(self, event_type: str, subject: str) -> None:
        """Append an event to the log; its ``seq`` is given at the end of the transaction."""
        ...

    def audit(self, draft: AuditDraft) -> None:
        """Append an entry to the audit chain."""
        ...

    async def set_credits(self, owner: str, amount: int, policy: CreditPolicy, now: Instant) -> CreditBalance:
        """Make ``amount`` the balance (``granted`` moves by the difference); creates the account if it is missing."""
        ...

    async def add_credits(self, owner: str, amount: int, now: Instant) -> CreditBalance:
        """Grant ``amount`` more; raises ``NotFound`` without an account."""
        ...

    async def remember(self, response: RememberedResponse) -> None:
        """Keep a response; raises ``Conflict`` when (actor, idempotency_key) is taken."""
        ...

    async def add_token(self, token: AccessToken) -> None:
        """Store an opaque access token. No event: nobody can have asked for it before."""
        ...

    async def revoke_token(self, token_id: str, expires_at: Instant) -> bool:
        """Refuse an access token, opaque or JWT, until it expires; false when it already is. The caller emits."""
        ...

    async def get_family(self, family_id: str) -> TokenFamily:
        """Return a family, locked until the end of the transaction; raises ``NotFound``."""
        ...

    async def add_family(self, family: TokenFamily) -> None:
        """Store a new family of refresh tokens."""
        ...

    async def update_family(self, family: TokenFamily, *, generation: int) -> None:
        """Replace a family; raises ``Conflict`` unless the stored one is of this ``generation`` (before the change)."""
        ...

    async def revoke_families(self, column: str, value: str, now: Instant) -> tuple[str, ...]:
        """Revoke all living families whose ``column`` (``grant_id``, ``session_id``, ``client_id``, ``user_id`` or
        ``key_id``) is ``value``, and return their ids; the caller emits an event for each.
        """
        ...

    async def add_artefact(self, artefact: Artefact) -> None:
        """Store an artefact; raises ``Conflict`` when one of its kind has this id, used or expired though it may be."""
        ...

    async def get_artefact(self, kind: ArtefactKind, artefact_id: str) -> Artefact:
        """Return an artefact, locked until the end of the transaction; raises ``NotFound``, and never looks at time."""
        ...

    async def update_artefact(self, artefact: Artefact) -> None:
        """Replace what was read by ``get_artefact`` in this transaction."""
        ...

    async def remove_artefacts(self, kind: ArtefactKind, subject: str) -> int:
        """Remove all artefacts of a kind that belong to a subject; returns how many there were."""
        ...

    async def add_foreign_scheme(self, scheme: str) -> bool:
        """Note that keys with this way of looking them up exist; true when it is new (the caller then emits)."""
        ...


Work = Callable[[UnitOfWork], Awaitable[T]]
"""What is done in one transaction. It may be run again when others were in the way, so it changes nothing else."""


class Store(Protocol):
    """Where records live. Every method raises ``Unavailable`` when durability or an answer cannot be had."""

    @property
    def name(self) -> str:
        """``memory``, ``sqlite`` or ``postgresql``."""
        ...

    async def open(self) -> None:
        """Migrate and connect; safe when several nodes do so at once."""
        ...

    async def close(self) -> None:
        """Finish what was accepted and let go of all connections."""
        ...

    async def find(self, key_id: str) -> KeyRecord | None:
        """Return a key with all it depends on, and the head, from one snapshot and in one read. Deleted keys count."""
        ...

    async def find_foreign(self, lookups: Sequence[str]) -> KeyRecord | None:
        """Return the imported key whose ``foreign_lookup`` is one of these."""
        ...

    async def find_token(self, token_id: str, claimed: AccessToken | None = None) -> TokenRecord | None:
        """Return an access token with all it depends on, and the head at or before which all of it was read.

        ``claimed`` is what a JWT says whose signature was verified, and stands in for the row that an opaque token has.
        ``None`` when there is no such row, or the client or its project is missing.
        """
        ...

    async def get_family(self, family_id: str) -> TokenFamily:
        """Return a family of refresh tokens; raises ``NotFound``."""
        ...

    async def get_artefact(self, kind: ArtefactKind, artefact_id: str) -> Artefact:
        """Return an artefact; raises ``NotFound``, and never looks at time."""
        ...

    async def get(self, kind: type[R], record_id: str) -> R:
        """Return a record; raises ``NotFound``. Deleted ones are returned."""
        ...

    async def page(self, kind: type[R], query: Query) -> tuple[R, ...]:
        """Return records in order of id."""
        ...

    async def transact(self, work: Work[T]) -> T:
        """Run ``work`` in one transaction and return after it is durable. If ``work`` raises, nothing is written."""
        ...

    async def head(self) -> int:
        """Return the ``seq`` of the newest event, 0 when there is none."""
        ...

    async def events(self, after: int, limit: int = 1000) -> tuple[Event, ...]:
        """Return events with ``seq > after`` in order, without gaps."""
        ...

    async def foreign_schemes(self) -> frozenset[str]:
        """Return the ways in which imported keys are looked up; empty when nothing was imported."""
        ...

    async def charge(self, charge: Charge) -> Charged:
        """Take credits and quotas, all or nothing, never more than there is under any concurrency."""
        ...

    async def refund(self, key_id: str, request_id: str, now: Instant) -> bool:
        """Give a charge back once; false when it was already, or was never, or is older than a day."""
        ...

    async def balances(self, owners: Sequence[str]) -> tuple[CreditBalance, ...]:
        """Return the credits of those owners that have any."""
        ...

    async def recall(self, actor: str, idempotency_key: str) -> RememberedResponse | None:
        """Return a remembered response that is less than a day old."""
        ...

    async def add_usage(self, batch: UsageBatch) -> None:
        """Add a flush, all or nothing."""
        ...

    async def usage(self, query: UsageQuery) -> tuple[Mapping[str, Any], ...]:
        """Return one mapping per group with its group fields and ``count``; times are instants (start of the
        bucket)."""
        ...

    async def uses(self, key_ids: Sequence[str]) -> tuple[KeyUse, ...]:
        """Return the last uses of these keys, per version."""
        ...

    async def retiring_keys(self, limit: int) -> tuple[ApiKey, ...]:
        """Return keys that have a version on its way out, for early retirement."""
        ...

    async def due_deliveries(self, now: Instant, limit: int) -> tuple[Delivery, ...]:
        """Return messages to webhooks that wait and are due, the longest due first."""
        ...

    async def audit_page(
        self, after: int, limit: int, where: Mapping[str, str] | None = None, *, newest_first: bool = False
    ) -> tuple[AuditEntry, ...]:
        """Return audit entries with ``seq > after`` (or ``< after``, newest first; 0 means from the end).

        ``where``: ``actor``, ``action``, ``target``, ``project_id``.
        """
        ...

    async def sweep(self, now: Instant, batch: int = 1000, tables: Collection[str] | None = None) -> Swept:
        """Remove what has expired, at most ``batch`` rows per table.

        Remembered responses and charges go after a day, events after a week, quota counters of past windows, usage
        minutes after 30 days (rolled into hours first); access tokens and artefacts an hour after their end,
        revocations and families a day, sessions, grants and settled messages 30 days,
        resolved incidents 400; an hour after a rotation, what the previous token
        of the family was answered with. ``tables`` says which to look at; ``None``: all.
        """
        ...

    async def known_peppers(self) -> Mapping[str, bytes]:
        """Return the fingerprint of every pepper that digests in this store may depend on."""
        ...

    async def note_pepper(self, pepper_id: str, fingerprint: bytes) -> None:
        """Remember a pepper's fingerprint; absent only before its first use."""
        ...


class ImmediateStore(Store, Protocol):
    """A store whose hot reads return at once, fit for the event loop (memory, SQLite)."""

    def find_now(self, key_id: str) -> KeyRecord | None:
        """Like ``find``."""
        ...

    def find_foreign_now(self, lookups: Sequence[str]) -> KeyRecord | None:
        """Like ``find_foreign``."""
        ...

    def find_token_now(self, token_id: str, claimed: AccessToken | None = None) -> TokenRecord | None:
        """Like ``find_token``."""
        ...

    def get_now(self, kind: type[R], record_id: str) -> R:
        """Like ``get``."""
        ...

    def head_now(self) -> int:
        """Like ``head``."""
        ...

    def events_now(self, after: int, limit: int = 1000) -> tuple[Event, ...]:
        """Like ``events``."""
        ...
