"""Routes of the gateway: which requests go to which upstream, through which door, with which secret.

A request is matched by its host and the longest path prefix, and only then by its method and by whether the route is
enabled: what a narrow route does not take is never answered by a wider one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from .instant import MINUTE, SECOND
from .records import CredentialKind, Record, State
from .sources import is_ambiguous_path, spelt_alike

ROUTE_ID: Final = "rte_"
_NEEDLESS: Final = re.compile(r"%(?:2d|5f|7e|3[0-9]|[46][1-9a-f]|[57][0-9a]|25[0-9a-f]{2})", re.IGNORECASE | re.ASCII)
"""Percent-encoded letters, digits, ``-``, ``_`` and ``~``: the same path in another spelling (RFC 3986 §6.2.2.2); and
an encoded percent sign that makes another path for who decodes twice.
"""


class InjectionPlace(StrEnum):
    """Where an upstream wants to see its secret."""

    HEADER = "header"
    QUERY = "query"
    BEARER = "bearer"
    BASIC = "basic"


@dataclass(frozen=True, slots=True)
class Injection:
    """A secret that the upstream gets, by its name. ``name`` is the header or parameter, or the user of ``basic``."""

    secret: str
    place: InjectionPlace
    name: str = ""


@dataclass(frozen=True, slots=True)
class Cors:
    """Which pages of other origins may call a route from a browser, and what their scripts may send and see."""

    origins: tuple[str, ...]
    headers: tuple[str, ...] = ("authorization", "content-type")
    exposed: tuple[str, ...] = ()
    credentials: bool = False
    max_age: int = 600


@dataclass(frozen=True, slots=True)
class Bff:
    """A backend for a browser front end: people sign in with this client, and the browser holds a cookie only.

    ``secret`` names the client's secret, empty for a public client. ``path`` is where its own pages are. ``home`` is
    where the browser goes after signing in or out, and ``idle_in`` how long a session may lie unused.
    """

    client_id: str
    secret: str = ""
    scopes: tuple[str, ...] = ("openid",)
    path: str = "/bff"
    home: str = "/"
    session_in: int = 8 * 60 * MINUTE
    idle_in: int = 60 * MINUTE

    @property
    def pages(self) -> str:
        """Where its pages are, in the one spelling that is compared."""
        return spelt_alike(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Record):
    """One route. Spans are in microseconds.

    ``public`` opens it to everybody; else a credential is needed that meets ``api``, ``permissions``, ``accepts`` and
    ``acr_values``, and takes ``cost``. ``session`` is the name of the route whose BFF keeps the sessions that open
    this one, too. ``from_file`` says that the operator of this machine wrote it: only then may its upstream lie in
    any network.
    """

    name: str
    upstream: str
    host: str = ""
    path: str = "/"
    methods: tuple[str, ...] = ()
    strip_path: bool = False
    preserve_host: bool = False
    public: bool = False
    api: str | None = None
    permissions: str = ""
    cost: int = 1
    accepts: tuple[CredentialKind, ...] = ()
    acr_values: tuple[str, ...] = ()
    inject: tuple[Injection, ...] = ()
    identity_headers: bool = True
    phantom_token: bool = False
    connect_in: int = 5 * SECOND
    response_in: int = 60 * SECOND
    idle_in: int = 5 * MINUTE
    retries: int = 1
    max_body: int = 10 * 1024 * 1024
    max_connections: int = 100
    cors: Cors | None = None
    bff: Bff | None = None
    session: str = ""
    from_file: bool = False

    @property
    def prefix(self) -> str:
        """The path by which requests are matched, in the one spelling that is compared, without a slash at its end."""
        return spelt_alike(self.path.rstrip("/"))

    @property
    def target(self) -> SplitResult:
        """The upstream's URL, taken apart."""
        return urlsplit(self.upstream)


class Matched(NamedTuple):
    """What a request's host and path lead to: routes that differ by method only, or the pages of a BFF.

    A route that is disabled is among them: it answers nothing, and keeps wider ones from answering in its place.
    """

    routes: tuple[Route, ...]
    bff_page: str = ""

    def for_method(self, method: str) -> Route | None:
        """Return the route that takes this method; one that names it comes before one that takes all."""
        named = next((route for route in self.routes if method in route.methods), None)
        return named or next((route for route in self.routes if not route.methods), None)

    @property
    def allowed(self) -> tuple[str, ...]:
        """The methods that are taken, for an answer that says so."""
        return tuple(dict.fromkeys(method for route in self.routes for method in route.methods))


class RouteTable:
    """All routes of one moment, ready to be matched. The routes of a host come before those of all hosts.

    What the operator wrote in a file holds: ``left_out`` names the other routes that would take its name or place.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.by_name: dict[str, Route] = {}
        self.left_out: list[str] = []
        self._prefixes: dict[str, dict[str, tuple[Route, ...]]] = {}
        self._pages: dict[tuple[str, str], Route] = {}
        live = [route for route in routes if route.state is not State.DELETED]
        for route in sorted(live, key=lambda one: not one.from_file):
            self._add(route)

    def _add(self, route: Route) -> None:
        of_host = self._prefixes.setdefault(route.host, {})
        prefix = route.prefix
        pages = None if route.bff is None else (route.host, route.bff.pages)
        before = [*of_host.get(prefix, ()), self.by_name.get(route.name)]
        if pages is not None:
            before += [self._pages.get(pages), *of_host.get(pages[1], ())]
        if not route.from_file and any(one is not None and one.from_file for one in before):
            self.left_out.append(route.name)
            return
        of_host[prefix] = (*of_host.get(prefix, ()), route)
        if pages is not None:
            self._pages[pages] = route
        if route.state is State.ENABLED:
            self.by_name[route.name] = route

    def match(self, host: str, path: str) -> Matched | None:
        """Return what lies behind a path that has one reading only; ``host`` is in lower case, without port."""
        path = spelt_alike(path)
        for name in (host, ""):
            page = self._page(name, path)
            if page is not None:
                return page
            of_host = self._prefixes.get(name)
            if of_host is None:
                continue
            prefix = path
            while True:
                found = of_host.get(prefix.rstrip("/") if prefix == path else prefix)
                if found is not None:
                    return Matched(found)
                if not prefix:
                    break
                prefix = prefix[: prefix.rfind("/")]
        return None

    def _page(self, host: str, path: str) -> Matched | None:
        folder, _, page = path.rpartition("/")
        route = self._pages.get((host, folder)) if page else None
        return None if route is None else Matched((route,), page)

    def session_of(self, route: Route) -> Route | None:
        """Return the route whose BFF keeps the sessions that open a route, if any."""
        if route.bff is not None:
            return route
        found = self.by_name.get(route.session) if route.session else None
        return found if found is not None and found.bff is not None and found.host == route.host else None


def is_plain_path(path: str) -> bool:
    """Tell whether a path has one reading only, and is written without need for another.

    Spec: CVE-2019-9901, CVE-2026-48020, RFC 3986 §6.2.2.2.
    """
    return not is_ambiguous_path(path) and _NEEDLESS.search(path) is None
