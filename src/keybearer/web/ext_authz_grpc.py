"""Envoy's ext_authz over gRPC: the service ``envoy.service.auth.v3.Authorization`` in the process of the authority.

What must hold stands in the route's ``context_extensions``, under the names of ``door.py``; without any nobody passes.
The client's address is the one that Envoy worked out itself. Only trusted proxies may ask.
"""

from __future__ import annotations

import logging
from typing import Any, Final
from urllib.parse import quote, unquote

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from ..core.errors import ConfigurationError, InvalidInput
from ..core.records import Api
from ..http.client_address import FORWARDED_FOR
from ..ports import NotReady, Records
from ..settings import Settings
from .admission import CARRIED, STATUS
from .ext_authz import for_the_client, headers_to_remove, question
from .ext_authz_messages import OVERWRITE_IF_EXISTS_OR_ADD, CheckRequest, CheckResponse
from .forward_auth import ForwardAuthEdge
from .hot_routes import HOST, log_access
from .problem import reply_for
from .reply import EdgeRequest, HeaderList, Reply, Waiting, next_number, run

SERVICE: Final = "envoy.service.auth.v3.Authorization"
MAX_MESSAGE: Final = 262_144
"""Envoy's own bound for the headers of a request is 60 KiB; bodies are not asked for."""
_STATUS_CODES: Final = {200: 0, 401: 16, 403: 7, 429: 8, 503: 14}
"""``google.rpc.Code`` by HTTP status: OK, UNAUTHENTICATED, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAVAILABLE."""
_INVALID_ARGUMENT: Final = 3

log = logging.getLogger(__name__)


async def start(settings: Settings, records: Records, forward: ForwardAuthEdge, waiting: Waiting) -> aio.Server:
    """Return a running server on ``settings.ext_authz_port``; raises ``ConfigurationError`` when the port is taken."""
    authorization = Authorization(records, forward, waiting, access_log=settings.access_log)
    server = aio.server(
        handlers=(
            grpc.method_handlers_generic_handler(
                SERVICE, {"Check": grpc.unary_unary_rpc_method_handler(authorization.check)}
            ),
        ),
        options=(
            ("grpc.so_reuseport", int(settings.workers > 1)),
            ("grpc.max_receive_message_length", MAX_MESSAGE),
        ),
        maximum_concurrent_rpcs=settings.max_connections,
    )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    place = f"{host}:{settings.ext_authz_port}"
    try:
        if settings.tls_certificate:
            server.add_secure_port(place, _tls(settings))
        else:
            server.add_insecure_port(place)
    except RuntimeError as error:
        raise ConfigurationError(f"Cannot listen on {place} for ext_authz.") from error
    await server.start()
    return server


def _tls(settings: Settings) -> grpc.ServerCredentials:
    with open(settings.tls_key, "rb") as key, open(settings.tls_certificate, "rb") as certificate:
        return grpc.ssl_server_credentials([(key.read(), certificate.read())])


class Authorization:
    """Answers ``Check``."""

    def __init__(
        self, records: Records, forward: ForwardAuthEdge, waiting: Waiting, *, access_log: bool = False
    ) -> None:
        self._records = records
        self._forward = forward
        self._waiting = waiting
        self._access_log = access_log

    async def check(self, data: bytes, context: Any) -> bytes:
        """Answer one encoded ``CheckRequest`` with an encoded ``CheckResponse``: denied whatever goes wrong."""
        number = next_number()
        request = EdgeRequest(b"GET", b"", [], b"", peer_of(context.peer()), number)
        names: list[str] = []
        api = None
        try:
            request = _question_in(data, request)
            api = await self._api(self._forward.door(request).api)
            reply = self._forward.at_once(request) or await run(self._forward.steps(request), self._waiting)
            names = [name.decode("latin-1") for name, _ in request.headers]
        except Exception as error:
            reply = reply_for(error, request.request_id)
        if self._access_log:
            log_access(SERVICE, reply.status, request.request_id)
        return _response_for(reply, api, names)

    async def _api(self, name: str | None) -> Api | None:
        """Return the API, before the question: that takes from limits and cannot be asked twice."""
        while name is not None:
            try:
                return self._records.api(name)
            except NotReady:
                await self._waiting.refresh()
        return None


def peer_of(text: str) -> str | None:
    """Return the address in what gRPC calls a peer, such as ``ipv4:192.0.2.1:1234`` or ``ipv6:%5B::1%5D:1234``."""
    kind, _, rest = text.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    return unquote(rest).rpartition(":")[0].strip("[]")


def _question_in(data: bytes, request: EdgeRequest) -> EdgeRequest:
    try:
        attributes = CheckRequest.FromString(data).attributes
    except DecodeError:
        raise InvalidInput.of("CheckRequest", "this is no such message") from None
    door = attributes.context_extensions
    if not door:
        raise InvalidInput.of("context_extensions", "the route must say what a credential must have")
    http = attributes.request.http
    if HOST.fullmatch(http.host.encode()) is None:
        # Several, merged by commas, or none: whoever stands behind may read another one. RFC 9112 §3.2
        raise InvalidInput.of("host", "the request must name one host")
    source = attributes.source.address.socket_address.address
    ours = (FORWARDED_FOR, b"x-forwarded-proto", b"host")
    headers = [header for header in _headers_of(http) if header[0] not in ours]
    headers += [(b"x-forwarded-proto", http.scheme.encode()), (b"host", http.host.encode())]
    if source:
        headers.append((FORWARDED_FOR, source.encode()))
    return question(
        headers,
        door="&".join([f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in door.items()]).encode(),
        method=http.method.encode(),
        uri=http.path.encode(),
        host=http.host.encode(),
        peer=request.peer,
        number=request.number,
    )


def _headers_of(http: Any) -> HeaderList:
    """Return the headers, line by line where Envoy was told so (``encode_raw_headers``), else merged by commas."""
    raw = [(one.key.lower().encode(), one.raw_value or one.value.encode()) for one in http.header_map.headers]
    merged = [(name.lower().encode(), value.encode()) for name, value in http.headers.items()]
    return [header for header in (*raw, *merged) if not header[0].startswith(b":")]


def _response_for(reply: Reply, api: Api | None, names: list[str]) -> bytes:
    response = CheckResponse()
    response.status.code = _STATUS_CODES.get(reply.status, _INVALID_ARGUMENT)
    said = [(name.decode("latin-1"), value) for name, value in (*reply.headers, *reply.more)]
    if reply.status != 200:
        response.denied_response.status.code = reply.status
        response.denied_response.body = reply.body.decode()
        for name, value in said:
            if name != STATUS.decode():  # for proxies that cannot hand on every status
                _add(response.denied_response.headers, name, value)
        return bytes(response.SerializeToString())
    admitted = response.ok_response
    of_ours = {STATUS.decode(), CARRIED.decode()}
    identity = {name: value for name, value in said if name.startswith("x-keybearer-") and name not in of_ours}
    for name, value in identity.items():
        if value:
            _add(admitted.headers, name, value)
    told = {name for name, value in identity.items() if value}
    silent = [name for name in identity if name not in told]
    admitted.headers_to_remove.extend(sorted({*silent, *headers_to_remove(api, names)} - told))
    for header, value in (*[one for one in reply.more if one[0] == b"ratelimit"], *for_the_client(reply)):
        _add(admitted.response_headers_to_add, header.decode(), value)
    return bytes(response.SerializeToString())


def _add(headers: Any, name: str, value: bytes) -> None:
    option = headers.add(append_action=OVERWRITE_IF_EXISTS_OR_ADD)
    option.header.key, option.header.value = name, value.decode("latin-1")
