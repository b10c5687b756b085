"""How tokens lie in rows: what is joined or searched in columns, the rest by position and without names.

There are many such rows, and each byte counts that many times. A field is only ever added at the end, with a default:
rows of before are read by the same positions. Times and durations are microseconds.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..core.artefacts import Artefact, ArtefactKind
from ..core.clients import CLIENT_ID
from ..core.errors import InvalidInput, Unavailable
from ..core.grants import GRANT_ID
from ..core.instant import Instant
from ..core.records import KEY_ID, PROJECT_ID
from ..core.sessions import SESSION_ID
from ..core.tokens import FAMILY_ID, AccessToken, TokenFamily
from ..core.users import USER_ID
from .session import Row

CLAIMED_COLUMNS: Final = ("client_id", "api_id", "user_id", "grant_id", "session_id", "family_id")
TOKEN_COLUMNS: Final = ("id", *CLAIMED_COLUMNS, "key_id")
FAMILY_LINKS: Final = ("client_id", "user_id", "grant_id", "session_id", "key_id")
"""By what families can be revoked."""
FAMILY_COLUMNS: Final = ("id", *FAMILY_LINKS, "generation", "revoked_at")
ARTEFACT_COLUMNS: Final = (
    *("kind", "id", "created_at", "expires_at", "digest", "pepper_id", "subject", "body", "attempts", "used_at"),
)

_PREFIXES: Final = {
    "id": FAMILY_ID,
    "client_id": CLIENT_ID,
    "user_id": USER_ID,
    "grant_id": GRANT_ID,
    "session_id": SESSION_ID,
    "key_id": KEY_ID,
    "project_id": PROJECT_ID,
}
"""What the ids in a family's row and its indexes go without: the column says of what kind an id is."""

_Details = tuple[dict[str, Any], ...]


class _Body(msgspec.Struct, array_like=True, omit_defaults=True, frozen=True):
    """Written by position, and cut off after the last field that differs from its default."""


class _TokenBody(_Body, frozen=True):
    project_id: str
    issued_at: int
    expires_at: int
    subject: str | None  # null when it is the user's id, as it nearly always is
    digest: bytes
    pepper_id: str
    scopes: tuple[str, ...] = ()
    authenticated_at: int | None = None
    amr: tuple[str, ...] = ()
    acr: str = ""
    key_thumbprint: str = ""
    certificate_thumbprint: str = ""
    authorization_details: _Details = ()
    actor: dict[str, Any] | None = None
    requested_claims: dict[str, Any] | None = None
    key_version: int = 0


class _FamilyBody(_Body, frozen=True):
    project_id: str
    created_at: int
    rotated_at: int
    expires_at: int
    idle_in: int
    subject: str | None
    digest: bytes
    pepper_id: str
    scopes: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    authenticated_at: int | None = None
    amr: tuple[str, ...] = ()
    acr: str = ""
    nonce: str = ""
    key_thumbprint: str = ""
    certificate_thumbprint: str = ""
    authorization_details: _Details = ()
    claims: dict[str, Any] | None = None


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_token: Final = msgspec.msgpack.Decoder(_TokenBody).decode
_decode_family: Final = msgspec.msgpack.Decoder(_FamilyBody).decode


def short(column: str, record_id: str | None) -> str | None:
    """Return how an id stands in a family's row; one without the usual prefix is kept whole, behind a mark."""
    if record_id is None:
        return None
    bare = record_id.removeprefix(_PREFIXES[column])
    return bare if len(bare) < len(record_id) and not bare.startswith("_") else "_" + record_id


def whole(column: str, stored: str | None) -> str | None:
    """Return the id that stands in a family's row like this."""
    if stored is None:
        return None
    return stored[1:] if stored.startswith("_") else _PREFIXES[column] + stored


def token_values(token: AccessToken) -> tuple[Any, ...]:
    """Return the columns of an access token and its body; raises ``InvalidInput`` for what cannot be stored."""
    return (token.id, *claimed_values(token), token.key_id, _body(_TokenBody, token))


def claimed_values(token: AccessToken) -> tuple[str | None, ...]:
    """Return the columns by which a token is joined, in the order of ``CLAIMED_COLUMNS``."""
    links = (token.client_id, token.api_id, token.user_id, token.grant_id, token.session_id)
    return (*links, short("id", token.family_id))


def token_of(row: Row) -> AccessToken:
    """Return the access token of a row: its columns and its body, in the order of :func:`token_values`."""
    *columns, body = row
    try:
        rest = msgspec.structs.asdict(_decode_token(body))
    except msgspec.DecodeError as error:
        raise Unavailable("A stored token cannot be read.", detail=str(error)) from error
    fields = dict(zip(TOKEN_COLUMNS, columns, strict=True)) | rest
    fields["family_id"] = whole("id", fields["family_id"])
    return AccessToken(**_with_subject(fields))


def ends_at(family: TokenFamily) -> Instant:
    """Return when a family ends or ended, by itself or by revocation."""
    ends = min(family.expires_at, family.rotated_at + family.idle_in)
    return Instant(ends if family.revoked_at is None else min(ends, family.revoked_at))


def family_values(family: TokenFamily) -> tuple[Any, ...]:
    """Return the columns of a family, its end and its body; raises ``InvalidInput`` for what cannot be stored."""
    columns = tuple(
        short(column, getattr(family, column)) if column in _PREFIXES else getattr(family, column)
        for column in FAMILY_COLUMNS
    )
    return (*columns, ends_at(family), _body(_FamilyBody, family))


def family_of(row: Row, successor: Row | None) -> TokenFamily:
    """Return the family of a row (its columns and its body) and of the row of its successor, if there still is one."""
    *columns, body = row
    try:
        rest = msgspec.structs.asdict(_decode_family(body))
    except msgspec.DecodeError as error:
        raise Unavailable("A stored family of tokens cannot be read.", detail=str(error)) from error
    fields = dict(zip(FAMILY_COLUMNS, columns, strict=True)) | rest
    for column in _PREFIXES:
        fields[column] = whole(column, fields[column])
    if successor is not None and successor[0] == fields["rotated_at"]:  # else it was read after a later rotation
        fields["previous_digest"], fields["sealed_successor"] = bytes(successor[1]), bytes(successor[2])
    return TokenFamily(**_with_subject(fields))


def artefact_values(artefact: Artefact) -> tuple[Any, ...]:
    """Return the columns of an artefact."""
    return tuple(getattr(artefact, column) for column in ARTEFACT_COLUMNS)


def artefact_of(row: Row) -> Artefact:
    """Return the artefact of a row, its columns in order."""
    kind, artefact_id, created_at, expires_at, digest, pepper_id, subject, body, attempts, used_at = row
    return Artefact(
        ArtefactKind(kind),
        *(artefact_id, created_at, expires_at, bytes(digest), pepper_id, subject, bytes(body), attempts, used_at),
    )


def _body(kind: type[_Body], value: Any) -> bytes:
    fields = {name: getattr(value, name) for name in kind.__struct_fields__}
    if fields["subject"] == value.user_id:
        fields["subject"] = None
    if kind is _FamilyBody:
        fields["project_id"] = short("project_id", value.project_id)
    try:
        return _encode(kind(**fields))
    except (UnicodeEncodeError, OverflowError) as error:
        raise InvalidInput.of("token", "holds text or a number that cannot be stored") from error


def _with_subject(fields: dict[str, Any]) -> dict[str, Any]:
    if fields["subject"] is None:
        fields["subject"] = fields["user_id"]
    return fields
