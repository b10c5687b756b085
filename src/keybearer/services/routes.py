"""Routes of the gateway: made, changed, switched off and deleted, by the management API or in a file.

A route that opens to nobody in particular says so: without ``public`` it names the API that its credentials are for.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET

from ..core import permissions
from ..core.credential import new_id
from ..core.errors import ConfigurationError, Conflict, InvalidInput
from ..core.instant import SECOND, Instant
from ..core.lifecycle import Change, touch
from ..core.records import State
from ..core.routes import ROUTE_ID, Bff, Cors, Injection, InjectionPlace, Route, is_plain_path
from ..http.cors import CorsPolicy
from ..ports import Query, UnitOfWork
from ..wire.routes import BffSpec, CorsSpec, CreateRoute, InjectionSpec, RouteFile, RouteView, UpdateRoute
from .authority import Authority, Caller, Deed
from .client_rules import is_web
from .paging import Page, PageQuery, read_page
from .problems import Problems
from .standing import change_state, require_live
from .text import check_text, shown
from .upstream_secrets import WRITE as SECRETS_WRITE
from .views import record_fields

READ: Final = "keybearer:routes.read"
WRITE: Final = "keybearer:routes.write"
MAX_FILE: Final = 1024 * 1024
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,251}[a-z0-9])?", re.ASCII)
_FIELD: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}", re.ASCII)
_PARAMETER: Final = re.compile(r"[A-Za-z0-9_.~-]{1,128}", re.ASCII)
_USER: Final = re.compile(r"[\x21-\x39\x3b-\x7e]{1,128}", re.ASCII)
_FRAMING: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})
_SPANS: Final = ("connect_in", "response_in", "idle_in")
_LISTS: Final = ("methods", "accepts", "acr_values")
_OWN: Final = tuple(item.name for item in fields(Route) if item.name in CreateRoute.__struct_fields__)


async def create(authority: Authority, caller: Caller, body: CreateRoute) -> RouteView:
    """Make a route; raises ``Conflict`` when its name is taken."""
    caller.need_everything(WRITE)
    now = authority.clock.now()
    route = route_from(body, now)
    _need_secrets(caller, route)

    async def work(uow: UnitOfWork) -> RouteView:
        await _require_free(uow, route)
        await uow.insert(route)
        Deed(uow, caller, now).note("route.create", route.id, details=_said(route))
        return view(route)

    return await authority.change(caller, work)


async def get(authority: Authority, caller: Caller, route_id: str) -> RouteView:
    """Return a route."""
    caller.need_everything(READ)
    return view(await authority.store.get(Route, route_id))


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[RouteView]:
    """Return one page of routes."""
    caller.need_everything(READ)
    found = await read_page(authority.store, Route, query)
    return Page([view(route) for route in found.items], found.after)


async def update(authority: Authority, caller: Caller, route_id: str, body: UpdateRoute) -> RouteView:
    """Change a route; it holds for the next request."""
    caller.need_everything(WRITE)
    given = {name: getattr(body, name) for name in body.__struct_fields__ if getattr(body, name) is not UNSET}
    changes = _values(given)

    async def work(uow: UnitOfWork) -> RouteView:
        route = await uow.get(Route, route_id)
        require_live(route)
        now = authority.clock.now()
        changed = touch(route, now, **changes)
        _check(changed)
        _need_secrets(caller, route, changed)
        await _require_free(uow, changed)
        await uow.update(changed)
        Deed(uow, caller, now).note("route.update", route.id, details={"fields": sorted(changes), **_said(changed)})
        return view(changed)

    return await authority.change(caller, work)


async def set_state(authority: Authority, caller: Caller, route_id: str, wanted: Change) -> RouteView:
    """Enable, disable, delete or undelete a route. One that is disabled answers nothing, and no wider one in its place;
    where one is deleted, a wider one may answer.
    """
    caller.need_everything(WRITE)

    async def check(uow: UnitOfWork, route: Route, _now: Instant) -> None:
        if wanted is Change.UNDELETE:
            await _require_free(uow, route)

    return await change_state(authority, caller, Route, route_id, wanted, view, check=check)


def read_file(path: Path) -> tuple[Route, ...]:
    """Return the routes of a file; raises ``ConfigurationError`` that names the route and field that is wrong."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigurationError(f"The routes {path} cannot be read: {error.strerror}.") from error
    if len(text) > MAX_FILE:
        raise ConfigurationError(f"The routes {path} are larger than {MAX_FILE:,} bytes.")
    try:
        found = msgspec.convert(tomllib.loads(text.decode()), RouteFile)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"The routes {path} cannot be read: {error}.") from error
    routes: list[Route] = []
    for body in found.routes:
        try:
            route = replace(route_from(body, Instant(0)), id=f"{ROUTE_ID}file-{body.name}", from_file=True)
            _require_unlike(route, routes)
        except (InvalidInput, Conflict) as error:
            raise ConfigurationError(f"{path}: route {body.name!r}: {error}") from error
        routes.append(route)
    return tuple(routes)


