"""Tokens, families and artefacts in memory. They are kept as the rows that the SQL engines would keep."""

from __future__ import annotations

from ..core.artefacts import Artefact, ArtefactKind
from ..core.clients import Client
from ..core.errors import Conflict, NotFound
from ..core.grants import Grant
from ..core.instant import Instant
from ..core.lifecycle import revoke_family
from ..core.records import Api, KeyRecord, Plan, Project
from ..core.sessions import Session
from ..core.tokens import AccessToken, TokenFamily, TokenRecord, token_record
from ..core.users import User
from .memory_tables import MemoryTables
from .storable import require_storable
from .token_rows import FAMILY_COLUMNS, TOKEN_COLUMNS, artefact_values, family_of, family_values, token_of, token_values
from .tokens import check_link


def find_token(tables: MemoryTables, token: AccessToken | None, key: KeyRecord | None, head: int) -> TokenRecord | None:
    """Return a token joined with all it depends on; ``key`` is the record of its key."""
    client = None if token is None else tables.records[Client].get(token.client_id)
    if token is None or client is None:
        return None
    project = tables.records[Project][client.project_id]
    family = None if token.family_id is None else tables.families.get(token.family_id)
    return token_record(
        head,
        token,
        client,
        project,
        api=tables.found(Api, token.api_id),
        user=tables.found(User, token.user_id),
        grant=tables.found(Grant, token.grant_id),
        session=tables.found(Session, token.session_id),
        key=key,
        plan=tables.found(Plan, project.plan_id),
        is_revoked=token.id in tables.revoked
        or (token.family_id is not None and (family is None or family.revoked_at is not None)),
    )


def add_token(tables: MemoryTables, token: AccessToken) -> None:
    """Store an access token."""
    values = token_values(token)
    require_storable(values)
    if token.id in tables.tokens:
        raise Conflict("The change clashes with a record that exists.")
    tables.tokens[token.id] = token_of(values[: len(TOKEN_COLUMNS) + 1])


def revoke_token(tables: MemoryTables, token_id: str, expires_at: Instant) -> bool:
    """Refuse an access token; false when it already is."""
    require_storable((token_id, expires_at))
    is_new = token_id not in tables.revoked
    if is_new:
        tables.revoked[token_id] = expires_at
    return is_new


def get_family(tables: MemoryTables, family_id: str) -> TokenFamily:
    """Return a family."""
    require_storable((family_id,))
    family = tables.families.get(family_id)
    if family is None:
        raise NotFound("token family", family_id)
    return family


def put_family(tables: MemoryTables, family: TokenFamily, generation: int | None) -> None:
    """Store a new family, or replace one of this generation."""
    before = tables.families.get(family.id)
    if generation is None and before is not None:
        raise Conflict("The change clashes with a record that exists.")
    if generation is not None and (before is None or before.generation != generation):
        raise Conflict("This refresh token was used meanwhile.")
    values = family_values(family)
    require_storable(values)
    successor = (family.rotated_at, family.previous_digest, family.sealed_successor)
    tables.families[family.id] = family_of((*values[: len(FAMILY_COLUMNS)], values[-1]), successor)


def revoke_families(tables: MemoryTables, column: str, value: str, now: Instant) -> tuple[str, ...]:
    """Revoke the families that a column names, and return their ids."""
    check_link(column)
    require_storable((value, now))
    found = [one for one in tables.families.values() if getattr(one, column) == value and one.revoked_at is None]
    for family in found:
        tables.families[family.id] = revoke_family(family, now)
    return tuple(sorted(family.id for family in found))


def get_artefact(tables: MemoryTables, kind: ArtefactKind, artefact_id: str) -> Artefact:
    """Return an artefact."""
    require_storable((artefact_id,))
    artefact = tables.artefacts.get((kind, artefact_id))
    if artefact is None:
        raise NotFound(kind.value.replace("_", " "), artefact_id)
    return artefact


def put_artefact(tables: MemoryTables, artefact: Artefact, *, is_new: bool) -> None:
    """Store a new artefact, or replace one."""
    require_storable(artefact_values(artefact))
    key = (artefact.kind, artefact.id)
    if is_new and key in tables.artefacts:
        raise Conflict("This was seen before.")
    if not is_new and key not in tables.artefacts:
        raise NotFound(artefact.kind.value.replace("_", " "), artefact.id)
    tables.artefacts[key] = artefact


def remove_artefacts(tables: MemoryTables, kind: ArtefactKind, subject: str) -> int:
    """Remove all artefacts of a kind that belong to a subject."""
    require_storable((subject,))
    found = [key for key, one in tables.artefacts.items() if subject and one.kind is kind and one.subject == subject]
    for key in found:
        del tables.artefacts[key]
    return len(found)
