"""Who calls: what a guard tells the application once a credential was accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..core.permissions import holds
from ..core.records import CredentialKind, Environment
from ..wire.verify import VerifyResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A verified caller. ``kind`` says which credential was presented; what only tokens have is ``None`` for keys.

    ``credential_id`` is public and safe to log. ``subject`` is the ``sub`` of a token; ``user_id`` is ``None`` for a
    client that acts for itself. ``act`` is who acts on the user's behalf (RFC 8693 §4.1). ``claims`` holds what a JWT
    said, where it was read here; ``metadata`` is of the key or the client.
    """

    kind: CredentialKind
    credential_id: str
    project_id: str
    permissions: frozenset[str]
    environment: Environment = Environment.LIVE
    key_id: str | None = None
    owner: str | None = None
    identity: str | None = None
    subject: str | None = None
    user_id: str | None = None
    client_id: str | None = None
    session_id: str | None = None
    scopes: frozenset[str] = frozenset()
    authorization_details: tuple[Mapping[str, Any], ...] = ()
    act: Mapping[str, Any] | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    authenticated_at: datetime | None = None
    expires_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_token(self) -> bool:
        """Whether a user or a client came with an access token, rather than a project with its key."""
        return self.kind is CredentialKind.ACCESS_TOKEN

    def may(self, permission: str) -> bool:
        """Tell whether the caller holds a permission, directly or through a wildcard."""
        return holds(self.permissions, permission)


def caller_of(answer: VerifyResponse) -> Caller:
    """Return who a yes of the authority is about."""
    principal, credential, kind = answer.principal, answer.credential, answer.kind
    assert principal is not None and credential is not None and kind is not None  # noqa: S101, PT018 — a yes has them
    is_token = kind is CredentialKind.ACCESS_TOKEN
    return Caller(
        kind=kind,
        credential_id=credential.id,
        project_id=principal.project_id,
        permissions=frozenset(answer.permissions or ()),
        environment=credential.environment,
        key_id=principal.key_id if is_token else credential.id,
        owner=principal.owner,
        identity=None if principal.identity is None else principal.identity.external_id,
        subject=principal.subject,
        user_id=principal.user_id,
        client_id=principal.client_id,
        session_id=principal.session_id,
        scopes=frozenset((answer.scope or "").split()),
        authorization_details=tuple(answer.authorization_details),
        act=principal.act,
        acr=principal.acr,
        amr=tuple(principal.amr),
        authenticated_at=principal.auth_time,
        expires_at=credential.expires_at,
        metadata=answer.metadata or {},
    )
