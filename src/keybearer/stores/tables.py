"""How records lie in tables: one table per kind, what is searched in columns, and the whole record as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as made
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, cast

import msgspec

from ..core.clients import Client
from ..core.errors import InvalidInput, Unavailable
from ..core.grants import Grant
from ..core.incidents import Incident
from ..core.leaks import LeakPolicy
from ..core.records import Api, ApiKey, Identity, Plan, Project, R, Record, State
from ..core.routes import Route
from ..core.sessions import Session
from ..core.signing_keys import SigningKey
from ..core.upstream_secrets import UpstreamSecret
from ..core.upstreams import Upstream
from ..core.users import Factors, Link, User
from ..core.webhooks import Delivery, Webhook
from ..ports import Query
from .storable import encode_json

_COMMON: Final = ("state", "revision", "deleted_at")


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of record: its name for people, its own columns, and the fields by which it can be listed."""

    name: str
    noun: str
    kind: type[Record]
    columns: tuple[str, ...]
    fields: frozenset[str]
    decode: Callable[[str], Any]
    referrers: tuple[tuple[str, str], ...] = ()

    computed: Callable[[Any], int | None] | None = made(init=False)
    """Returns what stands in its last column, where that is no attribute of the record."""
    read: Callable[[Record], tuple[Any, ...]] = made(init=False)
    """Returns what stands in its own columns before that."""
    get: str = made(init=False)
    """The statement that reads a body by id."""
    insert: str = made(init=False)
    """The statement that adds a row, or does nothing when it clashes (so that the transaction survives)."""
    update: str = made(init=False)
    """The statement that replaces a row of the revision before."""

    def __post_init__(self) -> None:
        own = (*_COMMON, *self.columns, "body")
        marks, sets = ", ".join("?" * (len(own) + 1)), ", ".join(f"{column} = ?" for column in own)
        insert = f"INSERT INTO {self.name} (id, {', '.join(own)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
        object.__setattr__(self, "computed", _COMPUTED.get(self.columns[-1]) if self.columns else None)
        object.__setattr__(self, "read", _reader(tuple(name for name in self.columns if name not in _COMPUTED)))
        object.__setattr__(self, "get", f"SELECT body FROM {self.name} WHERE id = ?")  # noqa: S608
        object.__setattr__(self, "insert", insert)
        object.__setattr__(self, "update", f"UPDATE {self.name} SET {sets} WHERE id = ? AND revision = ?")  # noqa: S608


def _reader(names: tuple[str, ...]) -> Callable[[Record], tuple[Any, ...]]:
    """Return what reads these attributes; ``attrgetter`` alone does so only for two or more."""
    if not names:
        return lambda record: ()
    read = attrgetter(*names)
    return read if len(names) > 1 else lambda record: (read(record),)


def retires_at(key: ApiKey) -> int | None:
    """Return when the last version on its way out runs out, or ``None`` when there is none."""
    ends = [v.expires_at for v in key.versions if v.expires_at is not None and v.revoked_at is None]
    return max(ends) if ends and key.state in (State.ENABLED, State.DISABLED) else None


def ends_at(record: Session | Grant | Incident | Delivery) -> int | None:
    """Return when a session or a grant ends or ended, by itself or by revocation, and from when on nobody needs an
    incident or a message any more; ``None`` when there is no such end.
    """
    if isinstance(record, Incident | Delivery):
        return record.ends_at
    if record.revoked_at is not None:
        return record.revoked_at
    if isinstance(record, Session):
        return min(record.expires_at, record.seen_at + record.idle_in)
    return record.expires_at


_COMPUTED: Final[Mapping[str, Callable[[Any], int | None]]] = {"retires_at": retires_at, "ends_at": ends_at}
"""Columns that are no attribute of their record; each stands last in its table."""


def _table(
    kind: type[Record],
    name: str,
    noun: str,
    columns: str,
    fields: str,
    referrers: tuple[tuple[str, str], ...] = (),
) -> Table:
    decoder = msgspec.json.Decoder(kind)
    return Table(
        name, noun, kind, tuple(columns.split()), frozenset(("state", *fields.split())), decoder.decode, referrers
    )


