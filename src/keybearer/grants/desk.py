"""What the grants work with: the request of an authenticated client, what it is entitled to, and the desk that issues.

A grant decides *whether* and *how much*; issuing is the desk's, which the token endpoint brings along, so that grants
need not know how tokens are written or signed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple, Protocol

from ..core.authorization_code import AuthorizationCode
from ..core.clients import Client, GrantType
from ..core.form import Form
from ..core.grants import Grant
from ..core.instant import Instant
from ..core.records import Api, KeyRecord, Project, SecretVersion
from ..core.secret import Secret
from ..core.sessions import Session
from ..core.tokens import AccessToken, TokenFamily, TokenRecord
from ..core.users import User
from ..formats.refresh_token import UnverifiedRefreshToken
from ..ports import Keyring, Store, UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """A request at the token endpoint whose client has proved itself.

    ``key_thumbprint`` is of the key of a good DPoP proof, ``certificate_thumbprint`` of the connection's certificate
    where tokens of this client are bound to it; ``apis`` are those that its project may have tokens for.
    """

    client: Client
    project: Project
    apis: tuple[Api, ...]
    form: Form
    now: Instant
    key_thumbprint: str = ""
    certificate_thumbprint: str = ""
    source: IPv4Address | IPv6Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlement:
    """What a token is issued for. ``ends_at`` is the latest that it may live.

    ``scopes`` are all that was granted, of which a token carries those of its API; ``authorization_details`` likewise,
    and ``selected_details`` those that this request picked. ``key_version`` is the secret of ``key`` the token dies
    with. ``renewable`` asks for a family of refresh tokens, which ends with the session unless it is ``offline``;
    ``family`` and ``refresh_token`` are what a refresh goes on with, ``parent_family_id`` is of the token that was
    exchanged. ``sid`` and ``code`` are for the ID token, which comes where ``openid`` was granted. ``claims`` is the
    ``claims`` parameter of the authorization request.
    """

    client: Client
    project: Project
    subject: str
    scopes: tuple[str, ...]
    api: Api | None = None
    resources: tuple[str, ...] = ()
    user: User | None = None
    grant: Grant | None = None
    session: Session | None = None
    key: KeyRecord | None = None
    key_version: int = 0
    actor: Mapping[str, object] | None = None
    authorization_details: tuple[Mapping[str, object], ...] = ()
    selected_details: tuple[Mapping[str, object], ...] = ()
    authenticated_at: Instant | None = None
    amr: tuple[str, ...] = ()
    acr: str = ""
    nonce: str = ""
    claims: Mapping[str, object] | None = None
    key_thumbprint: str = ""
    certificate_thumbprint: str = ""
    ends_at: Instant | None = None
    renewable: bool = False
    offline: bool = False
    family: TokenFamily | None = None
    refresh_token: Secret | None = None
    parent_family_id: str | None = None
    sid: str | None = None
    code: str = ""
    issued_token_type: str = ""


@dataclass(frozen=True, slots=True)
class Issued:
    """What is issued: an opaque token with its secret, or a JWT that is yet to be signed; and a refresh token."""

    entitlement: Entitlement
    token: AccessToken
    opaque: Secret | None
    family: TokenFamily | None = None
    refresh_token: Secret | None = None


class TakenCode(Protocol):
    """An authorization code of the right secret; ``reused`` says that it was taken before."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def code(self) -> AuthorizationCode:
        """What it stands for."""
        ...

    @property
    def reused(self) -> bool:
        """Whether it was taken before."""
        ...


class Desk(Protocol):
    """What the token endpoint does for a grant. Methods that take a unit of work are a part of its transaction."""

    @property
    def store(self) -> Store:
        """Where records lie."""
        ...

    @property
    def keyring(self) -> Keyring:
        """Keys outside the database."""
        ...

    @property
    def audiences(self) -> frozenset[str]:
        """What an assertion for this authority is addressed to."""
        ...

    @property
    def refresh_grace_in(self) -> int:
        """How long the refresh token before the newest is still answered, in microseconds."""
        ...

    def subject_for(self, user: User, client: Client) -> str:
        """Return the ``sub`` that a client sees of a user."""
        ...

    def draft(self, entitlement: Entitlement, request: TokenRequest) -> Issued:
        """Make what is issued; raises ``OAuthError`` where nothing would be left of it."""
        ...

    async def keep(self, uow: UnitOfWork, issued: Issued, request: TokenRequest, *, audited: bool = True) -> None:
        """Write down what is issued."""
        ...

    async def take_code(self, uow: UnitOfWork, text: str, request: TokenRequest) -> TakenCode:
        """Use up an authorization code of this client; raises ``InvalidGrant``."""
        ...

    async def note_given(self, uow: UnitOfWork, code_id: str, issued: Issued) -> None:
        """Remember what a code gave, so that it can be revoked when the code comes again."""
        ...

    async def revoke_given(self, uow: UnitOfWork, code_id: str, request: TokenRequest) -> None:
        """Revoke what a code gave, which came again."""
        ...

    async def revoke_family(self, uow: UnitOfWork, family: TokenFamily, request: TokenRequest, reason: str) -> None:
        """Revoke a family of refresh tokens, and with it the access tokens that came from it."""
        ...

    def rotated(self, family: TokenFamily, presented: str, now: Instant) -> tuple[TokenFamily, Secret]:
        """Return the family with its next refresh token, which is sealed for whoever has the presented one."""
        ...

    def successor(self, family: TokenFamily, presented: str) -> Secret:
        """Return what the presented refresh token, the one before the newest, was answered with."""
        ...

    def is_genuine(self, unverified: UnverifiedRefreshToken) -> bool:
        """Tell whether this authority made a refresh token, however long ago."""
        ...

    async def own_token(self, text: str) -> TokenRecord | None:
        """Return an access token of this authority, whose secret or signature is right; nothing else was checked."""
        ...

    async def own_id_token(self, text: str) -> Mapping[str, Any] | None:
        """Return the claims of an ID token of this authority, expired or not."""
        ...

    async def own_key(self, text: str, request: TokenRequest) -> OwnKey:
        """Return an API key that is good here and now; raises ``InvalidGrant``."""
        ...

    async def keys_of_issuer(self, issuer: str, afresh: bool) -> Sequence[Mapping[str, Any]] | None:
        """Return the keys of a trusted issuer of assertions, ``None`` when it is not trusted."""
        ...


class OwnKey(NamedTuple):
    """An API key that proved itself, and the secret that it did so with."""

    record: KeyRecord
    version: SecretVersion


class Granting(Protocol):
    """One grant of the token endpoint."""

    @property
    def grant_type(self) -> GrantType:
        """Its ``grant_type``."""
        ...

    async def redeem(self, request: TokenRequest, desk: Desk) -> Issued:
        """Check what the request brings, and issue what it is entitled to; raises ``OAuthError``."""
        ...
