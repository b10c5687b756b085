"""The userinfo endpoint: an access token in, claims about its user out. Spec: OIDC Core §5.3, RFC 6750 §2 and §3."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..core.oauth_error import InsufficientScope
from ..core.records import CredentialKind
from ..core.requirement import Requirement
from ..http.client_address import TrustedProxies
from ..http.cors import ANY, CorsPolicy
from ..services.authority import Authority
from ..services.userinfo import signed_userinfo, userinfo
from ..verify import Verifier
from .dispatch import SECURITY_HEADERS, request_id_of, response_of
from .presented_token import presented
from .problem import reply_for
from .reply import Headers

_ENCODER: Final = msgspec.json.Encoder()
_ACCEPT: Final = frozenset({CredentialKind.ACCESS_TOKEN})
_PAGES: Final = CorsPolicy((ANY,), methods=("GET", "POST"), headers=("Authorization", "Content-Type", "DPoP"))
"""Pages of any site may ask: no cookie counts here."""


class UserinfoEndpoint:
    """The ASGI endpoint, for GET and POST."""

    def __init__(self, authority: Authority, verifier: Verifier, proxies: TrustedProxies) -> None:
        self._authority = authority
        self._verifier = verifier
        self._proxies = proxies

    async def serve(self, request: Request) -> Response:
        """Answer the claims, as JSON or as a signed JWT."""
        headers = {
            **SECURITY_HEADERS,
            "x-request-id": request_id_of(request),
        }
        preflight = _PAGES.of_preflight(request.method, request.scope["headers"])
        if preflight is not None:
            return Response(b"", 204, {**headers, **_text(preflight)})
        answer = await self._answer(request, headers)
        answer.headers.update(_text(_PAGES.of_answer(request.scope["headers"])))
        return answer

    async def _answer(self, request: Request, headers: dict[str, str]) -> Response:
        try:
            token = await presented(self._authority, self._proxies, request)
            requirement = Requirement(
                accept=_ACCEPT,
                client_ip=self._proxies.client_address(
                    request.client.host if request.client else None, request.scope["headers"]
                ),
                method=request.method,
                path="/oauth/userinfo",
                key_thumbprint=token.key_thumbprint,
                certificate_thumbprint=token.certificate_thumbprint,
            )
            principal = (await self._verifier.verify(token.text, requirement)).principal
            claims = await userinfo(self._authority, principal)
            signed = await signed_userinfo(self._authority, principal, claims)
        except InsufficientScope as error:
            headers["www-authenticate"] = f'Bearer error="{error.error}", scope="openid"'
            body = _ENCODER.encode({"error": error.error, "error_description": error.description})
            return Response(body, error.status, {**headers, "content-type": "application/json"})
        except Exception as error:
            return response_of(reply_for(error, request_id_of(request)))
        if signed is not None:
            return Response(signed.encode(), 200, {**headers, "content-type": "application/jwt"})
        return Response(_ENCODER.encode(claims), 200, {**headers, "content-type": "application/json"})


def _text(headers: Headers) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}
