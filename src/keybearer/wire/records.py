"""APIs, projects, plans and identities as they travel: create, update, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..core.records import CredentialKind, State, TokenFormat
from .base import Id, Metadata, Name, PermissionText, Request, Response, Seconds, Text
from .limits import CreditsSpec, CreditsView, QuotaSpec, RateLimitSpec

ApiIdentifier = Annotated[
    str, Meta(min_length=1, max_length=255, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+$(?!\n)")
]
HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$(?!\n)")]
CookieName = Annotated[str, Meta(pattern=r"^(__Host-[A-Za-z0-9_-]{1,64})?$(?!\n)")]
Brand = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]{1,15}$(?!\n)")]
Many = Meta(max_length=200)


class PermissionSpec(Request, omit_defaults=True):
    """A permission of an API, and a scope that clients may ask for.

    Without ``read_only``, names that end in read, list, get or view are read-only. A ``restricted`` one is granted only
    to users who hold it.
    """

    name: PermissionText
    description: Text = ""
    read_only: bool | None = None
    restricted: bool = False


class CreateApi(Request):
    """Register a resource server. ``identifier`` is its audience URI and never changes.

    ``token_cookie`` names the ``__Host-`` cookie that may carry an access token; empty: none may.
    """

    identifier: ApiIdentifier
    name: Name
    permissions: Annotated[list[PermissionSpec], Many] = []
    accepts: list[CredentialKind] = msgspec.field(default_factory=lambda: list(CredentialKind))
    token_format: TokenFormat = TokenFormat.OPAQUE
    token_in: Seconds | None = None
    key_header: HeaderName = "x-api-key"
    allow_publishable_in_query: bool = False
    token_cookie: CookieName = ""
    default_plan_id: Id | None = None
    metadata: Metadata = {}


class UpdateApi(Request):
    """Change an API."""

    name: Name | UnsetType = UNSET
    permissions: Annotated[list[PermissionSpec], Many] | UnsetType = UNSET
    accepts: list[CredentialKind] | UnsetType = UNSET
    token_format: TokenFormat | UnsetType = UNSET
    token_in: Seconds | UnsetType | None = UNSET
    key_header: HeaderName | UnsetType = UNSET
    allow_publishable_in_query: bool | UnsetType = UNSET
    token_cookie: CookieName | UnsetType = UNSET
    default_plan_id: Id | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET


class PermissionView(Response):
    """A permission that an API understands."""

    name: str
    description: str
    read_only: bool
    restricted: bool


class RecordView(Response):
    """What every record shows."""

    id: str
    state: State
    revision: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class ApiView(RecordView):
    """A resource server."""

    identifier: str
    name: str
    permissions: list[PermissionView]
    accepts: list[CredentialKind]
    token_format: TokenFormat
    token_in: int | None
    key_header: str
    allow_publishable_in_query: bool
    token_cookie: str
    default_plan_id: str | None
    metadata: Metadata


class CreateProject(Request):
    """Register a calling application or site. ``brand`` stands in place of ``kb`` in its keys."""

    name: Name
    brand: Brand = "kb"
    enabled_apis: Annotated[list[Id], Many] = []
    plan_id: Id | None = None
    metadata: Metadata = {}


class UpdateProject(Request):
    """Change a project. A new ``brand`` holds for keys made from now on."""

    name: Name | UnsetType = UNSET
    brand: Brand | UnsetType = UNSET
    enabled_apis: Annotated[list[Id], Many] | UnsetType = UNSET
    plan_id: Id | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET


class ProjectView(RecordView):
    """A calling application or site."""

    name: str
    brand: str
    enabled_apis: list[str]
    plan_id: str | None
    metadata: Metadata


class CreatePlan(Request):
    """Name a set of limits and quotas that projects can share."""

    name: Name
    limits: Annotated[list[RateLimitSpec], Meta(max_length=20)] = []
    quotas: Annotated[list[QuotaSpec], Meta(max_length=20)] = []
    metadata: Metadata = {}


class UpdatePlan(Request):
    """Change a plan; it holds at once for all who have it."""

    name: Name | UnsetType = UNSET
    limits: Annotated[list[RateLimitSpec], Meta(max_length=20)] | UnsetType = UNSET
    quotas: Annotated[list[QuotaSpec], Meta(max_length=20)] | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class PlanView(RecordView):
    """Named limits and quotas."""

    name: str
    limits: list[RateLimitSpec]
    quotas: list[QuotaSpec]
    metadata: Metadata


class CreateIdentity(Request):
    """Register an external subject whose keys share limits and credits."""

    project_id: Id
    external_id: Annotated[str, Meta(min_length=1, max_length=255)]
    name: Annotated[str, Meta(max_length=200)] = ""
    limits: Annotated[list[RateLimitSpec], Meta(max_length=20)] = []
    quotas: Annotated[list[QuotaSpec], Meta(max_length=20)] = []
    credits: CreditsSpec | None = None
    metadata: Metadata = {}


class UpdateIdentity(Request):
    """Change an identity. ``credits: null`` takes its credits away."""

    name: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    limits: Annotated[list[RateLimitSpec], Meta(max_length=20)] | UnsetType = UNSET
    quotas: Annotated[list[QuotaSpec], Meta(max_length=20)] | UnsetType = UNSET
    credits: CreditsSpec | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET


class IdentityView(RecordView):
    """An external subject."""

    project_id: str
    external_id: str
    name: str
    limits: list[RateLimitSpec]
    quotas: list[QuotaSpec]
    credits: CreditsView | None
    metadata: Metadata
