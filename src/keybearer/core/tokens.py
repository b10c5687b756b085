"""Access tokens and families of refresh tokens, and the record that a verify reads of a token.

Both are small rows rather than records: many are made, few are ever changed, and all of them expire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from .clients import Client, ClientOrigin
from .grants import Grant
from .instant import Instant
from .own_api import is_own, may
from .permissions import holds
from .records import (
    NO_RESTRICTIONS,
    Api,
    BoundQuota,
    CredentialKind,
    CredentialRecord,
    Environment,
    KeyRecord,
    Plan,
    Project,
    Quota,
    RateLimit,
    SecretVersion,
    Take,
    bind_limits,
)
from .sessions import Session
from .users import User

TOKEN_ID: Final = "at_"
FAMILY_ID: Final = "rt_"

OFFLINE: Final = "offline_access"
"""The scope that lets refresh tokens outlive the session. Spec: OIDC Core §11."""

IDENTITY_SCOPES: Final = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
"""The scopes that say who the user is, rather than what may be done at an API. Spec: OIDC Core §5.4, §11."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """One access token. Its id begins with its expiry, so that what expires together lies together.

    ``digest`` is empty for a JWT, which is not stored: its signature vouches for it. ``subject`` is the ``sub``; of
    ``key_thumbprint`` (RFC 9449) and ``certificate_thumbprint`` (RFC 8705) at most one binds it to its sender.
    ``actor`` is the ``act`` claim (RFC 8693 §4.1), ``requested_claims`` the ``userinfo`` member of the ``claims``
    parameter (OIDC Core §5.5), ``signing_key_id`` the key that signed a JWT. ``key_version`` is the number of the API
    key's secret that was exchanged for the token, and that it dies with; 0 where that was not written down.
    """

    id: str
    client_id: str
    project_id: str
    issued_at: Instant
    expires_at: Instant
    subject: str
    scopes: tuple[str, ...] = ()
    api_id: str | None = None
    user_id: str | None = None
    grant_id: str | None = None
    session_id: str | None = None
    family_id: str | None = None
    key_id: str | None = None
    digest: bytes = b""
    pepper_id: str = ""
    key_thumbprint: str = ""
    certificate_thumbprint: str = ""
    actor: Mapping[str, object] | None = None
    authorization_details: tuple[Mapping[str, object], ...] = ()
    authenticated_at: Instant | None = None
    amr: tuple[str, ...] = ()
    acr: str = ""
    requested_claims: Mapping[str, object] | None = None
    signing_key_id: str = ""
    key_version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFamily:
    """The line of refresh tokens of one grant: only the newest is good, and the one before it for a short grace.

    ``digest`` is of the newest, ``previous_digest`` of the one before; ``sealed_successor`` is what the previous one
    was answered with, sealed under a key that only it can derive. ``expires_at`` is absolute; ``idle_in`` how long the
    newest may lie unused after ``rotated_at``. ``session_id`` is ``None`` with ``offline_access``.
    Spec: RFC 9700 §4.14.
    """

    id: str
    client_id: str
    project_id: str
    user_id: str | None
    subject: str
    created_at: Instant
    rotated_at: Instant
    expires_at: Instant
    idle_in: int
    digest: bytes
    pepper_id: str
    generation: int = 1
    grant_id: str | None = None
    session_id: str | None = None
    key_id: str | None = None
    scopes: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    authorization_details: tuple[Mapping[str, object], ...] = ()
    previous_digest: bytes = b""
    sealed_successor: bytes = b""
    key_thumbprint: str = ""
    certificate_thumbprint: str = ""
    authenticated_at: Instant | None = None
    amr: tuple[str, ...] = ()
    acr: str = ""
    nonce: str = ""
    claims: Mapping[str, object] | None = None
    revoked_at: Instant | None = None

    def is_over(self, now: Instant) -> bool:
        """Tell whether the family has ended by itself, absolutely or because it lay unused."""
        return now >= self.expires_at or now >= self.rotated_at + self.idle_in


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord(CredentialRecord):
    """An access token with all it depends on.

    ``scopes`` are those still in force: asked for and granted, within the client's ceiling, the user's consent as it is
    now, and the user's own permissions; ``permissions`` those of them that the API understands. ``is_revoked`` says
    that the token itself, its family or its origin was revoked.
    """

    token: AccessToken
    client: Client
    api: Api | None
    user: User | None
    grant: Grant | None
    session: Session | None
    key: KeyRecord | None
    scopes: frozenset[str]
    is_revoked: bool

    @property
    def authorization_details(self) -> tuple[Mapping[str, object], ...]:
        """The token's details that are still in force."""
        return details_in_force(self.token.authorization_details, self.grant)

    @property
    def environment(self) -> Environment:
        """Live, unless it comes from a key for tests: what that may reach must not take its token for a live one."""
        return Environment.LIVE if self.key is None else self.key.key.environment

    @property
    def secrets(self) -> tuple[SecretVersion, ...]:
        """The secrets of its key that keep it alive: the one it was exchanged for, if it is known and not revoked."""
        if self.key is None:
            return ()
        number = self.token.key_version
        return tuple(
            version for version in self.key.key.versions if version.revoked_at is None and number in (0, version.number)
        )

    @property
    def ends_at(self) -> Instant:
        """When the token ends by itself: at its own expiry, or with the session, consent or key that it comes from."""
        source = self.source_ends_at
        return self.token.expires_at if source is None else min(self.token.expires_at, source)

    @property
    def source_ends_at(self) -> Instant | None:
        """When the session, consent or key that the token comes from ends, at the earliest."""
        ends: list[Instant | None] = []
        if self.session is not None:
            ends.append(self.session.ends_at)
        if self.grant is not None:
            ends.append(self.grant.expires_at)
        if self.key is not None:
            ends += [self.key.key.expires_at, _end_of_secrets(self.secrets)]
        return min((end for end in ends if end is not None), default=None)


