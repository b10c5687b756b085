"""The Keystone v3 calls of the X-Auth-Token service as they travel, and the catalogue that an API's metadata holds.

What clients of Keystone may send beside this is left aside; what is known is taken strictly.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .base import Request, Response

Word = Annotated[str, Meta(min_length=1, max_length=255)]
Credential = Annotated[str, Meta(min_length=1, max_length=8192)]


class CatalogEntry(Request):
    """One service of an API: where its clients find it. ``url`` may hold ``{project_id}``."""

    type: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$(?!\n)")]
    name: Word
    url: Annotated[str, Meta(min_length=1, max_length=512)]
    region: Word = "default"


class Domain(Request):
    """A domain, by id or by name."""

    id: Word | None = None
    name: Word | None = None


class User(Request):
    """Who signs in with a password, by id or by name."""

    password: Credential
    id: Word | None = None
    name: Word | None = None
    domain: Domain | None = None


class Password(Request):
    """The method ``password``."""

    user: User


class Token(Request):
    """The method ``token``."""

    id: Credential


class NamedUser(Request):
    """Whose application credential is meant, where that is named rather than given by id."""

    id: Word | None = None
    name: Word | None = None
    domain: Domain | None = None


class ApplicationCredential(Request):
    """The method ``application_credential``, by id or by name."""

    secret: Credential
    id: Word | None = None
    name: Word | None = None
    user: NamedUser | None = None


class Identity(msgspec.Struct):
    """How the caller proves who it is. Members of methods that are not known here are left aside."""

    methods: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(min_length=1, max_length=10)]
    password: Password | None = None
    token: Token | None = None
    application_credential: ApplicationCredential | None = None


class ProjectScope(Request):
    """A project, by id or by name."""

    id: Word | None = None
    name: Word | None = None
    domain: Domain | None = None


class Scope(Request):
    """What the token is wanted for; only a project is known here."""

    project: ProjectScope | None = None
    domain: Any = None
    system: Any = None
    trust: Any = msgspec.field(name="OS-TRUST:trust", default=None)


class Auth(Request):
    """Identity and scope."""

    identity: Identity
    scope: Scope | Literal["unscoped"] | UnsetType | None = UNSET


class AuthRequest(Request):
    """The body of ``POST /v3/auth/tokens``."""

    auth: Auth


# Answers.


class Named(Response):
    """An id and a name."""

    id: str
    name: str


class InDomain(Response):
    """An id and a name within a domain."""

    id: str
    name: str
    domain: Named


class UserView(InDomain):
    """Whom the token acts for: a key, a client or a person."""

    password_expires_at: None = None


class Endpoint(Response):
    """Where a service is."""

    id: str
    interface: str
    region: str
    region_id: str
    url: str


class Service(Response):
    """A service of the catalogue."""

    id: str
    type: str
    name: str
    endpoints: list[Endpoint]


class TokenView(Response):
    """What a token is."""

    methods: list[str]
    user: UserView
    project: InDomain
    is_domain: bool
    roles: list[Named]
    audit_ids: list[str]
    issued_at: str
    expires_at: str
    catalog: list[Service] | UnsetType = UNSET


class TokenAnswer(Response):
    """The body of an answer about a token."""

    token: TokenView
