"""What anybody may read: server metadata, the JWK Set, and the metadata of each API.

Spec: RFC 8414 §3, OIDC Discovery §4, RFC 7517 §5, RFC 9728 §3.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..core.errors import NotFound
from ..core.records import State
from ..ports import NotReady
from ..services.authority import Authority
from ..services.metadata import ENDPOINTS, metadata
from ..services.resource_metadata import resource_metadata
from .dispatch import SECURITY_HEADERS, request_id_of, response_of
from .problem import reply_for

_ENCODER: Final = msgspec.json.Encoder()
MAX_AGE: Final = 300
"""Seconds that caches may keep these answers: less than a new signing key is published before it signs."""

_HEADERS: Final = {
    **SECURITY_HEADERS,
    "cache-control": f"public, max-age={MAX_AGE}",
    "access-control-allow-origin": "*",  # public documents, for browsers too
    "content-type": "application/json",
}


class DiscoveryEndpoints:
    """ASGI endpoints of the public documents."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._metadata = _ENCODER.encode(metadata(authority.settings))

    def routes(self) -> list[Route]:
        """Return the routes. An issuer with a path has its metadata where each specification looks for it."""
        path = urlsplit(self._authority.settings.issuer_url).path.rstrip("/")
        places = {
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
            f"/.well-known/oauth-authorization-server{path}",
            f"{path}/.well-known/openid-configuration",
            f"/.well-known/openid-configuration{path}",
        }
        return [
            *(Route(place, self.document, methods=["GET"]) for place in sorted(places)),
            Route(ENDPOINTS["jwks_uri"], self.jwks, methods=["GET"]),
            Route("/oauth/resources/{api:reference}", self.resource, methods=["GET"]),
        ]

    async def document(self, request: Request) -> Response:
        """Answer the server metadata."""
        return self._public(request, self._metadata)

    async def jwks(self, request: Request) -> Response:
        """Answer the public keys."""
        try:
            found = await self._authority.signing_keys.jwks()
        except Exception as error:
            return response_of(reply_for(error, request_id_of(request)))
        return self._public(request, _ENCODER.encode(found), "application/jwk-set+json")

    async def resource(self, request: Request) -> Response:
        """Answer the metadata of one API."""
        reference: Any = request.path_params["api"]
        try:
            try:
                api = self._authority.records.api(reference)
            except NotReady:
                await self._authority.records.refresh()
                api = self._authority.records.api(reference)
            if api is None or api.state is not State.ENABLED:
                raise NotFound("API", reference[:80])
        except Exception as error:
            return response_of(reply_for(error, request_id_of(request)))
        return self._public(request, _ENCODER.encode(resource_metadata(self._authority.settings, api)))

    def _public(self, request: Request, body: bytes, content_type: str = "application/json") -> Response:
        headers = {**_HEADERS, "content-type": content_type, "x-request-id": request_id_of(request)}
        return Response(body, 200, headers)