def _end_of_secrets(secrets: tuple[SecretVersion, ...]) -> Instant | None:
    """Return when the last of these secrets runs out, ``None`` when one has no end."""
    ends = [version.expires_at for version in secrets]
    finite = [end for end in ends if end is not None]
    return max(finite) if finite and len(finite) == len(ends) else None


def details_in_force(
    details: tuple[Mapping[str, object], ...], grant: Grant | None
) -> tuple[Mapping[str, object], ...]:
    """Return those authorization details that the user's grant still has. Spec: RFC 9396 §9."""
    return details if grant is None else tuple(one for one in details if one in grant.authorization_details)


def scopes_in_force(
    granted: Iterable[str],
    client: Client,
    api: Api | None,
    user: User | None,
    grant: Grant | None,
    key: KeyRecord | None,
) -> frozenset[str]:
    """Return those of a token's scopes that still hold, as everything it depends on stands now."""
    scopes = frozenset(granted)
    if key is None or client.origin is not ClientOrigin.X_AUTH:
        scopes &= IDENTITY_SCOPES | frozenset(client.scopes)
    if grant is not None:
        scopes &= frozenset(grant.scopes)
    if api is not None:
        understood = {permission.name: permission for permission in api.permissions}
        held = frozenset(user.permissions) if user is not None else None
        scopes = frozenset(
            scope
            for scope in scopes
            if scope in IDENTITY_SCOPES
            or (scope in understood and (held is None or not understood[scope].restricted or _holds(held, scope)))
        )
    if key is not None:
        scopes = frozenset(scope for scope in scopes if scope in IDENTITY_SCOPES or holds(key.permissions, scope))
    return scopes


def _holds(held: frozenset[str], scope: str) -> bool:
    """Tell whether a user holds a restricted permission; an administrator holds all of Keybearer's own."""
    return may(held, scope) if is_own(scope) else holds(held, scope)


def token_record(
    seq: int,
    token: AccessToken,
    client: Client,
    project: Project,
    *,
    api: Api | None = None,
    user: User | None = None,
    grant: Grant | None = None,
    session: Session | None = None,
    key: KeyRecord | None = None,
    plan: Plan | None = None,
    is_revoked: bool = False,
) -> TokenRecord:
    """Join a token with what it depends on. ``plan`` is the project's; with ``key``, limits and credits are the key's.

    ``is_revoked`` is what the store knows of the token and its family; what it points at and is missing counts as
    revoked.
    """
    missing = (
        (token.user_id is not None and user is None)
        or (token.grant_id is not None and grant is None)
        or (token.session_id is not None and session is None)
        or (token.key_id is not None and key is None)
        or (token.api_id is not None and api is None)
    )
    scopes = scopes_in_force(token.scopes, client, api, user, grant, key)
    owners: list[tuple[str, tuple[RateLimit, ...], tuple[Quota, ...]]] = [
        (f"client:{client.id}", client.limits, client.quotas)
    ]
    if grant is not None:
        owners.append((f"grant:{grant.id}", grant.limits, grant.quotas))
    if key is None and plan is not None:
        owners.append((f"project:{project.id}", plan.limits, plan.quotas))
    limits = tuple(bound for owner, own, _ in owners for bound in bind_limits(owner, own))
    quotas = tuple(BoundQuota(owner, quota) for owner, _, own in owners for quota in own)
    depends_on = {token.id, client.id, project.id}
    depends_on |= {
        one
        for one in (token.api_id, token.user_id, token.grant_id, token.session_id, token.family_id, token.key_id)
        if one is not None
    }
    if plan is not None:
        depends_on.add(plan.id)
    if token.signing_key_id:
        depends_on.add(token.signing_key_id)
    if key is not None:
        limits, quotas = key.limits + limits, key.quotas + quotas
        depends_on |= key.depends_on
    credit_owners = key.credit_owners if key is not None else ()
    restrictions = key.restrictions if key is not None else NO_RESTRICTIONS
    return TokenRecord(
        seq=seq if key is None else min(seq, key.seq),
        id=token.id,
        kind=CredentialKind.ACCESS_TOKEN,
        counted_as=token.key_id or client.id,
        project=project,
        plan=plan if key is None else key.plan,
        permissions=scopes - IDENTITY_SCOPES if api is not None else frozenset(),
        restrictions=restrictions,
        networks=key.networks if key is not None else (),
        limits=limits,
        quotas=quotas,
        credit_owners=credit_owners,
        depends_on=frozenset(depends_on),
        standard_takes=tuple(Take(bound, 1) for bound in limits if bound.automatic),
        is_standard=not quotas and not credit_owners,
        is_restricted=restrictions != NO_RESTRICTIONS,
        token=token,
        client=client,
        api=api,
        user=user,
        grant=grant,
        session=session,
        key=key,
        scopes=scopes,
        is_revoked=is_revoked or missing,
    )
