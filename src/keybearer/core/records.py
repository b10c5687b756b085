"""The records of the authority: APIs, projects, plans, identities and API keys, as frozen values.

Users, sessions, clients, grants and tokens have files of their own beside this one. Every record has an ``id`` (prefix
and 16 base62 characters, older ids sort first), a ``state``, and a ``revision`` that grows by one with each change, so
that two writers cannot overwrite each other unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple, TypeVar

from .instant import Instant
from .quota import CalendarUnit

API_ID: Final = "api_"
PROJECT_ID: Final = "proj_"
PLAN_ID: Final = "plan_"
IDENTITY_ID: Final = "idn_"
KEY_ID: Final = "key_"


class State(StrEnum):
    """Where a record stands; ``core/lifecycle.py`` says which changes are legal."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    REVOKED = "revoked"
    DELETED = "deleted"


class CredentialKind(StrEnum):
    """The kinds of credential that an API may accept."""

    SECRET_KEY = "secret_key"
    PUBLISHABLE_KEY = "publishable_key"
    ACCESS_TOKEN = "access_token"


class KeyKind(StrEnum):
    """The kinds of API key: those credential kinds that a project can create."""

    SECRET_KEY = "secret_key"
    PUBLISHABLE_KEY = "publishable_key"


class TokenFormat(StrEnum):
    """How an API's access tokens are written: opaque (looked up) or JWT (RFC 9068, readable by the API itself)."""

    OPAQUE = "opaque"
    JWT = "jwt"


