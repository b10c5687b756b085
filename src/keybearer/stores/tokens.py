"""Tokens, families and artefacts through a session, the hot join of an access token with all it depends on included."""

from __future__ import annotations

from typing import Any, Final

from ..core.artefacts import Artefact, ArtefactKind
from ..core.clients import Client
from ..core.errors import Conflict, InvalidInput, NotFound
from ..core.grants import Grant
from ..core.instant import Instant
from ..core.records import Api, KeyRecord, Plan, Project
from ..core.sessions import Session as UserSession
from ..core.tokens import AccessToken, TokenFamily, TokenRecord, token_record
from ..core.users import User
from . import recordkeeping
from .recordkeeping import read_shared
from .session import Row, Session, marks
from .tables import decode
from .token_rows import (
    ARTEFACT_COLUMNS,
    CLAIMED_COLUMNS,
    FAMILY_COLUMNS,
    FAMILY_LINKS,
    TOKEN_COLUMNS,
    artefact_of,
    artefact_values,
    claimed_values,
    family_of,
    family_values,
    short,
    token_of,
    token_values,
    whole,
)

_JOINED: Final = """
SELECT {token}, h.head, c.body, p.body, l.body, a.body, u.body, g.body, s.body,
    CASE WHEN r.id IS NOT NULL OR f.revoked_at IS NOT NULL OR (t.family_id IS NOT NULL AND f.id IS NULL)
    THEN 1 ELSE 0 END
FROM {source}
JOIN clients c ON c.id = t.client_id
JOIN projects p ON p.id = c.project_id
LEFT JOIN plans l ON l.id = p.plan_id
LEFT JOIN apis a ON a.id = t.api_id
LEFT JOIN users u ON u.id = t.user_id
LEFT JOIN grants g ON g.id = t.grant_id
LEFT JOIN sessions s ON s.id = t.session_id
LEFT JOIN token_families f ON f.id = t.family_id
LEFT JOIN revoked_tokens r ON r.id = t.id
CROSS JOIN heads h"""

_WIDTH: Final = len(TOKEN_COLUMNS) + 1

FIND_TOKEN: Final = (
    _JOINED.format(token=", ".join(f"t.{column}" for column in (*TOKEN_COLUMNS, "body")), source="access_tokens t")
    + "\nWHERE t.id = ?"
)
FIND_CLAIMED: Final = _JOINED.format(
    token=", ".join(["NULL"] * _WIDTH),
    source=f"(SELECT {', '.join(f'CAST(? AS TEXT) AS {column}' for column in ('id', *CLAIMED_COLUMNS))}) t",
)
"""The same join where a JWT's verified claims stand in for the row."""

_COLUMNS: Final = ", ".join(FAMILY_COLUMNS)
ADD_TOKEN: Final = (
    f"INSERT INTO access_tokens ({', '.join(TOKEN_COLUMNS)}, body) VALUES ({marks(_WIDTH)}) "  # noqa: S608
    "ON CONFLICT DO NOTHING"
)
_REVOKE_TOKEN: Final = "INSERT INTO revoked_tokens (id, expires_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
GET_FAMILY: Final = f"SELECT {_COLUMNS}, body FROM token_families WHERE id = ?"  # noqa: S608
_GET_SUCCESSOR: Final = "SELECT rotated_at, previous_digest, sealed FROM token_successors WHERE family_id = ?"
_PUT_SUCCESSOR: Final = (
    "INSERT INTO token_successors (family_id, rotated_at, previous_digest, sealed) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (family_id) DO UPDATE SET rotated_at = EXCLUDED.rotated_at, "
    "previous_digest = EXCLUDED.previous_digest, sealed = EXCLUDED.sealed"
)
_ADD_FAMILY: Final = (
    f"INSERT INTO token_families ({_COLUMNS}, ends_at, body) VALUES ({marks(len(FAMILY_COLUMNS) + 2)}) "  # noqa: S608
    "ON CONFLICT DO NOTHING"
)
_UPDATE_FAMILY: Final = (
    f"UPDATE token_families SET {', '.join(f'{column} = ?' for column in FAMILY_COLUMNS[1:])}, ends_at = ?, body = ? "  # noqa: S608
    "WHERE id = ? AND generation = ?"
)
_ARTEFACT: Final = ", ".join(ARTEFACT_COLUMNS)
GET_ARTEFACT: Final = f"SELECT {_ARTEFACT} FROM artefacts WHERE kind = ? AND id = ?"  # noqa: S608
_ADD_ARTEFACT: Final = (
    f"INSERT INTO artefacts ({_ARTEFACT}) VALUES ({marks(len(ARTEFACT_COLUMNS))}) ON CONFLICT (kind, id) DO NOTHING"  # noqa: S608
)
_UPDATE_ARTEFACT: Final = (
    f"UPDATE artefacts SET {', '.join(f'{column} = ?' for column in ARTEFACT_COLUMNS[2:])} WHERE kind = ? AND id = ?"  # noqa: S608
)


# The hot join


