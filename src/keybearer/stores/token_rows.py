"""How tokens lie in rows: what is joined or searched in columns, the rest by position and without names.

There are many such rows, and each byte counts that many times. A field is only ever added at the end, with a default:
rows of before are read by the same positions. Times and durations are microseconds.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..core.artefacts import Artefact, ArtefactKind
from ..core.errors import InvalidInput, Unavailable
from ..core.instant import Instant
from ..core.tokens import AccessToken, TokenFamily
from .session import Row

TOKEN_COLUMNS: Final = ("id", "client_id", "api_id", "user_id", "grant_id", "session_id", "family_id", "key_id")
FAMILY_LINKS: Final = ("client_id", "user_id", "grant_id", "session_id", "key_id")
"""By what families can be revoked."""
FAMILY_COLUMNS: Final = ("id", *FAMILY_LINKS, "generation", "revoked_at")
ARTEFACT_COLUMNS: Final = (
    *("kind", "id", "created_at", "expires_at", "digest", "pepper_id", "subject", "body", "attempts", "used_at"),
)

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
    previous_digest: bytes = b""
    sealed_successor: bytes = b""
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


def token_values(token: AccessToken) -> tuple[Any, ...]:
    """Return the columns of an access token and its body; raises ``InvalidInput`` for what cannot be stored."""
    columns = tuple(getattr(token, column) for column in TOKEN_COLUMNS)
    return (*columns, _body(_TokenBody, token))


def token_of(row: Row) -> AccessToken:
    """Return the access token of a row: its columns and its body, in the order of :func:`token_values`."""
    *columns, body = row
    try:
        rest = msgspec.structs.asdict(_decode_token(body))
    except msgspec.DecodeError as error:
        raise Unavailable("A stored token cannot be read.", detail=str(error)) from error
    return AccessToken(**_with_subject(dict(zip(TOKEN_COLUMNS, columns, strict=True)) | rest))


def ends_at(family: TokenFamily) -> Instant:
    """Return when a family ends or ended, by itself or by revocation."""
    ends = min(family.expires_at, family.rotated_at + family.idle_in)
    return Instant(ends if family.revoked_at is None else min(ends, family.revoked_at))


def family_values(family: TokenFamily) -> tuple[Any, ...]:
    """Return the columns of a family, its end and its body; raises ``InvalidInput`` for what cannot be stored."""
    columns = tuple(getattr(family, column) for column in FAMILY_COLUMNS)
    return (*columns, ends_at(family), _body(_FamilyBody, family))


def family_of(row: Row) -> TokenFamily:
    """Return the family of a row: its columns and its body."""
    *columns, body = row
    try:
        rest = msgspec.structs.asdict(_decode_family(body))
    except msgspec.DecodeError as error:
        raise Unavailable("A stored family of tokens cannot be read.", detail=str(error)) from error
    return TokenFamily(**_with_subject(dict(zip(FAMILY_COLUMNS, columns, strict=True)) | rest))


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
    try:
        return _encode(kind(**fields))
    except (UnicodeEncodeError, OverflowError) as error:
        raise InvalidInput.of("token", "holds text or a number that cannot be stored") from error


def _with_subject(fields: dict[str, Any]) -> dict[str, Any]:
    if fields["subject"] is None:
        fields["subject"] = fields["user_id"]
    return fields
