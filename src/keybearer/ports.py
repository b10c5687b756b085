"""The ports: what the authority needs from the world, each a Protocol that an engine fulfils.

Rules for every engine are in the docstrings here, and are tested by ``tests/contract/`` over all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from .core.artefacts import Artefact, ArtefactKind
from .core.audit_chain import AuditDraft, AuditEntry
from .core.clients import ClientRecord
from .core.errors import Code, Rejected
from .core.instant import Instant
from .core.principal import Principal
from .core.quota import LimitState
from .core.records import Api, ApiKey, CreditPolicy, KeyRecord, Plan, Quota, R, Record, SecretVersion, Take
from .core.requirement import Requirement
from .core.signing_keys import SigningKey
from .core.standing import Standing
from .core.tokens import AccessToken, TokenFamily, TokenRecord

T = TypeVar("T")


# Time


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> Instant:
        """Return the wall-clock time (UTC microseconds). It may jump."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go back, the same for all processes of this machine."""
        ...


# Secrets


class Keyring(Protocol):
    """Keys that live outside the database: peppers, and keys for sealing, cursors and the audit chain."""

    @property
    def active_pepper_id(self) -> str:
        """The pepper for new digests."""
        ...

    @property
    def pepper_ids(self) -> tuple[str, ...]:
        """Every pepper that may still be in use, the active one first."""
        ...

    def digest(self, pepper_id: str, text: str) -> bytes:
        """Return HMAC-SHA-256 of the text under a pepper; raises ``ConfigurationError`` for an unknown one."""
        ...

    def derived(self, purpose: str) -> bytes:
        """Return a 32-byte key for one purpose (``audit``, ``cursor``, ``seal``), stable over restarts."""
        ...

    def import_secret(self, name: str) -> bytes | None:
        """Return the HMAC secret under which another system made its hashes, or ``None``."""
        ...

    @property
    def import_secret_names(self) -> tuple[str, ...]:
        """The names of all such secrets."""
        ...