def question(token_id: str, claimed: AccessToken | None) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that reads a token with all it depends on but its key, and its arguments."""
    if claimed is None:
        return FIND_TOKEN, (token_id,)
    return FIND_CLAIMED, (token_id, *claimed_values(claimed))


def key_id_of(row: Row, claimed: AccessToken | None) -> str | None:
    """Return the id of the key that the token of this row came from."""
    key_id: str | None = row[_WIDTH - 2] if claimed is None else claimed.key_id
    return key_id


def joined(row: Row, claimed: AccessToken | None, key: KeyRecord | None) -> TokenRecord:
    """Return the record that one row of the join holds; ``key`` is what was read of its key, after the row."""
    head, client, project, plan, api, user, grant, session, is_revoked = row[_WIDTH:]
    return token_record(
        head,
        token_of(row[:_WIDTH]) if claimed is None else claimed,
        read_shared(Client, client),
        read_shared(Project, project),
        api=None if api is None else read_shared(Api, api),
        user=None if user is None else decode(User, user),
        grant=None if grant is None else decode(Grant, grant),
        session=None if session is None else decode(UserSession, session),
        key=key,
        plan=None if plan is None else read_shared(Plan, plan),
        is_revoked=bool(is_revoked),
    )


async def find_token(session: Session, token_id: str, claimed: AccessToken | None) -> TokenRecord | None:
    """Return an access token with all it depends on.

    The key that it came from is read by a statement of its own, hence later: the record then says the earlier head, at
    which everything was at least as new.
    """
    statement, arguments = question(token_id, claimed)
    row = await session.fetch_one(statement, *arguments)
    if row is None:
        return None
    key_id = key_id_of(row, claimed)
    return joined(row, claimed, None if key_id is None else await recordkeeping.find(session, key_id))


# Access tokens


async def add_token(session: Session, token: AccessToken) -> None:
    """Store an access token."""
    if not await session.insert(ADD_TOKEN, token_values(token)):
        raise Conflict("There already is such a token.")


async def revoke_token(session: Session, token_id: str, expires_at: Instant) -> bool:
    """Refuse an access token; false when it already is."""
    return bool(await session.execute(_REVOKE_TOKEN, token_id, expires_at))


# Families


async def get_family(session: Session, family_id: str, lock: str = "") -> TokenFamily:
    """Return a family; ``lock`` is what the SELECT appends."""
    row = await session.fetch_one(GET_FAMILY + lock, short("id", family_id))
    if row is None:
        raise NotFound("token family", family_id)
    # By a statement of its own: one that waits for the lock sees the family anew, but not what it is joined with.
    return family_of(row, await session.fetch_one(_GET_SUCCESSOR, row[0]))


async def add_family(session: Session, family: TokenFamily) -> None:
    """Store a new family."""
    if not await session.insert(_ADD_FAMILY, family_values(family)):
        raise Conflict("There already is such a family of tokens.")
    if family.previous_digest or family.sealed_successor:
        await session.execute(_PUT_SUCCESSOR, *_successor_values(family))


async def update_family(session: Session, family: TokenFamily, generation: int) -> None:
    """Replace a family of this generation."""
    stored_id, *values = family_values(family)
    if not await session.execute(_UPDATE_FAMILY, *values, stored_id, generation):
        raise Conflict("This refresh token was used meanwhile.")
    if family.previous_digest or family.sealed_successor:
        await session.execute(_PUT_SUCCESSOR, *_successor_values(family))
    else:
        await session.execute("DELETE FROM token_successors WHERE family_id = ?", stored_id)


def _successor_values(family: TokenFamily) -> tuple[Any, ...]:
    return (short("id", family.id), family.rotated_at, family.previous_digest, family.sealed_successor)


async def revoke_families(session: Session, column: str, value: str, now: Instant) -> tuple[str, ...]:
    """Revoke the families that a column names, and return their ids."""
    check_link(column)
    rows = await session.fetch(
        "UPDATE token_families SET revoked_at = ?, ends_at = CASE WHEN ends_at < ? THEN ends_at ELSE ? END "  # noqa: S608
        f"WHERE {column} = ? AND revoked_at IS NULL RETURNING id",
        *(now, now, now, short(column, value)),
    )
    return tuple(sorted(str(whole("id", row[0])) for row in rows))


def check_link(column: str) -> None:
    """Raise ``InvalidInput`` for a column by which families cannot be revoked."""
    if column not in FAMILY_LINKS:
        raise InvalidInput.of("column", f"must be one of {', '.join(FAMILY_LINKS)}")


# Artefacts


async def get_artefact(session: Session, kind: ArtefactKind, artefact_id: str, lock: str = "") -> Artefact:
    """Return an artefact; ``lock`` is what the SELECT appends."""
    row = await session.fetch_one(GET_ARTEFACT + lock, kind, artefact_id)
    if row is None:
        raise NotFound(kind.value.replace("_", " "), artefact_id)
    return artefact_of(row)


async def add_artefact(session: Session, artefact: Artefact) -> None:
    """Store an artefact; raises ``Conflict`` when its kind has this id."""
    if not await session.insert(_ADD_ARTEFACT, artefact_values(artefact)):
        raise Conflict("This was seen before.")


async def update_artefact(session: Session, artefact: Artefact) -> None:
    """Replace an artefact."""
    kind, artefact_id, *values = artefact_values(artefact)
    if not await session.execute(_UPDATE_ARTEFACT, *values, kind, artefact_id):
        raise NotFound(artefact.kind.value.replace("_", " "), artefact.id)


async def remove_artefacts(session: Session, kind: ArtefactKind, subject: str) -> int:
    """Remove all artefacts of a kind that belong to a subject."""
    return await session.execute(
        "DELETE FROM artefacts WHERE kind = ? AND subject = ? AND subject <> ''", kind, subject
    )
