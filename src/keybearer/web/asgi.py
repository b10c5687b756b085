"""The ASGI application: every route that the hot protocol does not answer at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..core.errors import StoreError
from ..http.client_address import TrustedProxies
from ..ports import LiveEvents
from ..services import imports, user_imports
from ..services.authority import Authority
from ..verify import Verifier
from . import (
    client_operations,
    key_operations,
    leak_operations,
    observation,
    records,
    user_operations,
    webhook_operations,
)
from .client_registration import RegistrationEndpoints
from .credentials import CredentialEndpoints
from .decision import VerifyEdge
from .discovery import DiscoveryEndpoints
from .dispatch import SECURITY_HEADERS, Dispatcher, request_id_of, response_of
from .event_stream import EventStreams
from .ext_authz import ExtAuthzEdge
from .forward_auth import ForwardAuthEdge
from .hot_routes import REQUEST_ID, log_access
from .imports import ImportEndpoint
from .leak_reports import LeakReportEndpoints
from .oauth import OAuthEndpoints
from .observation import EVENTS
from .openapi import document
from .operation import Operation
from .pages import routes as page_routes
from .pages.site import Site
from .problem import HttpProblem, reply_for
from .routing import PlainPathsFirst
from .userinfo import UserinfoEndpoint

OPERATIONS: Final[tuple[Operation, ...]] = (
    *records.OPERATIONS,
    *key_operations.OPERATIONS,
    *user_operations.OPERATIONS,
    *client_operations.OPERATIONS,
    *leak_operations.OPERATIONS,
    *webhook_operations.OPERATIONS,
    *observation.OPERATIONS,
)
READY_WITHIN: Final = 1.0
FORWARDED_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class _Reference(Convertor[str]):
    """The id of an API, or its identifier: a URI, whose colon comes before any slash."""

    regex = r"[^/]+|[A-Za-z][A-Za-z0-9+.-]*:.+"

    def convert(self, value: str) -> str:
        """Return it as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Return it as it is."""
        return value


register_url_convertor("reference", _Reference())


def create_web(
    authority: Authority,
    verifier: Verifier,
    proxies: TrustedProxies,
    *,
    verify_edge: VerifyEdge,
    forward_edge: ForwardAuthEdge,
    live: LiveEvents,
    ext_authz_edge: ExtAuthzEdge,
    render_metrics: Callable[[], bytes],
    count_request: Callable[[str, int], None] = lambda route, status: None,
) -> ASGIApp:
    """Return the application. ``render_metrics`` gives ``/metrics``; ``count_request`` hears each route and status."""
    dispatcher = Dispatcher(authority, verifier, proxies)
    credentials = CredentialEndpoints(authority, verifier, proxies)
    verify, forward = credentials.edge(verify_edge), credentials.edge(forward_edge)
    streams = EventStreams(dispatcher, live, dispatcher.endpoint(EVENTS))
    ext_authz = _OfAnyMethod(credentials.edge(ext_authz_edge))
    oauth = OAuthEndpoints(authority, verifier, proxies)
    userinfo = UserinfoEndpoint(authority, verifier, proxies).serve
    site = Site(authority, verifier.engines.limiter, proxies)
    openapi = msgspec.json.encode(document(OPERATIONS))

    async def healthz(request: Request) -> Response:
        return _plain(request, 200, b'{"status":"alive"}')

    async def readyz(request: Request) -> Response:
        try:
            await asyncio.wait_for(authority.store.head(), READY_WITHIN)
            await asyncio.wait_for(authority.records.refresh(), READY_WITHIN)
        except (StoreError, TimeoutError):
            return _plain(request, 503, b'{"status":"the database does not answer"}')
        return _plain(request, 200, b'{"status":"ready"}')

    async def metrics(request: Request) -> Response:
        return Response(render_metrics(), 200, SECURITY_HEADERS, "text/plain; version=0.0.4; charset=utf-8")

    async def openapi_json(request: Request) -> Response:
        return _plain(request, 200, openapi)

    x_auth_routes: list[Route] = []
    if authority.settings.x_auth:
        from . import x_auth  # loaded where it is wanted: start-up is short

        x_auth_routes = x_auth.routes(authority, verifier, proxies)
    routes = [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/openapi.json", openapi_json, methods=["GET"]),
        Route("/v1/verify", verify, methods=["POST"]),
        Route("/forward-auth", forward, methods=FORWARDED_METHODS),
        Route("/forward-auth/nginx", forward, methods=FORWARDED_METHODS),
        Route("/ext-authz{path:path}", ext_authz),
        Route("/v1/whoami", credentials.whoami, methods=["GET"]),
        Route("/v1/revoke-mine", credentials.revoke_mine, methods=["POST"]),
        Route("/v1/keys/import", ImportEndpoint(dispatcher, imports).serve, methods=["POST"]),
        Route("/v1/users/import", ImportEndpoint(dispatcher, user_imports).serve, methods=["POST"]),
        Route("/v1/events", streams.serve, methods=["GET"]),
        *DiscoveryEndpoints(authority).routes(),
        *RegistrationEndpoints(authority, dispatcher, proxies).routes(),
        Route("/oauth/userinfo", userinfo, methods=["GET", "POST", "OPTIONS"]),
        *LeakReportEndpoints(authority, proxies).routes(),
        *oauth.routes(),
        *x_auth_routes,
        *page_routes(site),
        *_by_path(dispatcher),
    ]

    async def http_problem(request: Request, error: Exception) -> Response:
        if getattr(error, "status_code", 0) == 404 and "text/html" in request.headers.get("accept", ""):
            return await site.nothing_here(request)
        return _http_problem(request, error)

    web = Starlette(exception_handlers={HTTPException: http_problem, Exception: _unexpected})
    web.router = PlainPathsFirst(routes)
    return _Counted(web, oauth.direct(), count_request, access_log=authority.settings.access_log)


class _OfAnyMethod:
    """An endpoint that is asked with whatever method the client of a proxy used; a function would take GET only."""

    def __init__(self, endpoint: Callable[[Request], Any]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        response: Response = await self._endpoint(Request(scope, receive))
        await response(scope, receive, send)


def _by_path(dispatcher: Dispatcher) -> list[Route]:
    """Return one route per path, so that a wrong method is answered with all the methods that the path has."""
    endpoints: dict[str, dict[str, Callable[[Request], Any]]] = {}
    # Identifiers of APIs are URIs, whose slashes arrive here decoded. What stands behind them is therefore tried first.
    for operation in sorted(OPERATIONS, key=lambda operation: -operation.path.count("/")):
        path = operation.path.replace("{api}", "{api:reference}").replace("/v1/apis/{id}", "/v1/apis/{id:reference}")
        endpoints.setdefault(path, {})[operation.method] = dispatcher.endpoint(operation)

    def route(path: str, by_method: dict[str, Callable[[Request], Any]]) -> Route:
        async def serve(request: Request) -> Response:
            # Starlette lets HEAD in wherever GET is; the server leaves the body of the answer away.
            method = "GET" if request.method == "HEAD" else request.method
            found: Response = await by_method[method](request)
            return found

        return Route(path, serve, methods=list(by_method))

    return [route(path, by_method) for path, by_method in endpoints.items()]


def _plain(request: Request, status: int, body: bytes) -> Response:
    headers = {**SECURITY_HEADERS, "content-type": "application/json", "x-request-id": request_id_of(request)}
    return Response(body, status, headers)


def _http_problem(request: Request, error: Exception) -> Response:
    """Answer an unknown path or method as a problem."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        allow = (getattr(error, "headers", None) or {}).get("Allow", "")
        problem = HttpProblem(405, f"This resource takes: {allow}.", (b"allow", allow.encode()))
    elif status == 404:
        problem = HttpProblem(404, f"There is nothing at {request.scope['path'][:200]!r}; see /openapi.json.")
    else:
        problem = HttpProblem(status, "The request could not be read.")
    return response_of(reply_for(problem, request_id_of(request)))


async def _unexpected(request: Request, error: Exception) -> Response:
    return response_of(reply_for(error, request_id_of(request)))


class _Counted:
    """Counts answers by route template and status, never by what stood in the path.

    ``direct`` has, by method and path, what needs nothing of the framework: it answers every error itself.
    """

    def __init__(
        self,
        web: Starlette,
        direct: Mapping[tuple[str, str], ASGIApp],
        count: Callable[[str, int], None],
        *,
        access_log: bool,
    ) -> None:
        self._web = web
        self._direct = direct
        self._count = count
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and look at the status that goes out."""

        place = (scope.get("method", ""), scope.get("path", ""))
        direct = self._direct.get(place)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = place[1] if direct is not None else getattr(scope.get("route"), "path", "(none)")
                status = int(message["status"])
                self._count(path, status)
                if self._access_log:
                    log_access(path, status, str(scope.get("state", {}).get(REQUEST_ID, "")))
            await send(message)

        await (direct or self._web)(scope, receive, counted)
