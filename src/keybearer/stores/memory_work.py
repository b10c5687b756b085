"""The unit of work over memory: reads and writes with the rules that the SQL engines have from their schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..core.artefacts import Artefact, ArtefactKind
from ..core.audit_chain import AuditDraft
from ..core.errors import Conflict, NotFound
from ..core.grants import Grant
from ..core.incidents import Incident
from ..core.instant import DAY, Instant
from ..core.leaks import LeakPolicy
from ..core.records import Api, ApiKey, CreditPolicy, Identity, R, Record, State
from ..core.tokens import AccessToken, TokenFamily
from ..core.users import Factors, Link, User
from ..ports import CreditBalance, Query, RememberedResponse
from . import memory_ledger, memory_sweeping, memory_tokens
from .memory_tables import MemoryTables
from .storable import require_storable
from .tables import TABLES, check_query, encode

_UNIQUE: Final[Mapping[type, tuple[str, ...]]] = {
    Api: ("identifier",),
    Identity: ("project_id", "external_id"),
    ApiKey: ("foreign_lookup",),
    User: ("email",),
    Factors: ("user_id",),
    Link: ("issuer", "subject"),
    Grant: ("user_id", "client_id"),
    Incident: ("subject",),
    LeakPolicy: ("project_id",),
}


def _references() -> dict[type, list[tuple[str, type]]]:
    kinds = {table.name: table.kind for table in TABLES.values()}
    found: dict[type, list[tuple[str, type]]] = {kind: [] for kind in TABLES}
    for table in TABLES.values():
        for name, column in table.referrers:
            found[kinds[name]].append((column, table.kind))
    return found


_REFERENCES: Final = _references()
"""By kind, the fields that name another record, and of which kind."""


def _counts(record: Record) -> bool:
    """Tell whether a record stands in the way of another with the same unique field: of grants, only one in force."""
    return not isinstance(record, Grant) or record.state not in (State.REVOKED, State.DELETED)


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

    async def insert(self, record: Record) -> None:
        """Add a record."""
        table = self._tables.of(record)
        if record.id in table:
            raise Conflict(f"The {TABLES[type(record)].noun} exists already.")
        self._put(record)

    async def update(self, record: Record) -> None:
        """Replace a record."""
        before = self._tables.of(record).get(record.id)
        if before is None or before.revision != record.revision - 1:
            raise Conflict(f"The {TABLES[type(record)].noun} {record.id!r} changed meanwhile.")
        self._put(record)

    def _put(self, record: Record) -> None:
        stored: Record = TABLES[type(record)].decode(encode(record))  # no metadata is shared with the caller
        unique = _UNIQUE.get(type(record), ())
        mine = tuple(getattr(record, name) for name in unique)
        table = self._tables.of(record)
        if unique and None not in mine and _counts(record):
            for other in table.values():
                if other.id != record.id and _counts(other) and tuple(getattr(other, name) for name in unique) == mine:
                    raise Conflict("The change clashes with a record that exists.")
        for name, kind in _REFERENCES[type(record)]:
            reference = getattr(record, name)
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
        if memory_sweeping.referred(self._tables, record):
            raise Conflict(f"Other records still refer to the {TABLES[kind].noun} {record_id!r}.")
        memory_sweeping.remove(self._tables, kind, record_id)

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

    async def add_token(self, token: AccessToken) -> None:
        """Store an opaque access token."""
        memory_tokens.add_token(self._tables, token)

    async def revoke_token(self, token_id: str, expires_at: Instant) -> bool:
        """Refuse an access token until it expires."""
        return memory_tokens.revoke_token(self._tables, token_id, expires_at)

    async def get_family(self, family_id: str) -> TokenFamily:
        """Return a family."""
        return memory_tokens.get_family(self._tables, family_id)

    async def add_family(self, family: TokenFamily) -> None:
        """Store a new family."""
        memory_tokens.put_family(self._tables, family, None)

    async def update_family(self, family: TokenFamily, *, generation: int) -> None:
        """Replace a family of this generation."""
        memory_tokens.put_family(self._tables, family, generation)

    async def revoke_families(self, column: str, value: str, now: Instant) -> tuple[str, ...]:
        """Revoke the families that a column names."""
        return memory_tokens.revoke_families(self._tables, column, value, now)

    async def add_artefact(self, artefact: Artefact) -> None:
        """Store an artefact."""
        memory_tokens.put_artefact(self._tables, artefact, is_new=True)

    async def get_artefact(self, kind: ArtefactKind, artefact_id: str) -> Artefact:
        """Return an artefact."""
        return memory_tokens.get_artefact(self._tables, kind, artefact_id)

    async def update_artefact(self, artefact: Artefact) -> None:
        """Replace an artefact."""
        memory_tokens.put_artefact(self._tables, artefact, is_new=False)

    async def remove_artefacts(self, kind: ArtefactKind, subject: str) -> int:
        """Remove all artefacts of a kind that belong to a subject."""
        return memory_tokens.remove_artefacts(self._tables, kind, subject)

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
