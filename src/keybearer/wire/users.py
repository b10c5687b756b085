"""Users and sessions as they travel: create, update, what is answered; never what anybody signs in with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from .base import Metadata, PermissionText, Request, Response
from .records import RecordView

Email = Annotated[str, Meta(min_length=3, max_length=254)]
PersonName = Annotated[str, Meta(max_length=200)]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]
PasswordHash = Annotated[str, Meta(min_length=1, max_length=512)]
Claims = dict[Annotated[str, Meta(min_length=1, max_length=64)], Any]
Permissions = Annotated[list[PermissionText], Meta(max_length=100)]
Issuer = Annotated[str, Meta(min_length=1, max_length=255)]
LinkKind = Literal["invitation", "password_reset", "email_verification"]
Subject = Annotated[str, Meta(min_length=1, max_length=255)]


class LinkSpec(Request):
    """Who a user is elsewhere: the ``subject`` at an ``issuer`` (a provider's URL, or any name you give)."""

    issuer: Issuer
    subject: Subject


class CreateUser(Request):
    """Make a user. Without ``password`` they can sign in once they were invited; ``invite`` sends the invitation."""

    email: Email
    name: PersonName = ""
    password: Password | None = None
    email_verified: bool = False
    invite: bool = False
    claims: Claims = {}
    permissions: Permissions = []
    links: Annotated[list[LinkSpec], Meta(max_length=20)] = []
    metadata: Metadata = {}


class UpdateUser(Request):
    """Change a user. A new ``email`` counts as not verified, unless ``email_verified`` says that it is."""

    email: Email | UnsetType = UNSET
    name: PersonName | UnsetType = UNSET
    email_verified: bool | UnsetType = UNSET
    claims: Claims | UnsetType = UNSET
    permissions: Permissions | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class UserView(RecordView):
    """A person."""

    email: str
    email_verified: bool
    name: str
    claims: Claims
    permissions: list[str]
    metadata: Metadata


class SetPassword(Request):
    """Set a user's password. All their sessions end."""

    password: Password


class SendLink(Request):
    """Send a link by mail: ``invitation``, ``password_reset`` or ``email_verification``."""

    kind: LinkKind = "invitation"


class SentLink(Response):
    """A link is on its way to this address."""

    kind: str
    email: str


class PasskeyView(Response):
    """A passkey; ``id`` is its credential id in base64url."""

    id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None
    backed_up: bool


class FactorsView(Response):
    """What a user can sign in with, without any secret. ``failures`` counts wrong passwords and codes in a row."""

    user_id: str
    has_password: bool
    password_changed_at: datetime | None
    has_totp: bool
    recovery_codes: int
    passkeys: list[PasskeyView]
    failures: int
    failed_at: datetime | None


class LinkView(Response):
    """Who a user is elsewhere."""

    id: str
    user_id: str
    issuer: str
    subject: str
    created_at: datetime


class SessionView(RecordView):
    """One sign-in with one browser. ``is_live`` says whether it still is one."""

    user_id: str
    is_live: bool
    authenticated_at: datetime
    seen_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    amr: list[str]
    acr: str
    source: str
    user_agent: str


class EndedSessions(Response):
    """How many sessions were ended."""

    ended: int


class ImportUser(Request):
    """One line of an import. ``password_hash`` is ``$argon2id$…``, ``$2b$…`` or ``pbkdf2_sha256$…``; it is replaced by
    our own at the first sign-in.
    """

    email: Email
    name: PersonName = ""
    password_hash: PasswordHash | None = None
    email_verified: bool = False
    claims: Claims = {}
    permissions: Permissions = []
    links: Annotated[list[LinkSpec], Meta(max_length=20)] = []
    metadata: Metadata = {}
