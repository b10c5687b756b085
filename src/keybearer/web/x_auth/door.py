"""What every endpoint of the X-Auth-Token service works with: the services, and how a request is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from ...core.errors import InvalidInput
from ...core.tokens import TokenRecord
from ...http.client_address import TrustedProxies
from ...services.authority import Authority
from ...services.x_auth import Address, XAuth
from ...services.x_auth_tokens import XAuthTokens
from ..dispatch import request_id_of
from .answers import Refused, refused_json

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Door:
    """The services behind the endpoints."""

    authority: Authority
    proxies: TrustedProxies
    x_auth: XAuth
    tokens: XAuthTokens

    def source(self, request: Request) -> Address | None:
        """Return the client's address."""
        peer = request.client.host if request.client else None
        return self.proxies.client_address(peer, request.scope["headers"])

    async def caller(self, request: Request) -> TokenRecord:
        """Return the token of ``X-Auth-Token``; raises ``Rejected``."""
        return await self.tokens.caller(header(request, "x-auth-token"), self.source(request))

    def endpoint(self, answer: Endpoint, refused: Refused = refused_json) -> Endpoint:
        """Return the ASGI endpoint, which turns errors into answers of its protocol."""

        async def serve(request: Request) -> Response:
            try:
                return await answer(request)
            except Exception as error:
                return refused(error, request_id_of(request), self.authority.settings)

        return serve


def header(request: Request, name: str) -> str:
    """Return a field of the head, empty without one; raises ``InvalidInput`` when it comes twice or is no UTF-8.

    Only this very spelling counts: what another program would take for it (``X_Auth_Token``) is never looked at.
    """
    values = [value for field, value in request.scope["headers"] if field == name.encode()]
    if len(values) > 1:
        raise InvalidInput.of(name, "this field comes twice")
    try:
        return values[0].decode("utf-8").strip(" \t") if values else ""
    except UnicodeDecodeError:
        raise InvalidInput.of(name, "this field must be UTF-8") from None
