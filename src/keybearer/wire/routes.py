"""Routes of the gateway as they travel: in the management API, and in the same words in a file of routes."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..core.records import CredentialKind
from ..core.routes import InjectionPlace
from .base import Request, Seconds
from .records import RecordView

RouteName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$(?!\n)")]
Url = Annotated[str, Meta(min_length=1, max_length=1024)]
Host = Annotated[str, Meta(max_length=253)]
Path = Annotated[str, Meta(min_length=1, max_length=512)]
Reference = Annotated[str, Meta(min_length=1, max_length=255)]
Expression = Annotated[str, Meta(max_length=1000)]
Word = Annotated[str, Meta(min_length=1, max_length=255)]
Few = Meta(max_length=20)
Words = Annotated[list[Word], Few]
Methods = Annotated[list[Annotated[str, Meta(pattern=r"^[A-Z]{1,20}$(?!\n)")]], Few]


class InjectionSpec(Request, omit_defaults=True):
    """A secret that the upstream gets: in a ``header`` or ``query`` field called ``name``, as a ``bearer`` token, or as
    the password of the user ``name`` (``basic``).
    """

    secret: Annotated[str, Meta(min_length=1, max_length=64)]
    place: InjectionPlace
    name: Annotated[str, Meta(max_length=128)] = ""


class CorsSpec(Request, omit_defaults=True):
    """Which pages of other origins may call a route. ``credentials`` lets browsers send cookies along."""

    origins: Words
    headers: Words = []
    exposed: Words = []
    credentials: bool = False
    max_age: Annotated[int, Meta(ge=0, le=86_400)] = 600


class BffSpec(Request, omit_defaults=True):
    """People sign in with this client; their browser holds a cookie only, and the gateway their tokens.

    ``secret`` names the upstream secret that holds the client's secret. The pages are below ``path``: ``login``,
    ``callback``, ``logout``, ``user`` and ``backchannel-logout``.
    """

    client_id: Reference
    secret: Annotated[str, Meta(max_length=64)] = ""
    scopes: Words = msgspec.field(default_factory=lambda: ["openid"])
    path: Path = "/bff"
    home: Path = "/"
    session_in: Seconds = 28_800
    idle_in: Seconds = 3600


class RouteFields(Request):
    """What a route is made of. Spans are in seconds, sizes in bytes."""

    name: RouteName
    upstream: Url
    host: Host = ""
    path: Path = "/"
    methods: Methods = []
    strip_path: bool = False
    preserve_host: bool = False
    public: bool = False
    api: Reference | None = None
    permissions: Expression = ""
    cost: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    accepts: Annotated[list[CredentialKind], Few] = []
    acr_values: Words = []
    inject: Annotated[list[InjectionSpec], Meta(max_length=4)] = []
    identity_headers: bool = True
    phantom_token: bool = False
    connect_in: Annotated[int, Meta(ge=1, le=60)] = 5
    response_in: Annotated[int, Meta(ge=1, le=3600)] = 60
    idle_in: Annotated[int, Meta(ge=1, le=86_400)] = 300
    retries: Annotated[int, Meta(ge=0, le=3)] = 1
    max_body: Annotated[int, Meta(ge=0, le=1 << 40)] = 10_485_760
    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 100
    cors: CorsSpec | None = None
    bff: BffSpec | None = None
    session: Annotated[str, Meta(max_length=64)] = ""


class CreateRoute(RouteFields):
    """Send requests for a host and below a path to an upstream, through a door.

    Without ``public`` a credential for ``api`` is needed. The upstream of a route that is made here must be on the
    public Internet, or in ``gateway_networks``.
    """


class UpdateRoute(Request):
    """Change a route; lists replace what was there."""

    name: RouteName | UnsetType = UNSET
    upstream: Url | UnsetType = UNSET
    host: Host | UnsetType = UNSET
    path: Path | UnsetType = UNSET
    methods: Methods | UnsetType = UNSET
    strip_path: bool | UnsetType = UNSET
    preserve_host: bool | UnsetType = UNSET
    public: bool | UnsetType = UNSET
    api: Reference | UnsetType | None = UNSET
    permissions: Expression | UnsetType = UNSET
    cost: Annotated[int, Meta(ge=0, le=1_000_000)] | UnsetType = UNSET
    accepts: Annotated[list[CredentialKind], Few] | UnsetType = UNSET
    acr_values: Words | UnsetType = UNSET
    inject: Annotated[list[InjectionSpec], Meta(max_length=4)] | UnsetType = UNSET
    identity_headers: bool | UnsetType = UNSET
    phantom_token: bool | UnsetType = UNSET
    connect_in: Annotated[int, Meta(ge=1, le=60)] | UnsetType = UNSET
    response_in: Annotated[int, Meta(ge=1, le=3600)] | UnsetType = UNSET
    idle_in: Annotated[int, Meta(ge=1, le=86_400)] | UnsetType = UNSET
    retries: Annotated[int, Meta(ge=0, le=3)] | UnsetType = UNSET
    max_body: Annotated[int, Meta(ge=0, le=1 << 40)] | UnsetType = UNSET
    max_connections: Annotated[int, Meta(ge=1, le=10_000)] | UnsetType = UNSET
    cors: CorsSpec | UnsetType | None = UNSET
    bff: BffSpec | UnsetType | None = UNSET
    session: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


class RouteView(RecordView):
    """A route; no secret is in it, only names of secrets."""

    name: str
    upstream: str
    host: str
    path: str
    methods: list[str]
    strip_path: bool
    preserve_host: bool
    public: bool
    api: str | None
    permissions: str
    cost: int
    accepts: list[CredentialKind]
    acr_values: list[str]
    inject: list[InjectionSpec]
    identity_headers: bool
    phantom_token: bool
    connect_in: int
    response_in: int
    idle_in: int
    retries: int
    max_body: int
    max_connections: int
    cors: CorsSpec | None
    bff: BffSpec | None
    session: str


class RouteFile(Request):
    """A file of routes: one ``[[routes]]`` table for each."""

    routes: Annotated[list[CreateRoute], Meta(max_length=1000)] = msgspec.field(default_factory=list)
