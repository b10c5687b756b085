"""Dynamic registration as it travels: client metadata in the names and types of RFC 7591 and OpenID registration.

Not strict, unlike every other body: what is not known here must be ignored. Spec: RFC 7591 §2, OIDC Registration §2.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

Uri = Annotated[str, Meta(max_length=2000)]
Short = Annotated[str, Meta(max_length=255)]
Uris = Annotated[list[Uri], Meta(max_length=100)]


class ClientMetadata(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a client asks for. ``None`` is not given."""

    client_id: Short | None = None
    client_secret: Short | None = None
    redirect_uris: Uris = []
    response_types: Annotated[list[Short], Meta(max_length=10)] | None = None
    grant_types: Annotated[list[Short], Meta(max_length=10)] | None = None
    application_type: Short = "web"
    token_endpoint_auth_method: Short | None = None
    token_endpoint_auth_signing_alg: Short = ""
    client_name: Annotated[str, Meta(max_length=200)] = ""
    client_uri: Uri = ""
    logo_uri: Uri = ""
    policy_uri: Uri = ""
    tos_uri: Uri = ""
    contacts: Annotated[list[Short], Meta(max_length=20)] = []
    scope: Annotated[str, Meta(max_length=4096)] | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: Uri = ""
    post_logout_redirect_uris: Uris = []
    backchannel_logout_uri: Uri = ""
    backchannel_logout_session_required: bool = False
    subject_type: Short = "public"
    sector_identifier_uri: Uri = ""
    id_token_signed_response_alg: Short | None = None
    userinfo_signed_response_alg: Short = ""
    introspection_signed_response_alg: Short = ""
    authorization_signed_response_alg: Short | None = None
    request_object_signing_alg: Short = ""
    default_max_age: Annotated[int, Meta(ge=0, le=315_360_000)] | None = None
    require_auth_time: bool = False
    require_pushed_authorization_requests: bool = False
    require_signed_request_object: bool = False
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False
    tls_client_auth_subject_dn: Short = ""
    tls_client_auth_san_dns: Short = ""
    tls_client_auth_san_uri: Uri = ""
    tls_client_auth_san_ip: Short = ""
    tls_client_auth_san_email: Short = ""
    software_statement: Annotated[str, Meta(max_length=16_384)] | None = None


class ClientInformation(ClientMetadata, kw_only=True, omit_defaults=True):
    """What is answered: the metadata as registered, and how the client reads and changes it. Spec: RFC 7591 §3.2.1."""

    client_id_issued_at: int
    client_secret_expires_at: int | None = None
    registration_access_token: str | None = None
    registration_client_uri: str