TABLES: Final[Mapping[type[Record], Table]] = {
    table.kind: table
    for table in (
        _table(
            ApiKey,
            "api_keys",
            "API key",
            "project_id identity_id plan_id kind environment owner name foreign_lookup retires_at",
            "project_id identity_id plan_id kind environment owner name tag",
        ),
        _table(Factors, "factors", "set of factors", "user_id", "user_id"),
        _table(Link, "user_links", "link", "user_id issuer subject", "user_id issuer subject"),
        _table(Session, "sessions", "session", "user_id ends_at", "user_id"),
        _table(
            Grant,
            "grants",
            "grant",
            "user_id client_id project_id ends_at",
            "user_id client_id project_id",
        ),
        _table(
            User,
            "users",
            "user",
            "email",
            "email",
            (("factors", "user_id"), ("user_links", "user_id"), ("sessions", "user_id"), ("grants", "user_id")),
        ),
        _table(
            Client,
            "clients",
            "client",
            "project_id name origin",
            "project_id name origin",
            (("grants", "client_id"),),
        ),
        _table(
            Delivery,
            "webhook_deliveries",
            "message",
            "webhook_id project_id status due_at ends_at",
            "webhook_id project_id status",
        ),
        _table(Webhook, "webhooks", "webhook", "project_id", "project_id", (("webhook_deliveries", "webhook_id"),)),
        _table(
            Incident,
            "incidents",
            "incident",
            "subject project_id kind environment status key_id ends_at",
            "subject project_id kind environment status key_id",
        ),
        _table(LeakPolicy, "leak_policies", "leak policy", "project_id", "project_id"),
        _table(SigningKey, "signing_keys", "signing key", "", ""),
        _table(Upstream, "upstreams", "provider", "issuer", "issuer"),
        _table(Route, "routes", "route", "name", "name"),
        _table(UpstreamSecret, "upstream_secrets", "upstream secret", "name", "name"),
        _table(
            Identity,
            "identities",
            "identity",
            "project_id external_id",
            "project_id external_id",
            (("api_keys", "identity_id"),),
        ),
        _table(
            Project,
            "projects",
            "project",
            "name plan_id",
            "name plan_id",
            (
                ("api_keys", "project_id"),
                ("identities", "project_id"),
                ("grants", "project_id"),
                ("clients", "project_id"),
                ("webhooks", "project_id"),
                ("incidents", "project_id"),
                ("leak_policies", "project_id"),
            ),
        ),
        _table(Api, "apis", "API", "identifier name default_plan_id", "identifier name"),
        _table(
            Plan,
            "plans",
            "plan",
            "name",
            "name",
            (("api_keys", "plan_id"), ("projects", "plan_id"), ("apis", "default_plan_id")),
        ),
    )
}
"""In the order in which they can be removed: what refers to others comes first."""


def encode(record: Record) -> str:
    """Return the body of a record; raises ``InvalidInput`` for text that cannot be stored."""
    return encode_json(record)


def decode(kind: type[R], body: str) -> R:
    """Return the record that a body holds."""
    try:
        return cast("R", TABLES[kind].decode(body))
    except msgspec.DecodeError as error:
        raise Unavailable("A stored record cannot be read.", detail=f"{kind.__name__}: {error}") from error


def own_values(table: Table, record: Record) -> tuple[Any, ...]:
    """Return what goes into the columns that only this table has."""
    computed = table.computed
    return table.read(record) if computed is None else (*table.read(record), computed(record))


def check_query(kind: type[R], query: Query) -> Table:
    """Return the table of a kind; raises ``InvalidInput`` for a field that cannot be searched or a senseless limit."""
    table = TABLES[kind]
    for field in query.where:
        if field not in table.fields:
            raise InvalidInput.of(field, f"cannot be searched; one of {', '.join(sorted(table.fields))} can")
    if query.limit < 1:
        raise InvalidInput.of("limit", "must be at least 1")
    return table


@lru_cache(256)
def page_statement(table: Table, fields: tuple[str, ...], follows: bool) -> str:
    """Return the statement that lists a page. Its arguments: the values of ``fields``, the id before, the limit."""
    conditions = [
        "id IN (SELECT key_id FROM key_tags WHERE tag = ?)" if field == "tag" else f"{field} = ?" for field in fields
    ]
    if "state" not in fields:
        conditions.append(f"state <> '{State.DELETED.value}'")
    if follows:
        conditions.append("id > ?")
    where = " AND ".join(conditions)
    return f"SELECT body FROM {table.name} WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608
