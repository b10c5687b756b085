"""The endpoints that a credential opens by itself, and those that decide about one: whoami, revoke-mine, verify,
forward-auth. The last two come here only when the hot protocol could not answer at once.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..core.errors import Code, Rejected
from ..core.oauth_error import OAuthError
from ..core.requirement import Requirement
from ..formats import is_token
from ..http.client_address import TrustedProxies
from ..services import holder
from ..services.authority import Authority, Caller
from ..verify import Verifier
from ..wire.verify import RevokeMine
from .bodies import decode_json
from .dispatch import SECURITY_HEADERS, body_of, credential_of, request_id_of, response_of
from .hot_routes import SUSPENDED
from .problem import reply_for
from .reply import Edge, EdgeRequest, Later, Prove, Waiting, next_number, resume, run

_ENCODER: Final = msgspec.json.Encoder()
_REVOKE_MINE: Final = msgspec.json.Decoder(RevokeMine)


def waiting_for(authority: Authority, verifier: Verifier) -> Waiting:
    """Return what the work of edges may wait for."""

    async def prove(asked: Prove) -> str:
        """Return the thumbprint of the key that a proof is made with; raises ``Rejected``. Spec: RFC 9449 §7.2."""
        from ..services.dpop import check_proof_with  # JOSE is loaded when it is first needed

        try:
            return await check_proof_with(
                authority, asked.access_token, asked.proof, method=asked.method, url=asked.url
            )
        except OAuthError as error:
            raise Rejected(Code.PROOF_INVALID, error.description, detail=error.detail) from None

    return Waiting(verifier, authority.records.refresh, prove)


class CredentialEndpoints:
    """ASGI endpoints around one verifier."""

    def __init__(self, authority: Authority, verifier: Verifier, proxies: TrustedProxies) -> None:
        self._authority = authority
        self._proxies = proxies
        self._verifier = verifier
        self._waiting = waiting_for(authority, verifier)

    def edge(self, edge: Edge) -> Any:
        """Return the endpoint that runs an edge's work, or goes on with what the hot protocol began."""

        async def serve(request: Request) -> Response:
            request_id = request_id_of(request)
            try:
                suspended = request.scope["state"].pop(SUSPENDED, None)
                if suspended is not None:
                    return response_of(await resume(suspended, self._waiting))
                edge_request = EdgeRequest(
                    request.method.encode(),
                    request.scope["raw_path"] + b"?" + request.scope["query_string"],
                    request.scope["headers"],
                    await body_of(request, self._authority.settings.max_body),
                    request.client.host if request.client else None,
                    next_number(),
                )
                reply = edge.at_once(edge_request)
                if isinstance(reply, Later):
                    reply = await reply.reply
                if reply is None:
                    steps = edge.steps(edge_request)
                    assert steps is not None  # noqa: S101 — such edges have endpoints of their own
                    reply = await run(steps, self._waiting)
                return response_of(reply)
            except Exception as error:
                return response_of(reply_for(error, request_id))

        return serve

    async def whoami(self, request: Request) -> Response:
        """Tell the holder of a key or an access token what it is."""
        try:
            requirement, text = self._requirement(request), self._credential(request)
            if is_token(text):
                return self._json(request, await holder.whoami_token(self._verifier, text, requirement))
            found = await holder.identify(self._verifier, text, requirement)
            return self._json(request, await holder.whoami(self._authority, found, requirement))
        except Exception as error:
            return response_of(reply_for(error, request_id_of(request)))

    async def revoke_mine(self, request: Request) -> Response:
        """Burn the presented key."""
        try:
            requirement = self._requirement(request)
            found = await holder.identify(self._verifier, self._credential(request), requirement)
            body = await body_of(request, self._authority.settings.max_body)
            asked = decode_json(_REVOKE_MINE, request.scope["headers"], body) if body else RevokeMine()
            caller = Caller(
                actor=found.record.key.id,
                permissions=frozenset(),
                project_id=found.record.project.id,
                source=None if requirement.client_ip is None else str(requirement.client_ip),
                request_id=request_id_of(request),
            )
            return self._json(request, await holder.revoke_mine(self._authority, found, caller, asked))
        except Exception as error:
            return response_of(reply_for(error, request_id_of(request)))

    def _credential(self, request: Request) -> str:
        return credential_of(request, self._authority, self._requirement(request).client_ip)

    def _requirement(self, request: Request) -> Requirement:
        peer = request.client.host if request.client else None
        return Requirement(
            client_ip=self._proxies.client_address(peer, request.scope["headers"]),
            origin=request.headers.get("origin"),
            referrer=request.headers.get("referer"),
        )

    def _json(self, request: Request, content: object) -> Response:
        headers = {**SECURITY_HEADERS, "content-type": "application/json", "x-request-id": request_id_of(request)}
        return Response(_ENCODER.encode(content), 200, headers)