class Environment(StrEnum):
    """Live keys touch real data; test keys must not."""

    LIVE = "live"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Permission:
    """One permission that an API understands, which is also a scope that clients may ask for.

    Publishable keys may hold only those that are ``read_only``. A ``restricted`` one is granted only to users who hold
    it, whatever they consent to.
    """

    name: str
    description: str = ""
    read_only: bool = False
    restricted: bool = False


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A named GCRA limit: ``limit`` units per ``period_in``, of which ``burst`` may be spent at once.

    An automatic limit applies to every request; the others only when a request names them.
    """

    name: str
    limit: int
    period_in: int
    burst: int
    automatic: bool = True


@dataclass(frozen=True, slots=True)
class Quota:
    """A durable budget of ``limit`` units per calendar window (UTC). An automatic quota applies to every request."""

    name: str
    limit: int
    per: CalendarUnit
    automatic: bool = True


@dataclass(frozen=True, slots=True)
class CreditPolicy:
    """Prepaid credits: where a refill is set, the balance is put back to ``refill_to`` at the start of each window."""

    refill_to: int | None = None
    refill_per: CalendarUnit | None = None


@dataclass(frozen=True, slots=True)
class AndroidApp:
    """An Android app: its package name and, colon-free in lower case, the SHA-256 of its signing certificate."""

    package: str
    certificate_sha256: str


@dataclass(frozen=True, slots=True)
class Restrictions:
    """From where and for what a key may be used. An empty tuple restricts nothing; several kinds must all hold,
    but ``origins``, ``referrers``, ``android_apps`` and ``ios_bundle_ids`` are alternatives to each other.
    """

    ip_networks: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    referrers: tuple[str, ...] = ()
    android_apps: tuple[AndroidApp, ...] = ()
    ios_bundle_ids: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def names_an_application(self) -> bool:
        """Tell whether the key is tied to web origins, referrers or apps."""
        return bool(self.origins or self.referrers or self.android_apps or self.ios_bundle_ids)

    @property
    def binds_a_publishable_key(self) -> bool:
        """Tell whether these restrictions are enough for a key that anyone can read (DESIGN §1)."""
        return bool(self.names_an_application or self.ip_networks)


NO_RESTRICTIONS: Final = Restrictions()


NATIVE: Final = "hmac-sha256"
"""The scheme of secrets that are stored our own way."""


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One secret of a key. ``expires_at`` is set when a rotation lets it run out; it never lies after the key's own.

    ``scheme`` is ``hmac-sha256`` (digest under the pepper ``pepper_id``) or, until its first use, the declared hash of
    an imported key, with its parameters in ``parameters``.
    """

    number: int
    digest: bytes
    created_at: Instant
    scheme: str = NATIVE
    pepper_id: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    expires_at: Instant | None = None
    revoked_at: Instant | None = None
    quiet_in: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What every record has."""

    id: str
    created_at: Instant
    updated_at: Instant
    state: State = State.ENABLED
    revision: int = 1
    deleted_at: Instant | None = None
    state_before_deletion: State | None = None


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api(Record):
    """A resource server. ``identifier`` is its audience URI; ``default_plan_id`` serves projects that have no plan.

    ``token_format`` is how access tokens for it are written, ``token_in`` how long one lives at most (microseconds;
    ``None``: as the settings say). ``token_cookie`` is the ``__Host-`` cookie that may carry one, empty for none.
    """

    identifier: str
    name: str
    permissions: tuple[Permission, ...] = ()
    accepts: tuple[CredentialKind, ...] = tuple(CredentialKind)
    token_format: TokenFormat = TokenFormat.OPAQUE
    token_in: int | None = None
    key_header: str = "x-api-key"
    allow_publishable_in_query: bool = False
    token_cookie: str = ""
    default_plan_id: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project(Record):
    """The calling application or site: it owns keys, and ``enabled_apis`` are the ids of the APIs it may call."""

    name: str
    brand: str = "kb"
    enabled_apis: tuple[str, ...] = ()
    plan_id: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Record):
    """Named limits and quotas that projects share by having this plan; each project has its own counters."""

    name: str
    limits: tuple[RateLimit, ...] = ()
    quotas: tuple[Quota, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity(Record):
    """An external subject (``external_id`` within its project) through which several keys share limits and credits."""

    project_id: str
    external_id: str
    name: str = ""
    limits: tuple[RateLimit, ...] = ()
    quotas: tuple[Quota, ...] = ()
    credits: CreditPolicy | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(Record):
    """One stable API key with one or more secret versions, the newest last."""

    project_id: str
    kind: CredentialKind
    environment: Environment
    prefix: str
    name: str
    versions: tuple[SecretVersion, ...]
    owner: str | None = None
    identity_id: str | None = None
    plan_id: str | None = None
    permissions: tuple[str, ...] = ()
    restrictions: Restrictions = NO_RESTRICTIONS
    limits: tuple[RateLimit, ...] = ()
    quotas: tuple[Quota, ...] = ()
    credits: CreditPolicy | None = None
    expires_at: Instant | None = None
    revoked_at: Instant | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    created_by: str = ""
    foreign_lookup: str | None = None

    @property
    def credential_id(self) -> str:
        """The public id that stands inside the credential, and is safe to log."""
        return self.id.removeprefix(KEY_ID)


@dataclass(frozen=True, slots=True)
class BoundLimit:
    """A rate limit with the bucket it counts in; ``emission_ns`` is the time one unit takes to come back."""

    bucket: str
    name: str
    limit: int
    burst: int
    emission_ns: int
    automatic: bool


class Take(NamedTuple):
    """Take ``cost`` units of one rate limit."""

    limit: BoundLimit
    cost: int


@dataclass(frozen=True, slots=True)
class BoundQuota:
    """A quota with the owner (``key:…``, ``identity:…``, ``project:…``) whose counter it takes from."""

    owner: str
    quota: Quota


Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRecord:
    """What a verify needs to know of any credential, read at once; keys and tokens add their own to it.

    ``seq`` is the head of the event log at the moment of reading, ``depends_on`` the ids whose events make it stale.
    ``counted_as`` is the id that usage is counted by: the key, or the client of a token.
    ``standard_takes`` are the automatic limits at a cost of 1, and ``is_standard`` says that no quota or credits come
    on top. ``is_restricted`` is false when ``restrictions`` restrict nothing.
    """

    seq: int
    id: str
    kind: CredentialKind
    counted_as: str
    project: Project
    plan: Plan | None
    permissions: frozenset[str]
    restrictions: Restrictions
    networks: tuple[Network, ...]
    limits: tuple[BoundLimit, ...]
    quotas: tuple[BoundQuota, ...]
    credit_owners: tuple[tuple[str, CreditPolicy], ...]
    depends_on: frozenset[str]
    standard_takes: tuple[Take, ...]
    is_standard: bool
    is_restricted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord(CredentialRecord):
    """An API key with all it depends on. ``is_foreign`` is true while a version still has another system's hash.

    Built by :func:`key_record`, which computes once per read what each verify would compute again.
    """

    key: ApiKey
    identity: Identity | None
    is_foreign: bool


def bind_limits(owner: str, limits: tuple[RateLimit, ...]) -> tuple[BoundLimit, ...]:
    """Return the limits of one owner, each with its own bucket."""
    return tuple(
        BoundLimit(
            # Another period is another limit: what a month had used up must not block the minutes that replace it.
            bucket=f"{owner}/{limit.name}/{limit.period_in}",
            name=limit.name,
            limit=limit.limit,
            burst=limit.burst,
            emission_ns=max(1, limit.period_in * 1000 // limit.limit),
            automatic=limit.automatic,
        )
        for limit in limits
    )


def key_record(seq: int, key: ApiKey, project: Project, identity: Identity | None, plan: Plan | None) -> KeyRecord:
    """Join a key with its project, identity and plan into the record that ``decide`` reads."""
    owners: list[tuple[str, tuple[RateLimit, ...], tuple[Quota, ...]]] = [(f"key:{key.id}", key.limits, key.quotas)]
    credit_owners: list[tuple[str, CreditPolicy]] = []
    if key.credits is not None:
        credit_owners.append((f"key:{key.id}", key.credits))
    if identity is not None:
        owners.append((f"identity:{identity.id}", identity.limits, identity.quotas))
        if identity.credits is not None:
            credit_owners.append((f"identity:{identity.id}", identity.credits))
    if plan is not None:
        # A plan chosen for a key counts on that key; the project's plan is shared by all keys of the project.
        owner = f"key:{key.id}/plan" if key.plan_id is not None else f"project:{project.id}"
        owners.append((owner, plan.limits, plan.quotas))
    limits = tuple(bound for owner, limits, _ in owners for bound in bind_limits(owner, limits))
    quotas = tuple(BoundQuota(owner, quota) for owner, _, quotas in owners for quota in quotas)
    return KeyRecord(
        seq=seq,
        id=key.id,
        kind=key.kind,
        counted_as=key.id,
        key=key,
        project=project,
        identity=identity,
        plan=plan,
        permissions=frozenset(key.permissions),
        restrictions=key.restrictions,
        networks=tuple(ip_network(network) for network in key.restrictions.ip_networks),
        limits=limits,
        quotas=quotas,
        credit_owners=tuple(credit_owners),
        depends_on=frozenset(record.id for record in (key, project, identity, plan) if record is not None),
        standard_takes=tuple(Take(bound, 1) for bound in limits if bound.automatic),
        is_standard=not quotas and not credit_owners,
        is_restricted=key.restrictions != NO_RESTRICTIONS,
        is_foreign=any(version.scheme != NATIVE for version in key.versions),
    )
