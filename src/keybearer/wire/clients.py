"""OAuth clients as they travel, in the names of RFC 7591; durations are seconds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..core.clients import ClientAuthMethod, ClientOrigin, GrantType, SubjectType
from .base import Id, Metadata, Name, PermissionText, Request, Response, Seconds, SecondsOrZero
from .limits import QuotaSpec, RateLimitSpec
from .records import RecordView

Uri = Annotated[str, Meta(max_length=2000)]
Uris = Annotated[list[Uri], Meta(max_length=100)]
Scopes = Annotated[list[PermissionText], Meta(max_length=100)]
Limits = Annotated[list[RateLimitSpec], Meta(max_length=20)]
Quotas = Annotated[list[QuotaSpec], Meta(max_length=20)]
Short = Annotated[str, Meta(max_length=255)]
Contacts = Annotated[list[Short], Meta(max_length=20)]
Algorithm = Annotated[str, Meta(max_length=16)]

DEFAULT_GRANTS = (GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN)
TEN_MINUTES = 600
THIRTY_DAYS = 2_592_000
FOURTEEN_DAYS = 1_209_600


class CreateClient(Request, kw_only=True):
    """Register an application. What it may ask for is ``scopes``; users may deselect ``optional_scopes``."""

    project_id: Id
    name: Name
    token_endpoint_auth_method: ClientAuthMethod = ClientAuthMethod.BASIC
    grant_types: list[GrantType] = msgspec.field(default_factory=lambda: list(DEFAULT_GRANTS))
    redirect_uris: Uris = []
    post_logout_redirect_uris: Uris = []
    scopes: Scopes = []
    optional_scopes: Scopes = []
    jwks: Metadata | None = None
    jwks_uri: Uri = ""
    tls_client_auth_subject_dn: Short = ""
    tls_client_auth_san_dns: Short = ""
    tls_client_auth_san_uri: Uri = ""
    tls_client_auth_san_ip: Short = ""
    tls_client_auth_san_email: Short = ""
    tls_client_certificate_bound_access_tokens: bool = False
    dpop_bound_access_tokens: bool = False
    require_pkce: bool = True
    require_pushed_authorization_requests: bool = False
    require_signed_request_object: bool = False
    is_first_party: bool = False
    subject_type: SubjectType = SubjectType.PUBLIC
    sector_identifier_uri: Uri = ""
    id_token_signed_response_alg: Algorithm = "ES256"
    userinfo_signed_response_alg: Algorithm = ""
    introspection_signed_response_alg: Algorithm = ""
    authorization_signed_response_alg: Algorithm = "ES256"
    request_object_signing_alg: Algorithm = ""
    token_endpoint_auth_signing_alg: Algorithm = ""
    default_max_age: SecondsOrZero | None = None
    require_auth_time: bool = False
    backchannel_logout_uri: Uri = ""
    backchannel_logout_session_required: bool = False
    access_token_in: Seconds = TEN_MINUTES
    refresh_token_in: Seconds = THIRTY_DAYS
    refresh_idle_in: Seconds = FOURTEEN_DAYS
    limits: Limits = []
    quotas: Quotas = []
    client_uri: Uri = ""
    logo_uri: Uri = ""
    policy_uri: Uri = ""
    tos_uri: Uri = ""
    contacts: Contacts = []
    metadata: Metadata = {}


class UpdateClient(Request, kw_only=True):
    """Change an application; what is not given stays. Tokens already out feel it at once."""

    name: Name | UnsetType = UNSET
    token_endpoint_auth_method: ClientAuthMethod | UnsetType = UNSET
    grant_types: list[GrantType] | UnsetType = UNSET
    redirect_uris: Uris | UnsetType = UNSET
    post_logout_redirect_uris: Uris | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET
    optional_scopes: Scopes | UnsetType = UNSET
    jwks: Metadata | UnsetType | None = UNSET
    jwks_uri: Uri | UnsetType = UNSET
    tls_client_auth_subject_dn: Short | UnsetType = UNSET
    tls_client_auth_san_dns: Short | UnsetType = UNSET
    tls_client_auth_san_uri: Uri | UnsetType = UNSET
    tls_client_auth_san_ip: Short | UnsetType = UNSET
    tls_client_auth_san_email: Short | UnsetType = UNSET
    tls_client_certificate_bound_access_tokens: bool | UnsetType = UNSET
    dpop_bound_access_tokens: bool | UnsetType = UNSET
    require_pkce: bool | UnsetType = UNSET
    require_pushed_authorization_requests: bool | UnsetType = UNSET
    require_signed_request_object: bool | UnsetType = UNSET
    is_first_party: bool | UnsetType = UNSET
    subject_type: SubjectType | UnsetType = UNSET
    sector_identifier_uri: Uri | UnsetType = UNSET
    id_token_signed_response_alg: Algorithm | UnsetType = UNSET
    userinfo_signed_response_alg: Algorithm | UnsetType = UNSET
    introspection_signed_response_alg: Algorithm | UnsetType = UNSET
    authorization_signed_response_alg: Algorithm | UnsetType = UNSET
    request_object_signing_alg: Algorithm | UnsetType = UNSET
    token_endpoint_auth_signing_alg: Algorithm | UnsetType = UNSET
    default_max_age: SecondsOrZero | UnsetType | None = UNSET
    require_auth_time: bool | UnsetType = UNSET
    backchannel_logout_uri: Uri | UnsetType = UNSET
    backchannel_logout_session_required: bool | UnsetType = UNSET
    access_token_in: Seconds | UnsetType = UNSET
    refresh_token_in: Seconds | UnsetType = UNSET
    refresh_idle_in: Seconds | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    quotas: Quotas | UnsetType = UNSET
    client_uri: Uri | UnsetType = UNSET
    logo_uri: Uri | UnsetType = UNSET
    policy_uri: Uri | UnsetType = UNSET
    tos_uri: Uri | UnsetType = UNSET
    contacts: Contacts | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class ClientSecretView(Response):
    """One secret of a client; the secret itself is never shown again."""

    number: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class ClientView(RecordView, kw_only=True):
    """An application."""

    project_id: str
    name: str
    origin: ClientOrigin
    revoked_at: datetime | None
    secrets: list[ClientSecretView]
    token_endpoint_auth_method: ClientAuthMethod
    grant_types: list[GrantType]
    redirect_uris: list[str]
    post_logout_redirect_uris: list[str]
    scopes: list[str]
    optional_scopes: list[str]
    jwks: Metadata | None
    jwks_uri: str
    tls_client_auth_subject_dn: str
    tls_client_auth_san_dns: str
    tls_client_auth_san_uri: str
    tls_client_auth_san_ip: str
    tls_client_auth_san_email: str
    tls_client_certificate_bound_access_tokens: bool
    dpop_bound_access_tokens: bool
    require_pkce: bool
    require_pushed_authorization_requests: bool
    require_signed_request_object: bool
    is_first_party: bool
    subject_type: SubjectType
    sector_identifier_uri: str
    id_token_signed_response_alg: str
    userinfo_signed_response_alg: str
    introspection_signed_response_alg: str
    authorization_signed_response_alg: str
    request_object_signing_alg: str
    token_endpoint_auth_signing_alg: str
    default_max_age: int | None
    require_auth_time: bool
    backchannel_logout_uri: str
    backchannel_logout_session_required: bool
    access_token_in: int
    refresh_token_in: int
    refresh_idle_in: int
    limits: list[RateLimitSpec]
    quotas: list[QuotaSpec]
    client_uri: str
    logo_uri: str
    policy_uri: str
    tos_uri: str
    contacts: list[str]
    metadata: Metadata


class IssuedClient(Response):
    """A client and, this once, its secret; ``None`` for clients that have none."""

    client: ClientView
    client_secret: str | None


class RotateClientSecret(Request):
    """Give a client a new secret; the old ones work ``grace_in`` seconds longer."""

    grace_in: SecondsOrZero = 86_400
