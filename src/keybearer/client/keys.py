"""API keys: create, change, rotate, revoke, and import those that exist elsewhere."""

# ruff: noqa: A002 (parameters have the names of the wire: id, credits)

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from ..core.records import Environment, KeyKind
from ..core.secret import Secret
from ..wire.base import Response
from ..wire.keys import (
    CreateKey,
    ImportKey,
    ImportProgress,
    ImportReport,
    KeyView,
    RestrictionsSpec,
    RevokeKey,
    RotateKey,
    UpdateKey,
)
from ..wire.limits import CreditsSpec, CreditsView, QuotaSpec, RateLimitSpec
from .call import Call, Duration, Pages, Stream, encode_body, listed, once, query, seconds
from .operation import D, operation, series
from .records import Records, StateName, credits_call, given_dict, given_list

Kind = KeyKind | Literal["secret_key", "publishable_key"]
EnvironmentName = Environment | Literal["live", "test"]


class IssuedKey(Response):
    """A key and, this once, its secret: ``credential.reveal()``. The ``repr`` does not show it."""

    key: KeyView
    credential: Secret


class Keys(Records[D, KeyView]):
    """API keys."""

    _path = "/v1/keys"
    _view = KeyView

    @operation
    def create(
        self,
        *,
        project_id: str,
        name: str,
        kind: Kind = KeyKind.SECRET_KEY,
        environment: EnvironmentName = Environment.LIVE,
        owner: str | None = None,
        identity_id: str | None = None,
        plan_id: str | None = None,
        permissions: Sequence[str] = (),
        restrictions: RestrictionsSpec | None = None,
        limits: Sequence[RateLimitSpec] = (),
        quotas: Sequence[QuotaSpec] = (),
        credits: CreditsSpec | None = None,
        expires_at: datetime | None = None,
        expires_in: Duration | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[IssuedKey]:
        """Create a key and return it with its secret, which cannot be shown again.

        A publishable key needs a restriction to an origin, referrer, network or app. ``expires_in`` is seconds or a
        ``timedelta``. To repeat a creation after your own process died, give the same ``idempotency_key`` again.
        """
        body = CreateKey(
            project_id=project_id,
            name=name,
            kind=KeyKind(kind),
            environment=Environment(environment),
            owner=owner,
            identity_id=identity_id,
            plan_id=plan_id,
            permissions=listed(permissions),
            restrictions=restrictions or RestrictionsSpec(),
            limits=listed(limits),
            quotas=listed(quotas),
            credits=credits,
            expires_at=expires_at,
            expires_in=seconds(expires_in),
            tags=listed(tags),
            metadata=dict(metadata or {}),
        )
        return Call("POST", self._path, IssuedKey, body=body, idempotency_key=once(idempotency_key))

    @operation
    def update(
        self,
        id: str,
        *,
        name: str | UnsetType = UNSET,
        owner: str | UnsetType | None = UNSET,
        identity_id: str | UnsetType | None = UNSET,
        plan_id: str | UnsetType | None = UNSET,
        permissions: Sequence[str] | UnsetType = UNSET,
        restrictions: RestrictionsSpec | UnsetType = UNSET,
        limits: Sequence[RateLimitSpec] | UnsetType = UNSET,
        quotas: Sequence[QuotaSpec] | UnsetType = UNSET,
        credits: CreditsSpec | UnsetType | None = UNSET,
        expires_at: datetime | UnsetType | None = UNSET,
        tags: Sequence[str] | UnsetType = UNSET,
        metadata: Mapping[str, Any] | UnsetType = UNSET,
    ) -> Call[KeyView]:
        """Change what is given; ``None`` clears a field, a list or mapping replaces the whole one."""
        body = UpdateKey(
            name=name,
            owner=owner,
            identity_id=identity_id,
            plan_id=plan_id,
            permissions=given_list(permissions),
            restrictions=restrictions,
            limits=given_list(limits),
            quotas=given_list(quotas),
            credits=credits,
            expires_at=expires_at,
            tags=given_list(tags),
            metadata=given_dict(metadata),
        )
        return self._update(id, body)

    @operation
    def rotate(
        self,
        id: str,
        *,
        grace_in: Duration = 86_400,
        quiet_in: Duration | None = None,
        expires_at: datetime | UnsetType | None = UNSET,
        idempotency_key: str | None = None,
    ) -> Call[IssuedKey]:
        """Give a key a new secret. The old one works ``grace_in`` longer, never beyond its own expiry.

        With ``quiet_in`` the old one also ends once it has not been used for so long. ``expires_at`` is the key's new
        expiry, ``None`` for none.
        """
        body = RotateKey(grace_in=seconds(grace_in) or 0, quiet_in=seconds(quiet_in), expires_at=expires_at)
        return Call("POST", f"{self._at(id)}/rotate", IssuedKey, body=body, idempotency_key=once(idempotency_key))

    @operation
    def revoke(self, id: str, *, reason: str = "", wait: bool = False) -> Call[KeyView]:
        """Refuse a key for good. With ``wait`` the answer comes when every node refuses it."""
        body = RevokeKey(wait=wait, reason=reason)
        return Call("POST", f"{self._at(id)}/revoke", KeyView, body=body, idempotent=True)

    @operation
    def revoke_version(self, id: str, number: int, *, reason: str = "", wait: bool = False) -> Call[KeyView]:
        """Refuse one secret of a key for good; its other secrets keep working."""
        body = RevokeKey(wait=wait, reason=reason)
        return Call("POST", f"{self._at(id)}/versions/{int(number)}/revoke", KeyView, body=body, idempotent=True)

    @operation
    def set_credits(self, id: str, *, balance: int | None = None, add: int | None = None) -> Call[CreditsView]:
        """Set the balance, or add to it; exactly one of the two."""
        return credits_call(self._at(id), balance, add)

    @series
    def list(
        self,
        *,
        project_id: str | None = None,
        identity_id: str | None = None,
        plan_id: str | None = None,
        kind: Kind | None = None,
        environment: EnvironmentName | None = None,
        owner: str | None = None,
        name: str | None = None,
        tag: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[KeyView]:
        """Iterate over keys, oldest first, through all pages. Deleted ones only with ``state="deleted"``."""
        return self._pages(
            project_id=project_id,
            identity_id=identity_id,
            plan_id=plan_id,
            kind=kind,
            environment=environment,
            owner=owner,
            name=name,
            tag=tag,
            state=state,
            limit=page_size,
            cursor=cursor,
        )

    @series
    def import_keys(
        self, lines: Iterable[ImportKey | Mapping[str, Any] | bytes], *, dry_run: bool = False
    ) -> Stream[ImportProgress | ImportReport]:
        """Import keys that exist elsewhere: all of them, or (any refused, or a dry run) none.

        ``lines`` are ``ImportKey`` values, mappings with the same fields, or JSON lines as bytes. Yields
        ``ImportProgress`` now and then, and at the end one ``ImportReport``. Never repeated by
        itself: after ``Unreachable``, look before importing again.
        """
        return Stream(
            f"{self._path}/import",
            ImportProgress | ImportReport,
            (import_line(line) for line in lines),
            lambda item: isinstance(item, ImportReport),
            query(dry_run=dry_run),
        )


def import_line(line: msgspec.Struct | Mapping[str, Any] | bytes) -> bytes:
    """Return one line of an import as JSON."""
    if isinstance(line, bytes):
        return line.rstrip(b"\r\n") + b"\n"
    return (msgspec.json.encode(line) if isinstance(line, Mapping) else encode_body(line)) + b"\n"
