"""How one call of the management API runs: authenticate, decode strictly, do it, answer; errors in ``problem.py``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..core import own_api
from ..core.errors import Conflict, InvalidInput
from ..core.own_api import ADMIN
from ..core.permissions import parse
from ..core.requirement import Requirement
from ..http.carriage import SecretInUrl, credential_in
from ..http.client_address import Address, TrustedProxies
from ..ports import NotReady
from ..services.authority import Authority, Caller
from ..services.keys import settled
from ..services.paging import Page
from ..verify import Verifier
from .bodies import decode_json
from .cursors import open_cursor, seal_cursor
from .hot_routes import REQUEST_ID, new_request_id
from .idempotency import IdempotentAnswers, digest_of, key_in
from .operation import Call, Operation
from .problem import HttpProblem, reply_for
from .reply import Reply

_ENCODER: Final = msgspec.json.Encoder()
SECURITY_HEADERS: Final = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
_ACCEPT: Final = frozenset(own_api.ACCEPTS)


def request_id_of(request: Request) -> str:
    """Return the id of a request, which no client chooses."""
    state: dict[str, Any] = request.scope.setdefault("state", {})
    return str(state.setdefault(REQUEST_ID, new_request_id()))


def response_of(reply: Reply) -> Response:
    """Return a reply as the ASGI application sends it."""
    response = Response(reply.body, reply.status)
    response.raw_headers.extend((*reply.headers, *reply.more))
    return response


async def body_of(request: Request, limit: int) -> bytes:
    """Return the whole body; raises ``HttpProblem`` 413 as soon as it is larger than ``limit`` bytes, and 400 when the
    client went away before its end.
    """
    for name, value in request.scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > limit:
            raise HttpProblem(413, f"The body may have {limit:,} bytes at most.")
    body = bytearray()
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise HttpProblem(400, "The connection ended before the body did.")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise HttpProblem(413, f"The body may have {limit:,} bytes at most.")
    return bytes(body)


def credential_of(request: Request, authority: Authority, source: Address | None) -> str:
    """Return the one credential of a request to the authority itself; one in the URL is refused, and noted."""
    try:
        return credential_in(request.scope["headers"], query=request.scope["query_string"].decode("latin-1"))
    except SecretInUrl as refusal:
        authority.seen_in_url(refusal.secrets, source, "keybearer", refusal.code.value)
        raise


class Dispatcher:
    """Runs operations for callers who prove themselves with a key of Keybearer's own API."""

    def __init__(self, authority: Authority, verifier: Verifier, proxies: TrustedProxies) -> None:
        self.authority = authority
        self.proxies = proxies
        self._verifier = verifier
        self._cursor_key = authority.keyring.derived("cursor")
        self._answers = IdempotentAnswers(authority.keyring)

    def endpoint(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        """Return the ASGI endpoint of an operation."""
        decoder = None if operation.body is None else msgspec.json.Decoder(operation.body)

        async def serve(request: Request) -> Response:
            request_id = request_id_of(request)
            try:
                return await self._serve(operation, decoder, request, request_id)
            except Exception as error:
                return response_of(reply_for(error, request_id))

        return serve

    async def caller_of(self, request: Request, permission: str = "", *, cost: int = 1) -> Caller:
        """Return who calls; raises ``Rejected`` unless a good key of Keybearer's own API was sent, and one that holds
        ``permission``: what is refused here is counted and audited like every refused credential. ``cost`` is what the
        limits of the key take.
        """
        source = self.proxies.client_address(request.client.host if request.client else None, request.scope["headers"])
        await self.authority.records.refresh()
        try:
            own = self.authority.records.api(self.authority.own_api_id)
        except NotReady:  # between the two lines the log grew
            await self.authority.records.refresh()
            own = self.authority.records.api(self.authority.own_api_id)
        requirement = Requirement(
            accept=_ACCEPT,
            api=own,
            demand=parse(f"{permission} or {ADMIN}") if permission else None,
            client_ip=source,
            origin=request.headers.get("origin"),
            referrer=request.headers.get("referer"),
            method=request.method,
            path=request.scope["raw_path"].decode("latin-1"),
            cost=cost,
        )
        credential = credential_of(request, self.authority, source)
        principal = (await self._verifier.verify(credential, requirement)).principal
        own_project = principal.project_id == self.authority.own_project_id
        return Caller(
            actor=principal.actor,
            permissions=principal.permissions,
            project_id=None if own_project else principal.project_id,
            source=None if source is None else str(source),
            request_id=request_id_of(request),
        )

    async def _serve(
        self, operation: Operation, decoder: msgspec.json.Decoder[Any] | None, request: Request, request_id: str
    ) -> Response:
        # Before the body is looked at, and before an answer is given again to a caller who may no longer ask.
        caller = await self.caller_of(request, operation.permission)
        query = _query_of(operation, request.scope["query_string"])
        body = await body_of(request, max(self.authority.settings.max_body, operation.max_body))
        decoded = None
        if decoder is not None and (body or not operation.optional_body):
            decoded = decode_json(decoder, request.scope["headers"], body)
        elif decoder is not None:
            decoded = operation.body()
        elif body:
            raise InvalidInput.of("body", "this operation takes no body")
        path = request.scope["path"]  # never request.url, which is put together with what the Host field says
        after = open_cursor(self._cursor_key, path, query)
        key = key_in(request.headers.getlist("idempotency-key")) if operation.changes else None

        def encode(result: object) -> bytes:
            return _ENCODER.encode(self._listed(result, path, query))

        headers = {**SECURITY_HEADERS, "content-type": "application/json", "x-request-id": request_id}
        if key is None:
            call = Call(self.authority, caller, request.path_params, query, decoded, after)
            return Response(encode(await operation.handler(call)), operation.status, headers)

        digest = digest_of(request.method, path, request.scope["query_string"], body, caller.project_id or "")
        known = await self._remembered(caller.actor, key, digest)
        if known is not None and getattr(decoded, "wait", False):
            # The first answer may have been lost while it waited for the other nodes.
            await settled(self.authority)
        if known is None:
            slot = self._answers.slot(key, caller.actor, digest, encode)
            caller = Caller(caller.actor, caller.permissions, caller.project_id, caller.source, caller.request_id, slot)
            call = Call(self.authority, caller, request.path_params, query, decoded, after)
            try:
                return Response(encode(await operation.handler(call)), operation.status, headers)
            except Conflict:
                # Perhaps the same request ran at the same time and was faster.
                known = await self._remembered(caller.actor, key, digest)
                if known is None:
                    raise
        return Response(known, operation.status, {**headers, "idempotency-replayed": "true"})

    async def _remembered(self, actor: str, key: str, digest: bytes) -> bytes | None:
        remembered = await self.authority.store.recall(actor, key)
        return None if remembered is None else self._answers.open(remembered, digest)

    def _listed(self, result: object, path: str, query: dict[str, str]) -> object:
        if not isinstance(result, Page):
            return result
        cursor = None if result.after is None else seal_cursor(self._cursor_key, path, query, result.after)
        return {"items": result.items, "next_cursor": cursor}


def _query_of(operation: Operation, query_string: bytes) -> dict[str, str]:
    known = {parameter.name for parameter in operation.parameters}
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, max_num_fields=50, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise InvalidInput.of("query", "this query string is not valid") from None
    query: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise InvalidInput.of(name[:64], f"this query parameter is unknown here; there are: {allowed}")
        if name in query:
            raise InvalidInput.of(name, "this query parameter stands here twice")
        if len(value) > 512 or not value.isprintable():
            raise InvalidInput.of(name, "a query parameter has 512 printable characters at most")
        query[name] = value
    return query
