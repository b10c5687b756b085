"""The back channel of OAuth: token, revocation, introspection and device authorization endpoints.

Nothing is cached. Pages of any origin may ask for tokens and give them back, since public clients may be pages; no
cookie counts here. Spec: RFC 6749 §5, RFC 7009, RFC 7662, RFC 8628 §3.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..core.instant import SECOND
from ..core.oauth_error import InvalidDpopProof
from ..http.client_address import TrustedProxies
from ..services import authorize, device, dpop, introspection, issue, pushed_requests, revocation
from ..services.authority import Authority
from ..services.client_authentication import ClientAuthentication, OAuthRequest
from ..services.introspection import Introspection
from ..services.key_sets import KeySets
from ..services.token_endpoint import PATH, TokenEndpoint
from ..verify import Verifier
from .dispatch import request_id_of, response_of
from .forms import INTROSPECTION_JWT, read_request
from .oauth_answers import PAGES, refusal, typed
from .oauth_answers import answer as answered
from .reply import Headers, Reply

PUSH: Final = "/oauth/par"

Answer = Callable[[OAuthRequest, Request], Awaitable[Reply]]


class OAuthEndpoints:
    """The ASGI endpoints."""

    def __init__(self, authority: Authority, verifier: Verifier, proxies: TrustedProxies) -> None:
        self._authority = authority
        self._proxies = proxies
        self._limiter = verifier.engines.limiter
        self._tag_key = authority.keyring.derived(issue.TAG_PURPOSE)
        self._key_sets = key_sets = KeySets(authority)
        self._authentication = ClientAuthentication(authority, verifier.engines.throttle, key_sets)
        self._token_endpoint = TokenEndpoint(authority, verifier, self._authentication, key_sets)
        self._introspection = Introspection(authority, verifier, self._authentication, self._tag_key)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(PATH, self._endpoint(self._token), methods=["POST"]),
            Route("/oauth/revoke", self._endpoint(self._revoke), methods=["POST"]),
            Route(introspection.PATH, self._endpoint(self._introspect, takes_bearer=True), methods=["POST"]),
            Route(PUSH, self._endpoint(self._push), methods=["POST"]),
            Route("/oauth/device_authorization", self._endpoint(self._device), methods=["POST"]),
            *(Route(path, _preflight, methods=["OPTIONS"]) for path in (PATH, "/oauth/revoke", PUSH)),
        ]

    def direct(self) -> Mapping[tuple[str, str], ASGIApp]:
        """Return what is asked so often that it is answered without the framework, by method and path."""
        token = self._replying(self._token)

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            reply = await token(Request(scope, receive))
            headers = [*reply.headers, *reply.more, (b"content-length", b"%d" % len(reply.body))]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await send({"type": "http.response.body", "body": reply.body})

        return {("POST", PATH): serve}

    def _endpoint(self, answer: Answer, *, takes_bearer: bool = False) -> Callable[[Request], Awaitable[Response]]:
        replying = self._replying(answer, takes_bearer=takes_bearer)

        async def serve(request: Request) -> Response:
            return response_of(await replying(request))

        return serve

    def _replying(self, answer: Answer, *, takes_bearer: bool = False) -> Callable[[Request], Awaitable[Reply]]:
        async def reply_to(request: Request) -> Reply:
            try:
                asked = await read_request(request, self._authority, self._proxies, takes_bearer=takes_bearer)
                return await answer(asked, request)
            except Exception as error:
                return refusal(error, request_id_of(request))

        return reply_to

    async def _token(self, asked: OAuthRequest, request: Request) -> Reply:
        said = await self._token_endpoint.answer(asked)
        more: Headers = ()
        if asked.proofs and self._authority.settings.dpop_nonces:
            nonce = dpop.new_nonce(self._authority.keyring, self._authority.clock.now())
            more = ((b"dpop-nonce", nonce.encode()),)
        return answered(said, request_id_of(request), more=more)

    async def _revoke(self, asked: OAuthRequest, request: Request) -> Reply:
        await revocation.revoke(self._authority, self._authentication, asked, self._tag_key)
        return typed(b"", "application/json", request_id_of(request))

    async def _introspect(self, asked: OAuthRequest, request: Request) -> Reply:
        said = await self._introspection.answer(asked)
        if isinstance(said, str):
            return typed(said.encode(), INTROSPECTION_JWT, request_id_of(request))
        return answered(said, request_id_of(request))

    async def _push(self, asked: OAuthRequest, request: Request) -> Reply:
        client = (await self._authentication.client_of(asked)).client
        await pushed_requests.slow_down(self._limiter, client, None if asked.source is None else str(asked.source))
        if len(asked.proofs) > 1:
            raise InvalidDpopProof("There is more than one DPoP proof.")
        thumbprint = ""
        for proof in asked.proofs:
            url = self._authority.settings.issuer_url.rstrip("/") + PUSH
            nonces = self._authority.settings.dpop_nonces
            thumbprint = await dpop.check_proof(self._authority, proof, method="POST", url=url, needs_nonce=nonces)
        parameters = pushed_requests.parameters_in(asked.form)
        request_uri = await authorize.push(self._authority, self._key_sets, client, parameters, thumbprint)
        expires_in = pushed_requests.EXPIRES_IN // SECOND
        return answered({"request_uri": request_uri, "expires_in": expires_in}, request_id_of(request), 201)

    async def _device(self, asked: OAuthRequest, request: Request) -> Reply:
        client, _, apis = await self._authentication.client_of(asked)
        form = asked.form
        said = await device.start(
            self._authority,
            self._limiter,
            client,
            apis,
            {
                "scope": form.get("scope"),
                "resources": form.all("resource"),
                "authorization_details": form.get("authorization_details"),
            },
            source=None if asked.source is None else str(asked.source),
            user_agent=request.headers.get("user-agent", ""),
        )
        return answered(said, request_id_of(request))


async def _preflight(request: Request) -> Response:
    """Answer what a browser asks before it lets a page of another site ask here."""
    said = PAGES.of_preflight(request.method, request.scope["headers"])
    if said is None:
        return Response(b"", 405, {"allow": "POST"})
    return Response(b"", 204, {name.decode(): value.decode() for name, value in said})
