"""The registration endpoints. Spec: RFC 7591 §3, RFC 7592 §2."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..core.errors import KeybearerError, Rejected
from ..core.oauth_error import InvalidClientMetadata, InvalidToken, OAuthError, TooManyRequests
from ..http.carriage import Missing, credential_in
from ..http.client_address import TrustedProxies
from ..services import client_registration
from ..services.authority import Authority, Caller
from ..wire.registration import ClientMetadata
from .dispatch import SECURITY_HEADERS, Dispatcher, body_of, request_id_of, response_of
from .problem import reply_for

MAX_BODY: Final = 32_768
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(ClientMetadata)


class RegistrationEndpoints:
    """ASGI endpoints with which clients register, read, change and remove themselves."""

    def __init__(self, authority: Authority, dispatcher: Dispatcher, proxies: TrustedProxies) -> None:
        self._authority = authority
        self._dispatcher = dispatcher
        self._proxies = proxies

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(client_registration.PATH, self.register, methods=["POST"]),
            Route(client_registration.PATH + "/{client_id}", self.manage, methods=["GET", "PUT", "DELETE"]),
        ]

    async def register(self, request: Request) -> Response:
        """Register a client."""
        try:
            caller = await self._caller(request)
            source = self._proxies.client_address(
                request.client.host if request.client else None, request.scope["headers"]
            )
            asked = await self._metadata(request)
            found = await client_registration.register(self._authority, caller, str(source or ""), asked)
        except Exception as error:
            return self._refused(request, error)
        return self._json(request, found, 201)

    async def manage(self, request: Request) -> Response:
        """Read, change or remove a registration."""
        try:
            text = credential_in(request.scope["headers"])
            client = await client_registration.authenticate(self._authority, request.path_params["client_id"], text)
            if request.method == "DELETE":
                await client_registration.remove(self._authority, client)
                return Response(b"", 204, {**SECURITY_HEADERS, "x-request-id": request_id_of(request)})
            if request.method == "PUT":
                asked = await self._metadata(request)
                return self._json(request, await client_registration.update(self._authority, client, asked))
            return self._json(request, client_registration.read(self._authority, client))
        except Rejected:
            return self._refused(request, InvalidToken("Send the registration access token as a bearer token."))
        except Exception as error:
            return self._refused(request, error)

    async def _caller(self, request: Request) -> Caller | None:
        """Return who holds a key that may register clients, or ``None`` for a stranger who shows none."""
        try:
            credential_in(request.scope["headers"])
        except Missing:
            return None
        caller = await self._dispatcher.caller_of(request)
        caller.need(client_registration.PERMISSION)
        return caller

    async def _metadata(self, request: Request) -> ClientMetadata:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise InvalidClientMetadata("Send the metadata as application/json.")
        body = await body_of(request, min(MAX_BODY, self._authority.settings.max_body))
        try:
            return _DECODER.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidClientMetadata(f"The metadata cannot be read: {error}.") from None

    def _json(self, request: Request, found: Any, status: int = 200) -> Response:
        headers = {**SECURITY_HEADERS, "content-type": "application/json", "x-request-id": request_id_of(request)}
        return Response(_ENCODER.encode(found), status, headers)

    def _refused(self, request: Request, error: Exception) -> Response:
        if isinstance(error, OAuthError):
            headers = {**SECURITY_HEADERS, "content-type": "application/json", "x-request-id": request_id_of(request)}
            if isinstance(error, InvalidToken):
                headers["www-authenticate"] = 'Bearer error="invalid_token"'
            if isinstance(error, TooManyRequests):
                headers["retry-after"] = str(-(-error.retry_after // 1_000_000))
            status = 403 if error.error == "access_denied" else error.status
            body = _ENCODER.encode({"error": error.error, "error_description": error.description})
            return Response(body, status, headers)
        if isinstance(error, KeybearerError):
            return response_of(reply_for(error, request_id_of(request)))
        raise error