def route_from(body: CreateRoute, now: Instant) -> Route:
    """Return the route that a body describes; raises ``InvalidInput``."""
    values = _values({name: getattr(body, name) for name in body.__struct_fields__})
    route = Route(id=ROUTE_ID + new_id(now), created_at=now, updated_at=now, **values)
    _check(route)
    return route


def view(route: Route) -> RouteView:
    """Return a route as it travels."""
    values = {name: getattr(route, name) for name in _OWN}
    values |= {name: list(values[name]) for name in _LISTS}
    values |= {name: values[name] // SECOND for name in _SPANS}
    values["inject"] = [InjectionSpec(one.secret, one.place, one.name) for one in route.inject]
    cors, bff = route.cors, route.bff
    values["cors"] = cors and CorsSpec(
        list(cors.origins), list(cors.headers), list(cors.exposed), cors.credentials, cors.max_age
    )
    values["bff"] = bff and BffSpec(
        bff.client_id, bff.secret, list(bff.scopes), bff.path, bff.home,
        bff.session_in // SECOND, bff.idle_in // SECOND,
    )  # fmt: skip
    return RouteView(**record_fields(route), **values)


def _need_secrets(caller: Caller, *routes: Route) -> None:
    """Who leads a secret to an upstream can read it there, so must be somebody who may set secrets."""
    if any(route.inject for route in routes):
        caller.need_everything(SECRETS_WRITE)


def _values(given: dict[str, Any]) -> dict[str, Any]:
    """Return what travels as the record has it."""
    values = dict(given)
    values |= {name: tuple(given[name]) for name in _LISTS if name in given}
    values |= {name: given[name] * SECOND for name in _SPANS if name in given}
    if "host" in given:
        values["host"] = given["host"].lower().rstrip(".")
    if "inject" in given:
        values["inject"] = tuple(Injection(one.secret, one.place, one.name) for one in given["inject"])
    if isinstance(cors := given.get("cors"), CorsSpec):
        values["cors"] = Cors(
            tuple(cors.origins), tuple(cors.headers), tuple(cors.exposed), cors.credentials, cors.max_age
        )
    if isinstance(bff := given.get("bff"), BffSpec):
        spans = (bff.session_in * SECOND, bff.idle_in * SECOND)
        values["bff"] = Bff(bff.client_id, bff.secret, tuple(bff.scopes), bff.path, bff.home, *spans)
    return values


def _check(route: Route) -> None:
    problems = Problems()
    check_text(problems, [route.permissions, route.api or "", *route.acr_values])
    _check_upstream(problems, route.upstream)
    if route.host and _HOST.fullmatch(route.host) is None and not _is_address(route.host):
        problems.add("host", f"{shown(route.host)} is no host name; leave the port away")
    _check_path(problems, "path", route.path)
    _check_door(problems, route)
    for index, injection in enumerate(route.inject):
        _check_injection(problems, f"inject[{index}]", injection)
    places = [_place(one) for one in route.inject] + ["authorization"] * route.phantom_token
    if len(set(places)) < len(places):
        problems.add("inject", "two things would stand in the same place")
    if route.cors is not None:
        _check_cors(problems, route.cors)
    if route.bff is not None:
        _check_path(problems, "bff.path", route.bff.path)
        if route.bff.path.endswith("/"):
            problems.add("bff.path", "must not end with a slash")
        _check_path(problems, "bff.home", route.bff.home)
        if "openid" not in route.bff.scopes:
            problems.add("bff.scopes", "must have 'openid'")
    problems.settle()


def _check_upstream(problems: Problems, url: str) -> None:
    if not url.isascii() or not url.isprintable() or " " in url or not is_web(url, may_be_plain=True):
        problems.add("upstream", f"{shown(url)} is no http(s) URL")
        return
    parts = urlsplit(url)
    if parts.query or "?" in url or (parts.path and not is_plain_path(parts.path)) or parts.port == 0:
        problems.add("upstream", "must be an origin and a path that can be read in one way only, without a query")


def _check_path(problems: Problems, field: str, path: str) -> None:
    if not is_plain_path(path):
        problems.add(field, f"{shown(path)} is no path that can be read in one way only")


def _check_door(problems: Problems, route: Route) -> None:
    asks = bool(route.api or route.permissions or route.accepts or route.acr_values)
    if route.public and (asks or route.session or route.bff is not None):
        problems.add("public", "a public route asks for nothing; leave the rest of its door out, or make it not public")
    if not route.public and not route.api:
        problems.add("api", "name the API that credentials must be for, or say that the route is public")
    if route.public and route.phantom_token:
        problems.add("phantom_token", "nobody is known on a public route")
    if route.bff is not None and route.session not in ("", route.name):
        problems.add("session", "a route with a BFF of its own uses that one's sessions")
    if route.permissions:
        try:
            permissions.parse(route.permissions)
        except InvalidInput as error:
            problems.absorb(error)


def _check_injection(problems: Problems, field: str, injection: Injection) -> None:
    name = injection.name
    if injection.place is InjectionPlace.BEARER:
        if name:
            problems.add(f"{field}.name", "a bearer token has no name")
    elif injection.place is InjectionPlace.HEADER:
        if _FIELD.fullmatch(name) is None or name.lower() in _FRAMING:
            problems.add(f"{field}.name", f"{shown(name)} is no header field that a secret can stand in")
    elif injection.place is InjectionPlace.QUERY:
        if _PARAMETER.fullmatch(name) is None:
            problems.add(f"{field}.name", f"{shown(name)} is no name of a query field")
    elif _USER.fullmatch(name) is None:
        problems.add(f"{field}.name", f"{shown(name)} is no name of a user")


def _place(injection: Injection) -> str:
    """Return where a secret comes to stand: a field in lower case, or a parameter."""
    if injection.place in (InjectionPlace.BEARER, InjectionPlace.BASIC):
        return "authorization"
    return ("?" if injection.place is InjectionPlace.QUERY else "") + injection.name.lower()


def _check_cors(problems: Problems, cors: Cors) -> None:
    try:
        CorsPolicy(cors.origins, headers=cors.headers, exposed=cors.exposed, with_cookies=cors.credentials)
    except InvalidInput as error:
        for problem in error.problems:
            problems.add(f"cors.{problem.field}", problem.message)


def _is_address(text: str) -> bool:
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _said(route: Route) -> dict[str, object]:
    """Return what the audit log says of a route: where it leads, and whether anybody may pass."""
    return {"name": route.name, "upstream": route.upstream, "public": route.public}


async def _require_free(uow: UnitOfWork, route: Route) -> None:
    after: str | None = None
    others: list[Route] = []
    while True:
        found = await uow.page(Route, Query({}, after, 200))
        others += [one for one in found if one.id != route.id and one.state is not State.DELETED]
        if len(found) < 200:
            break
        after = found[-1].id
    if len(others) >= 1000:
        raise Conflict("There are 1,000 routes already.")
    _require_unlike(route, others)


def _require_unlike(route: Route, others: list[Route]) -> None:
    """Raise ``Conflict`` when another route has this name, or would be matched by the same requests."""
    for other in others:
        if other.name == route.name:
            raise Conflict(f"There is a route called {route.name!r} already.")
        if (other.host, other.prefix) == (route.host, route.prefix) and (
            set(other.methods) & set(route.methods) or other.methods == route.methods
        ):
            raise Conflict(f"The route {other.name!r} matches the same requests.")
        if other.bff and route.bff and (other.host, other.bff.pages) == (route.host, route.bff.pages):
            raise Conflict(f"The route {other.name!r} has its sign-in at {route.bff.path!r}, too.")
