"""API keys as they travel: create, update, rotate, import, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..core.lifecycle import VersionState
from ..core.records import CredentialKind, Environment, KeyKind
from .base import Id, Metadata, Moment, Name, PermissionText, Request, Response, Seconds, SecondsOrZero, Tag
from .limits import CreditsSpec, CreditsView, QuotaSpec, RateLimitSpec
from .records import RecordView

Some = Meta(max_length=100)
Owner = Annotated[str, Meta(min_length=1, max_length=255)]
Pattern = Annotated[str, Meta(min_length=1, max_length=512)]


class AndroidAppSpec(Request):
    """An Android app: its package, and the SHA-256 of its signing certificate in hex, with or without colons."""

    package: Annotated[str, Meta(min_length=1, max_length=255)]
    certificate_sha256: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f:]{64,95}$(?!\n)")]


class RestrictionsSpec(Request):
    """Where and for what a key may be used. ``apis`` takes ids or identifiers of APIs; ``paths`` may end in ``/*``."""

    ip_networks: Annotated[list[Annotated[str, Meta(max_length=64)]], Some] = []
    origins: Annotated[list[Pattern], Some] = []
    referrers: Annotated[list[Pattern], Some] = []
    android_apps: Annotated[list[AndroidAppSpec], Some] = []
    ios_bundle_ids: Annotated[list[Annotated[str, Meta(min_length=1, max_length=255)]], Some] = []
    apis: Annotated[list[Annotated[str, Meta(min_length=1, max_length=255)]], Some] = []
    methods: Annotated[list[Annotated[str, Meta(pattern=r"^[A-Z]{1,20}$(?!\n)")]], Some] = []
    paths: Annotated[list[Pattern], Some] = []


class KeySettings(Request):
    """What a key has besides its secret, the same for a new and an imported one."""

    project_id: Id
    name: Name
    kind: KeyKind = KeyKind.SECRET_KEY
    environment: Environment = Environment.LIVE
    owner: Owner | None = None
    identity_id: Id | None = None
    plan_id: Id | None = None
    permissions: Annotated[list[PermissionText], Some] = []
    restrictions: RestrictionsSpec = msgspec.field(default_factory=RestrictionsSpec)
    limits: Annotated[list[RateLimitSpec], Meta(max_length=20)] = []
    quotas: Annotated[list[QuotaSpec], Meta(max_length=20)] = []
    credits: CreditsSpec | None = None
    expires_at: Moment | None = None
    expires_in: Seconds | None = None
    tags: Annotated[list[Tag], Meta(max_length=32)] = []
    metadata: Metadata = {}


class CreateKey(KeySettings):
    """Create a key. Its secret is answered once and cannot be shown again."""


class UpdateKey(Request):
    """Change a key. ``credits: null`` takes its credits away; the balance of existing credits is set elsewhere."""

    name: Name | UnsetType = UNSET
    owner: Owner | UnsetType | None = UNSET
    identity_id: Id | UnsetType | None = UNSET
    plan_id: Id | UnsetType | None = UNSET
    permissions: Annotated[list[PermissionText], Some] | UnsetType = UNSET
    restrictions: RestrictionsSpec | UnsetType = UNSET
    limits: Annotated[list[RateLimitSpec], Meta(max_length=20)] | UnsetType = UNSET
    quotas: Annotated[list[QuotaSpec], Meta(max_length=20)] | UnsetType = UNSET
    credits: CreditsSpec | UnsetType | None = UNSET
    expires_at: Moment | UnsetType | None = UNSET
    tags: Annotated[list[Tag], Meta(max_length=32)] | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class RotateKey(Request):
    """Give a key a new secret. The old one works for ``grace_in`` seconds more, never beyond its own expiry.

    With ``quiet_in`` the old secret also ends once it has not been used for so many seconds. ``expires_at`` gives the
    key a new expiry (the old secret keeps the old one).
    """

    grace_in: SecondsOrZero = 86_400
    quiet_in: Seconds | None = None
    expires_at: Moment | UnsetType | None = UNSET


class RevokeKey(Request):
    """Revoke at once. With ``wait`` the answer comes only when every node refuses the key."""

    wait: bool = False
    reason: Annotated[str, Meta(max_length=500)] = ""


class VersionView(Response):
    """One secret of a key."""

    number: int
    state: VersionState
    scheme: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeyView(RecordView):
    """A key, without its secret. ``hint`` is what may be shown of it; ``expired`` says whether its time is over."""

    project_id: str
    kind: CredentialKind
    environment: Environment
    hint: str
    name: str
    owner: str | None
    identity_id: str | None
    plan_id: str | None
    permissions: list[str]
    restrictions: RestrictionsSpec
    limits: list[RateLimitSpec]
    quotas: list[QuotaSpec]
    credits: CreditsView | None
    expires_at: datetime | None
    expired: bool
    revoked_at: datetime | None
    last_used_at: datetime | None
    versions: list[VersionView]
    tags: list[str]
    metadata: Metadata
    created_by: str


class IssuedKey(Response):
    """A key and, this once, its secret."""

    key: KeyView
    credential: str

    def __repr__(self) -> str:
        return f"IssuedKey(key={self.key.id!r}, credential=[redacted])"


ImportScheme = Literal[
    "raw", "sha256", "sha512", "hmac-sha256", "bcrypt", "pbkdf2-sha256", "pbkdf2-sha512", "unkey", "seam"
]


class ImportedSecret(Request):
    """The secret of an imported key: raw, or as the hash that the other system kept.

    ``value``: the key itself (``raw``), or its digest in hex or base64 (``encoding``), or a bcrypt string. PBKDF2 needs
    ``salt`` (base64) and ``iterations``; ``hmac-sha256`` needs ``secret_name`` (a secret in the keyring); salted hashes
    need ``start``, the first 8 to 32 characters of the key; ``seam`` needs ``short_token``.
    """

    scheme: ImportScheme
    value: Annotated[str, Meta(min_length=1, max_length=1024)]
    encoding: Literal["hex", "base64"] = "hex"
    salt: Annotated[str, Meta(max_length=512)] | None = None
    iterations: Annotated[int, Meta(ge=1, le=2_000_000)] | None = None
    secret_name: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    start: Annotated[str, Meta(min_length=8, max_length=32)] | None = None
    short_token: Annotated[str, Meta(min_length=4, max_length=64)] | None = None

    def __repr__(self) -> str:
        return f"ImportedSecret(scheme={self.scheme!r}, value=[redacted])"


class ImportKey(KeySettings, kw_only=True):
    """One line of an import: the settings of a key, and the secret it already has elsewhere."""

    secret: ImportedSecret


class RefusedLine(Response):
    """Why a line was refused: every wrong field of it."""

    line: int
    problems: list[dict[str, str]]


class ImportProgress(Response, tag="progress"):
    """Sent while an import runs."""

    phase: Literal["checking", "writing"]
    done: int
    total: int


class ImportReport(Response, tag="report"):
    """The end of an import: either every line was imported, or (any refused, or a dry run) none. Empty lines are not
    among ``lines``."""

    lines: int
    imported: int
    refused: list[RefusedLine]
    refused_count: int
    dry_run: bool
    error: str | None = None