# Store


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
    ``issuer`` (Link, Upstream), ``subject`` (Link), ``origin`` (Client), ``state`` (all). Deleted
    records are left out unless ``state`` asks for them. An unknown field raises ``InvalidInput``.
    """

    where: Mapping[str, str] = field(default_factory=dict)
    after: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class CreditTake:
    """Take ``cost`` credits from ``owner``; the policy says how the balance refills."""

    owner: str
    policy: CreditPolicy
    cost: int


@dataclass(frozen=True, slots=True)
class QuotaTake:
    """Take ``cost`` units of a quota whose counter belongs to ``owner``."""

    owner: str
    quota: Quota
    cost: int


@dataclass(frozen=True, slots=True)
class Charge:
    """What one request takes durably, all or nothing. With a ``request_id`` it is taken once per (key, request_id)."""

    key_id: str
    request_id: str | None
    credits: tuple[CreditTake, ...]
    quotas: tuple[QuotaTake, ...]
    now: Instant


@dataclass(frozen=True, slots=True)
class Charged:
    """The outcome of a charge. Nothing was taken unless ``code`` is ``VALID`` and ``replayed`` is false.

    ``code`` may be ``CREDITS_EXHAUSTED``, or ``RATE_LIMITED`` for a quota; ``quotas`` has one state per quota asked
    for. ``credits_remaining`` is the smallest balance among the owners, ``None`` without credits.
    """

    code: Code
    credits_remaining: int | None
    quotas: tuple[LimitState, ...]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class CreditBalance:
    """The credits of one owner. Always ``balance == granted - spent``; a refund lowers ``spent``."""

    owner: str
    balance: int
    granted: int
    spent: int
    refills_at: Instant | None


@dataclass(frozen=True, slots=True)
class KeyUse:
    """When a secret version of a key was last accepted."""

    key_id: str
    version: int
    last_used_at: Instant


ISSUED: Final = "ISSUED"
"""The ``code`` of usage that counts tokens issued to a client, which is no code of verify."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """How often a key met an outcome at an API in one minute. ``minute`` counts minutes since the epoch.

    ``key_id`` and ``project_id`` are empty for credentials that matched nothing, ``api_id`` where none was named.
    """

    minute: int
    project_id: str
    key_id: str
    api_id: str
    code: str
    count: int


@dataclass(frozen=True, slots=True)
class FacetRow:
    """How often a key was used in one hour from a ``source`` address, or with a ``tag``; ``facet`` says which.

    ``hour`` counts hours since the epoch; ``value`` is the address or the tag.
    """

    hour: int
    project_id: str
    key_id: str
    facet: str
    value: str
    code: str
    count: int


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """What a flush adds: counts are summed, last uses only move forward. Flushing never touches a key's own row."""

    usage: tuple[UsageRow, ...] = ()
    facets: tuple[FacetRow, ...] = ()
    uses: tuple[KeyUse, ...] = ()
    audit: tuple[AuditDraft, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Sum usage from ``start`` (inclusive) to ``end`` (exclusive) by ``group_by``.

    ``group_by`` is any of ``minute``, ``hour``, ``day`` (one of these), ``project_id``, ``key_id``, ``api_id``,
    ``code``, ``source`` or ``tag`` (hourly data, one of the two, not with ``minute`` or ``api_id``). Filters are
    equalities on the same names.
    """

    start: Instant
    end: Instant
    group_by: tuple[str, ...]
    filters: Mapping[str, str] = field(default_factory=dict)
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class RememberedResponse:
    """The sealed answer to a request that carried an ``Idempotency-Key``."""

    actor: str
    idempotency_key: str
    request_digest: bytes
    sealed: bytes
    created_at: Instant


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
        (Identity.project_id, external_id), ApiKey.foreign_lookup, Factors.user_id, (Link.issuer, subject)), be the
        other deleted or not. Of the grants of one user to one client, one may be neither revoked nor deleted.
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


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows a sweep removed, by table; ``more`` are the tables where it stopped before the end."""

    removed: Mapping[str, int]
    more: frozenset[str]


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
        revocations and families a day, sessions and grants 30 days; an hour after a rotation, what the previous token
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

    def default_plan(self, api: Api) -> Plan | None:
        """Return the plan that serves projects without one at this API."""
        ...

    def view_now(self) -> int:
        """Return the number of the fresh view, which no other view has: while it is the same, no event has come.

        Raises ``NotReady`` when becoming fresh takes I/O that may block.
        """
        ...


# Limits


class Taken(NamedTuple):
    """All limits of a request, taken together or (``admitted`` false) not at all."""

    admitted: bool
    states: tuple[LimitState, ...]
    retry_in: int = 0


class Limiter(Protocol):
    """Rate limits. All takes of a request are atomic; a refusal takes nothing."""

    async def take(self, takes: Sequence[Take]) -> Taken:
        """Take all or nothing; raises ``Unavailable`` when the limiter cannot answer."""
        ...

    async def give_back(self, takes: Sequence[Take]) -> None:
        """Undo an admitted ``take`` whose request was refused later, or was a repetition."""
        ...


class ImmediateLimiter(Limiter, Protocol):
    """A limiter that answers at once, fit for the event loop."""

    def take_now(self, takes: Sequence[Take]) -> Taken:
        """Like ``take``."""
        ...

    def give_back_now(self, takes: Sequence[Take]) -> None:
        """Like ``give_back``."""
        ...


# The world outside


@dataclass(frozen=True, slots=True)
class Fetched:
    """What another server answered: never a redirect, and never more bytes than were allowed."""

    status: int
    media_type: str
    body: bytes
    max_age: int | None = None


class Fetcher(Protocol):
    """The only way out: one guarded client for what URLs of others point at (SECURITY-BAR 27)."""

    async def get(
        self, url: str, *, accept: str = "application/json", headers: Mapping[str, str] = ..., limit: int = 65_536
    ) -> Fetched:
        """Return what an ``https`` URL answers, within seconds and at most ``limit`` bytes; raises ``Unreachable``."""
        ...

    async def post_form(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str] = ..., *, limit: int = 65_536
    ) -> Fetched:
        """Post a form to an ``https`` URL, once, and return what it answers, under the same bounds as ``get``."""
        ...


# Observation


class Observer(Protocol):
    """Hears every outcome of verify, in memory; it must neither wait nor raise."""

    def verified(self, principal: Principal, requirement: Requirement, now: Instant) -> None:
        """A credential was accepted."""
        ...

    def verified_again(self, standing: Standing, now: Instant) -> None:
        """A credential was accepted because what was found out about it still stands, and so was its ``asker``."""
        ...

    def issued(self, project_id: str, client_id: str, api_id: str, now: Instant) -> None:
        """A token was issued to a client."""
        ...

    def outdated(self, record: KeyRecord, version: SecretVersion, digest: bytes) -> None:
        """An accepted secret is stored under an old pepper or a foreign hash; ``digest`` is what should be stored."""
        ...

    def rejected(self, rejection: Rejected, attempted_id: str, requirement: Requirement, now: Instant) -> None:
        """A credential was refused. ``attempted_id`` is the public id it claimed, empty if it had none."""
        ...


class Throttle(Protocol):
    """Slows down sources that present bad credentials, before any lookup (DESIGN §3)."""

    def retry_in(self, source: IPv4Address | IPv6Address) -> int:
        """Return 0 when the source may try, else the microseconds until it may."""
        ...

    def failed(self, source: IPv4Address | IPv6Address) -> None:
        """Count one failed attempt."""
        ...
