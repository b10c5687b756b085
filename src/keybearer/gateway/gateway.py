"""The gateway of one process: it matches each request to a route, asks the doorkeeper, and relays or refuses.

It shares verifier, limiter, records and keyring with the authority in the same process, so that limits are exact and a
revoked credential is refused at the next request. Spec: DESIGN §3, §5, §8.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import secrets
import ssl
from collections.abc import Callable, Iterable
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final

from ..core.errors import KeybearerError, Rejected
from ..core.records import State
from ..core.routes import Cors, Matched, Route, RouteTable
from ..http.client_address import TrustedProxies
from ..http.cors import SAID, CorsPolicy
from ..http.identity_headers import identity_of
from ..http.refusals import rate_limit_header
from ..services.authority import Authority
from ..settings import Settings
from ..verify import Verifier
from .door import Admission, Doorkeeper
from .forwarding import about_the_way, fields_for_client, fields_for_upstream, target_for, went_in_a_circle
from .fresh import fresh
from .inbound import ClientGone, ClientTooSlow, Inbound
from .message import BadRequest, HeaderList, Request
from .outbound import UpstreamFailed
from .phantom import PhantomTokens
from .relay import Relay
from .secrets import UpstreamSecrets
from .upstream import Unwilling, Upstream

if TYPE_CHECKING:
    from .bff import Bffs

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.25
RECHECK_EVERY: Final = 0.5
RECHECK_IN: Final = 1.0
"""How often the credentials of answers that go on are looked at again, and how long that may take, in seconds."""
BOOT: Final = secrets.token_hex(6)
_COUNT: Final = itertools.count(1)
_PREFLIGHT: Final = "access-control-request-method"
_JSON: Final = (b"content-type", b"application/problem+json")
_KEPT_BY_NOBODY: Final = ((b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer"))
"""For answers to a URL that holds a key: a cache would give them to other sites, and the URL is told to nobody."""
ALWAYS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Answered(Exception):
    """What the gateway answers by itself."""

    def __init__(self, status: int, fields: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
        super().__init__(status)
        self.status = status
        self.fields = list(fields)
        self.body = body


class Gateway:
    """Answers the requests of all connections of one listener."""

    def __init__(
        self,
        authority: Authority,
        verifier: Verifier,
        proxies: TrustedProxies,
        *,
        file_routes: tuple[Route, ...] = (),
        may_reach: Callable[[IPv4Address | IPv6Address], bool],
        count: Callable[[str, int], None] = lambda route, status: None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.settings: Settings = authority.settings
        self._authority = authority
        self._verifier = verifier
        self._proxies = proxies
        self._file_routes = file_routes
        self._may_reach = may_reach
        self._count = count
        self._secrets = UpstreamSecrets(authority)
        self._made_bffs: Bffs | None = None
        self._door = Doorkeeper(authority, verifier, self._session_token)
        self._phantoms = PhantomTokens(authority)
        self._connections: set[Inbound] = set()
        self._upstreams: dict[tuple[str, str, int, bool], Upstream] = {}
        self._known_routes: object = None
        self._table = RouteTable(file_routes)
        self._policies: dict[Cors, CorsPolicy] = {}
        self._tls: ssl.SSLContext | None = None
        self._streams: dict[int, tuple[Admission, Inbound]] = {}
        self._watches: tuple[asyncio.Task[None], ...] = ()
        self.is_stopping = False
        self._all_gone = asyncio.Event()

    # Life.

    def start(self) -> None:
        """Begin to watch over deadlines, and over credentials: neither waits for the other."""
        self._watches = (
            asyncio.create_task(self._look(), name="keybearer-gateway-deadlines"),
            asyncio.create_task(self._recheck(), name="keybearer-gateway-credentials"),
        )

    async def stop(self, seconds: float) -> None:
        """Let open requests finish within some seconds, then close everything."""
        self.is_stopping = True
        for connection in tuple(self._connections):
            connection.stop()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._all_gone.wait()
        for connection in tuple(self._connections):
            connection.abort()
        for upstream in self._upstreams.values():
            upstream.close()
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    def connect(self) -> Inbound:
        """Return the protocol of a new connection."""
        return Inbound(self)

    def admit(self, connection: Inbound) -> bool:
        """Take a connection in; false when there are too many."""
        if self.is_stopping or len(self._connections) >= self.settings.max_connections:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: Inbound) -> None:
        """A connection is closed."""
        self._connections.discard(connection)
        if self.is_stopping and not self._connections:
            self._all_gone.set()

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = self.loop.time()
            for connection in tuple(self._connections):
                connection.look(now)
            for upstream in tuple(self._upstreams.values()):
                upstream.look(now)
                for one in tuple(upstream.connections):
                    one.look(now)

    async def _recheck(self) -> None:
        """Cut off answers that go on although the credential would open nothing any more, or that cannot be told."""
        while True:
            await asyncio.sleep(RECHECK_EVERY)
            until = self.loop.time() + RECHECK_IN
            for key, (admission, client) in tuple(self._streams.items()):
                if admission.requirement is None or key not in self._streams:
                    continue
                try:
                    async with asyncio.timeout_at(until):
                        await self._verifier.check_again(admission.credential, admission.requirement)
                except (KeybearerError, TimeoutError):
                    client.cut()
                except Exception:
                    log.exception("a credential could not be looked at again")
                    client.cut()

    # What may be asked.

    async def _routes(self) -> RouteTable:
        records = self._authority.records
        routes = await fresh(records, records.routes)
        if routes is not self._known_routes:
            self._table = RouteTable((*self._file_routes, *routes))
            if self._table.left_out:
                log.warning(
                    "routes are left out: a file has their name or place", extra={"routes": self._table.left_out}
                )
            self._known_routes = routes
            # What no route leads to any more has no connections for long, and is forgotten with its failures.
            self._upstreams = {place: one for place, one in self._upstreams.items() if one.is_used}
            self._policies.clear()
        return self._table

    def _policy(self, route: Route) -> CorsPolicy | None:
        cors = route.cors
        if cors is None:
            return None
        known = self._policies.get(cors)
        if known is None:
            known = self._policies[cors] = policy_of(cors)
        return known

    def _upstream(self, route: Route) -> Upstream:
        target = route.target
        host = target.hostname or ""
        port = target.port or (443 if target.scheme == "https" else 80)
        place = (target.scheme, host, port, route.from_file)
        known = self._upstreams.get(place)
        if known is None:
            known = self._upstreams[place] = Upstream(
                self.loop,
                target.scheme,
                host,
                port,
                self._context() if target.scheme == "https" else None,
                None if route.from_file else self._may_reach,
                route.max_connections,
            )
        known.most = route.max_connections
        return known

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            if self.settings.fetch_ca:
                self._tls.load_verify_locations(cafile=self.settings.fetch_ca)
        return self._tls

    def _bffs(self) -> Bffs:
        if self._made_bffs is None:
            from .bff import Bffs  # the grants and JOSE are loaded when a route has people sign in

            self._made_bffs = Bffs(self._authority, self._verifier, self._secrets)
        return self._made_bffs

    async def _session_token(self, route: Route, request: Request) -> str | None:
        site = self._table.session_of(route)
        return None if site is None else await self._bffs().token_for(site, request)

    # One request.

    async def answer(self, client: Inbound, request: Request) -> None:
        """Answer one request, whatever happens."""
        request_id = f"req_{BOOT}{next(_COUNT):x}"
        exchange = _Exchange(client, request, request_id)
        try:
            try:
                await self._serve(exchange)
            except Answered as answered:
                exchange.respond(answered.status, answered.fields, answered.body)
            except BadRequest as refusal:
                exchange.respond(refusal.status, [*ALWAYS, _JSON], refusal.body)
            except Rejected as rejection:
                assert exchange.route is not None  # noqa: S101 — only a route's door rejects
                status, fields = self._door.refusal(rejection, exchange.route, request)
                exchange.respond(status, [*ALWAYS, _JSON, *fields], _REFUSALS[status])
            except ClientTooSlow:
                exchange.respond_problem(408, "The request did not arrive in time.")
            except ClientGone:
                client.abort()
            except Unwilling as unwilling:
                exchange.note("an upstream is not asked", str(unwilling))
                exchange.respond_problem(503, "The server behind this gateway cannot be asked now.", unwilling.retry_in)
            except UpstreamFailed as failure:
                exchange.note("an upstream failed", str(failure))
                if failure.timed_out:
                    exchange.respond_problem(504, "The server behind this gateway did not answer in time.")
                else:
                    exchange.respond_problem(502, "The server behind this gateway gave no answer that can be used.")
            except KeybearerError as error:
                exchange.note("a request could not be decided about", error.detail or error.public)
                exchange.respond_problem(503, "This cannot be decided now.", 1.0)
        except ConnectionResetError:
            client.abort()
        finally:
            name = f"gateway:{exchange.route.name}" if exchange.route is not None else "gateway"
            self._count(name, exchange.status)
            if self.settings.access_log:
                log.info("request", extra={"route": name, "status": exchange.status, "request_id": request_id})

    def plain_refusal(self, refusal: BadRequest) -> HeaderList:
        """Return the fields of an answer to what is no request."""
        return [*ALWAYS, _JSON, (b"content-length", b"%d" % len(refusal.body))]

    async def _serve(self, exchange: _Exchange) -> None:
        client, request = exchange.client, exchange.request
        table = await self._routes()
        match = table.match(request.host, request.path.decode("ascii"))
        if match is None or (match.bff_page and match.routes[0].state is not State.ENABLED):
            raise _problem(404, "No route leads there.")
        client_ip = self._proxies.client_address(client.peer, request.fields)
        scheme = self._scheme(client, request)
        outside = f"{scheme}://{request.authority.decode('ascii').lower()}"
        if match.bff_page:
            exchange.route = match.routes[0]
            page = await self._bffs().page(match.routes[0], match.bff_page, request, outside, client_ip)
            raise Answered(page.status, page.fields, page.body)
        route = exchange.route = self._chosen(match, request, exchange)
        if went_in_a_circle(request):
            raise _problem(508, "This request came through this gateway before.")
        if request.length is not None and request.length > route.max_body:
            raise BadRequest(413, "The body of this request is larger than this route takes.")
        url = outside + request.path.decode("ascii")
        admission = await self._door.admit(route, request, client_ip, url)
        shown = await self._secrets.shown_on(route)
        await self._relay(exchange, route, admission, shown, client_ip, scheme, outside)

    def _chosen(self, match: Matched, request: Request, exchange: _Exchange) -> Route:
        """Return the route that takes this method; answers preflights of browsers. Spec: Fetch §3.2."""
        asked = request.said.get(_PREFLIGHT.encode(), b"").decode("latin-1")
        is_preflight = request.method == "OPTIONS" and bool(asked) and b"origin" in request.said
        if is_preflight:
            route = match.for_method(asked)
            policy = None if route is None or route.state is not State.ENABLED else self._policy(route)
            answer = None if policy is None else policy.of_preflight(request.method, request.fields)
            if route is not None and answer is not None:
                exchange.route = route
                raise Answered(204, answer)
        route = match.for_method(request.method)
        if route is None:
            allowed = ", ".join(match.allowed).encode()
            raise Answered(405, [*ALWAYS, _JSON, (b"allow", allowed)], _problem_body(405, "This method is not taken."))
        if route.state is not State.ENABLED:
            raise _problem(404, "No route leads there.")
        policy = self._policy(route)
        if policy is not None:
            exchange.said_to_browsers = list(policy.of_answer(request.fields))
        return route

    def _scheme(self, client: Inbound, request: Request) -> str:
        if client.is_tls:
            return "https"
        if self._proxies.trusts(client.peer):
            said = request.all_of(b"x-forwarded-proto")
            if len(said) == 1 and said[0] in (b"https", b"http"):
                return said[0].decode("ascii")
        return "http"

    async def _relay(
        self,
        exchange: _Exchange,
        route: Route,
        admission: Admission,
        shown: Any,
        client_ip: IPv4Address | IPv6Address | None,
        scheme: str,
        outside: str,
    ) -> None:
        request, client = exchange.request, exchange.client
        fields: HeaderList = [(b"host", request.authority if route.preserve_host else route.target.netloc.encode())]
        dropped = [*admission.dropped, *(name for name, _ in shown.fields)]
        if shown.spelt:
            # A secret must be found wherever it comes back: nothing encoded, nothing in parts.
            dropped += [b"accept-encoding", b"range", b"if-range", b"sec-websocket-extensions"]
            fields.append((b"accept-encoding", b"identity"))
        fields += fields_for_upstream(request, dropped, admission.cookie, self.settings.issuer_url)
        fields += about_the_way(request, client_ip, scheme, exchange.request_id)
        verified = admission.verified
        if verified is not None:
            if route.identity_headers:
                fields += identity_of(verified.principal.record)
            if route.phantom_token:
                token = await self._phantoms.token(route, verified.principal)
                fields.append((b"authorization", b"Bearer " + token.encode()))
            if verified.limits:
                exchange.limits = [(b"ratelimit", rate_limit_header(verified.limits))]
        fields += shown.fields
        if request.upgrade:
            fields += [(b"connection", b"upgrade"), (b"upgrade", b"websocket")]
        without = admission.without | {name.lower() for name in shown.query}

        def answer_fields(received: HeaderList, upgrade: bool) -> HeaderList:
            kept = fields_for_client(received, route, outside, upgrade=upgrade)
            if exchange.said_to_browsers:
                kept = [(name, value) for name, value in kept if name not in SAID]
            if admission.in_url:
                own = {name for name, _ in _KEPT_BY_NOBODY}
                kept = [*((name, value) for name, value in kept if name not in own), *_KEPT_BY_NOBODY]
            return [*kept, *exchange.own_fields]

        def streaming(begins: bool) -> None:
            if begins and admission.requirement is not None:
                self._streams[id(exchange)] = (admission, client)
            else:
                self._streams.pop(id(exchange), None)

        relay = Relay(
            client=client,
            request=request,
            route=route,
            upstream=self._upstream(route),
            target=target_for(route, request, without, shown.query),
            fields=fields,
            spelt=shown.spelt,
            answer_fields=answer_fields,
            streaming=streaming,
        )
        exchange.status = await relay.run()


class _Exchange:
    """One request and what is known of its answer so far."""

    def __init__(self, client: Inbound, request: Request, request_id: str) -> None:
        self.client = client
        self.request = request
        self.request_id = request_id
        self.route: Route | None = None
        self.said_to_browsers: HeaderList = []
        self.limits: HeaderList = []
        self.status = 0

    @property
    def own_fields(self) -> HeaderList:
        """What every answer of this route says besides."""
        return [(b"x-request-id", self.request_id.encode()), *self.said_to_browsers, *self.limits]

    def respond(self, status: int, fields: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole answer; where another one has begun, all that can be done is to cut it off."""
        client, request = self.client, self.request
        self.status = status
        if client.answering:
            client.cut()
            return
        client.begin(request, status, [*fields, *self.own_fields], length=None if status == 204 else len(body))
        if body and request.method != "HEAD":
            client.write(body)

    def respond_problem(self, status: int, detail: str, retry_in: float | None = None) -> None:
        """Answer with a problem of the gateway's own."""
        fields: HeaderList = [*ALWAYS, _JSON]
        if retry_in is not None:
            fields.append((b"retry-after", b"%d" % max(1, round(retry_in))))
        self.respond(status, fields, _problem_body(status, detail))

    def note(self, what: str, why: str) -> None:
        """Log what the operator should know; nothing here comes from a body or a secret."""
        name = self.route.name if self.route is not None else ""
        log.warning(what, extra={"why": why, "route": name, "request_id": self.request_id})


def policy_of(cors: Cors) -> CorsPolicy:
    """Return a route's policy, ready to be applied; raises ``InvalidInput``."""
    plain = CorsPolicy(cors.origins)
    return CorsPolicy(
        cors.origins,
        headers=cors.headers or plain.headers,
        exposed=(*plain.exposed, *cors.exposed),
        max_age=cors.max_age,
        with_cookies=cors.credentials,
    )


def _problem_body(status: int, detail: str) -> bytes:
    return json.dumps({"title": HTTPStatus(status).phrase, "status": status, "detail": detail}).encode()


_REFUSALS: Final = {
    401: _problem_body(401, "A valid credential is needed."),
    403: _problem_body(403, "The credential does not allow this."),
    429: _problem_body(429, "The limit is used up for now."),
}
"""The public answers to a credential that is refused: constant, whatever the reason was."""


def _problem(status: int, detail: str) -> Answered:
    return Answered(status, [*ALWAYS, _JSON], _problem_body(status, detail))
