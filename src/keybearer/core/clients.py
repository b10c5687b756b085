"""Clients: the applications that ask for tokens, in the terms of RFC 7591 and OpenID Connect Registration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final

from . import base62
from .credential import ID_LENGTH
from .instant import HOUR, MINUTE, Instant
from .records import Project, Quota, RateLimit, Record

CLIENT_ID: Final = "client_"
SECRET_PREFIX: Final = "kb_cs"
"""What a client secret begins with."""


class ClientAuthMethod(StrEnum):
    """How a client proves who it is. Spec: OIDC Core §9, RFC 8705 §2, RFC 7591 §2."""

    BASIC = "client_secret_basic"
    POST = "client_secret_post"
    SECRET_JWT = "client_secret_jwt"
    PRIVATE_KEY_JWT = "private_key_jwt"
    TLS = "tls_client_auth"
    SELF_SIGNED_TLS = "self_signed_tls_client_auth"
    NONE = "none"


SECRET_METHODS: Final = frozenset({ClientAuthMethod.BASIC, ClientAuthMethod.POST, ClientAuthMethod.SECRET_JWT})
"""The methods that need a client secret."""

KEY_METHODS: Final = frozenset(
    {ClientAuthMethod.PRIVATE_KEY_JWT, ClientAuthMethod.TLS, ClientAuthMethod.SELF_SIGNED_TLS}
)
"""The methods that prove a key which never travels."""


class GrantType(StrEnum):
    """The grants of the token endpoint, as ``grant_type`` names them."""

    AUTHORIZATION_CODE = "authorization_code"
    REFRESH_TOKEN = "refresh_token"
    CLIENT_CREDENTIALS = "client_credentials"
    DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
    TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
    JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class SubjectType(StrEnum):
    """Whether all clients see the same ``sub`` of a user, or each sector its own. Spec: OIDC Core §8."""

    PUBLIC = "public"
    PAIRWISE = "pairwise"


class ClientOrigin(StrEnum):
    """Where a client's record comes from.

    One of ``x_auth`` stands for the X-Auth-Token service in a project: it has no ceiling of its own, since the API key
    that a token comes from is one (``scopes_in_force``).
    """

    MANAGED = "managed"
    REGISTERED = "registered"
    METADATA_DOCUMENT = "metadata_document"
    X_AUTH = "x_auth"


def is_document_id(client_id: str) -> bool:
    """Tell whether a ``client_id`` is the URL of a Client ID Metadata Document."""
    return client_id.startswith("https://")


def record_id(client_id: str) -> str:
    """Return the id under which the client of this ``client_id`` is stored; that of a URL is made of its SHA-256."""
    if not is_document_id(client_id):
        return client_id
    number = int.from_bytes(sha256(client_id.encode(errors="surrogatepass")).digest(), "big")
    return CLIENT_ID + base62.encode(number % 62**ID_LENGTH, ID_LENGTH)


def x_auth_id(project_id: str) -> str:
    """Return the id of the client that stands for the X-Auth-Token service in a project, made of its SHA-256."""
    number = int.from_bytes(sha256(f"x-auth:{project_id}".encode()).digest(), "big")
    return CLIENT_ID + base62.encode(number % 62**ID_LENGTH, ID_LENGTH)


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """One secret of a client. ``sealed`` holds it readably, only for clients that use ``client_secret_jwt``."""

    number: int
    digest: bytes
    pepper_id: str
    created_at: Instant
    expires_at: Instant | None = None
    revoked_at: Instant | None = None
    sealed: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client(Record):
    """An OAuth client of a project.

    ``scopes`` is the ceiling of what it may ask for; ``optional_scopes`` are those a user may deselect at consent.
    Durations are microseconds. ``is_first_party`` clients need no consent; ``require_pkce`` may be switched off for a
    confidential client whose profile demands it (RFC 9700 §2.1.1).
    """

    project_id: str
    name: str
    token_endpoint_auth_method: ClientAuthMethod = ClientAuthMethod.BASIC
    secrets: tuple[ClientSecret, ...] = ()
    grant_types: tuple[GrantType, ...] = (GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN)
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    optional_scopes: tuple[str, ...] = ()
    jwks: Mapping[str, object] | None = None
    jwks_uri: str = ""
    tls_client_auth_subject_dn: str = ""
    tls_client_auth_san_dns: str = ""
    tls_client_auth_san_uri: str = ""
    tls_client_auth_san_ip: str = ""
    tls_client_auth_san_email: str = ""
    tls_client_certificate_bound_access_tokens: bool = False
    dpop_bound_access_tokens: bool = False
    require_pkce: bool = True
    require_pushed_authorization_requests: bool = False
    require_signed_request_object: bool = False
    is_first_party: bool = False
    subject_type: SubjectType = SubjectType.PUBLIC
    sector_identifier_uri: str = ""
    id_token_signed_response_alg: str = "ES256"
    userinfo_signed_response_alg: str = ""
    introspection_signed_response_alg: str = ""
    authorization_signed_response_alg: str = "ES256"
    request_object_signing_alg: str = ""
    token_endpoint_auth_signing_alg: str = ""
    default_max_age: int | None = None
    require_auth_time: bool = False
    backchannel_logout_uri: str = ""
    backchannel_logout_session_required: bool = False
    access_token_in: int = 10 * MINUTE
    refresh_token_in: int = 30 * 24 * HOUR
    refresh_idle_in: int = 14 * 24 * HOUR
    limits: tuple[RateLimit, ...] = ()
    quotas: tuple[Quota, ...] = ()
    client_uri: str = ""
    logo_uri: str = ""
    policy_uri: str = ""
    tos_uri: str = ""
    contacts: tuple[str, ...] = ()
    origin: ClientOrigin = ClientOrigin.MANAGED
    revoked_at: Instant | None = None
    document_uri: str = ""
    document_expires_at: Instant | None = None
    registration_digest: bytes = b""
    registration_pepper_id: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)

    @property
    def client_id(self) -> str:
        """The ``client_id`` that the client and its tokens know: the URL of its document, else the record's id."""
        return self.document_uri or self.id

    @property
    def is_public(self) -> bool:
        """Whether this client cannot keep a secret."""
        return self.token_endpoint_auth_method is ClientAuthMethod.NONE

    @property
    def keeps_refresh_tokens(self) -> bool:
        """Whether its refresh tokens stay the same: a copy is worth nothing without the keys that it proves to have.

        Spec: FAPI 2.0 §5.3.2.1 (no rotation), RFC 9700 §4.14.2.
        """
        is_bound = self.dpop_bound_access_tokens or self.tls_client_certificate_bound_access_tokens
        return is_bound and self.token_endpoint_auth_method in KEY_METHODS


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """A client with its project, as a request that the client authenticates reads them.

    ``seq`` and ``depends_on`` are what they are in a ``CredentialRecord``.
    """

    seq: int
    client: Client
    project: Project
    depends_on: frozenset[str]


def client_record(seq: int, client: Client, project: Project) -> ClientRecord:
    """Join a client with its project; both were read at the head ``seq`` or later."""
    return ClientRecord(seq, client, project, frozenset({client.id, project.id}))
