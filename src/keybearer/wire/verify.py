"""Verify, refund, whoami and revoke-mine as they travel."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from ..core.errors import Code
from ..core.records import CredentialKind, Environment
from .base import Count, Id, LimitName, Metadata, PermissionText, Request, Response, SecondsOrZero, Tag
from .keys import AndroidAppSpec, RestrictionsSpec
from .limits import LimitView, QuotaSpec, RateLimitSpec

Header = Annotated[str, Meta(max_length=2048)]
RequestId = Annotated[str, Meta(min_length=1, max_length=128)]


class LimitCost(Request):
    """A named limit or quota to take from, and how much."""

    name: LimitName
    cost: Count = 1


class CreditCost(Request):
    """How many credits the request costs; 0 only looks."""

    cost: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 1


class VerifyRequest(Request):
    """Ask whether a credential opens a door. Only ``credential`` is needed; whatever else is given must hold too.

    ``remember`` is for guards that follow the event stream: a yes then says what they may remember.
    """

    credential: Annotated[str, Meta(min_length=1, max_length=4096)]
    accept: list[CredentialKind] | None = None
    api: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    permissions: (
        Annotated[list[PermissionText], Meta(max_length=100)] | Annotated[str, Meta(max_length=1024)] | None
    ) = None
    limits: Annotated[list[LimitCost], Meta(max_length=20)] = []
    cost: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 1
    credits: CreditCost | None = None
    client_ip: Annotated[str, Meta(max_length=64)] | None = None
    origin: Header | None = None
    referrer: Header | None = None
    android_app: AndroidAppSpec | None = None
    ios_bundle_id: Annotated[str, Meta(max_length=255)] | None = None
    method: Annotated[str, Meta(max_length=20)] | None = None
    url: Annotated[str, Meta(max_length=8192)] | None = None
    dpop: Annotated[str, Meta(max_length=8192)] | None = None
    certificate_thumbprint: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$")] | None = None
    acr_values: Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(max_length=10)] = []
    max_age: SecondsOrZero | None = None
    request_id: RequestId | None = None
    tags: Annotated[list[Tag], Meta(max_length=10)] = []
    remember: bool = False

    def __repr__(self) -> str:
        return f"VerifyRequest(credential=[redacted], api={self.api!r})"


class IdentityRef(Response):
    """The identity of a principal."""

    id: str
    external_id: str


class PrincipalView(Response, omit_defaults=True):
    """Who calls. What comes after ``identity`` is there for access tokens only."""

    project_id: str
    project_name: str
    owner: str | None
    identity: IdentityRef | None
    subject: str | None = None
    user_id: str | None = None
    client_id: str | None = None
    session_id: str | None = None
    key_id: str | None = None
    act: Metadata | None = None
    auth_time: datetime | None = None
    acr: str | None = None
    amr: list[str] = []


class CredentialView(Response):
    """Which credential was presented; nothing here is secret."""

    id: str
    name: str
    environment: Environment
    expires_at: datetime | None
    version: int


class CreditsLeft(Response):
    """Credits after the request."""

    remaining: int


class RememberedLimit(Response):
    """A rate limit that every use takes from: one unit comes back in ``emission_ns``."""

    bucket: str
    name: str
    limit: int
    burst: int
    emission_ns: int


class StandingView(Response, omit_defaults=True):
    """What a guard may remember of a credential until ``until``, or an event behind ``seq`` about ``depends_on``.

    ``source_until`` is when what a token comes from ends. With ``ask`` something durable is counted: each use is asked.
    """

    seq: int
    depends_on: list[str]
    api_ids: list[str]
    until: datetime | None = None
    source_until: datetime | None = None
    restrictions: RestrictionsSpec | None = None
    limits: list[RememberedLimit] = []
    ask: bool = False


class VerifyResponse(Response, omit_defaults=True):
    """The answer, always with status 200. Everything but ``valid`` and ``code`` is there only once the digest
    matched."""

    valid: bool
    code: Code
    message: str | None = None
    kind: CredentialKind | None = None
    principal: PrincipalView | None = None
    credential: CredentialView | None = None
    permissions: list[str] | None = None
    scope: str | None = None
    authorization_details: list[Metadata] = []
    limits: list[LimitView] = []
    credits: CreditsLeft | None = None
    metadata: Metadata | None = None
    missing: list[str] = []
    retry_after: int | None = None
    replayed: bool = False
    standing: StandingView | None = None


class RefundRequest(Request):
    """Give back what a request took and did not use; works once, within a day."""

    key_id: Id
    request_id: RequestId


class RefundResponse(Response):
    """Whether the charge was given back now."""

    refunded: bool


class Whoami(Response):
    """What the holder of a key or an access token may know about it. The user and the client are those of a token."""

    id: str
    name: str
    kind: CredentialKind
    environment: Environment
    version: int
    project_id: str
    project_name: str
    owner: str | None
    permissions: list[str]
    expires_at: datetime | None
    version_expires_at: datetime | None
    credits: CreditsLeft | None
    limits: list[RateLimitSpec]
    quotas: list[QuotaSpec]
    user_id: str | None = None
    client_id: str | None = None


class RevokeMine(Request):
    """Burn the presented key."""

    reason: Annotated[str, Meta(max_length=500)] = ""
    wait: bool = False


class RevokedMine(Response):
    """Which key was burnt."""

    id: str
    revoked: bool
