"""The userinfo endpoint: an access token in, claims about its user out. Spec: OIDC Core §5.3, RFC 6750 §2 and §3."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..core.errors import Rejected
from ..core.oauth_error import InsufficientScope
from ..core.records import CredentialKind
from ..core.requirement import Requirement
from ..services.authority import Authority
from ..services.userinfo import signed_userinfo, userinfo
from ..verify import Verifier
from .client_address import TrustedProxies
from .dispatch import SECURITY_HEADERS, request_id_of, response_of
from .presented_token import presented
from .problem import reply_for

_ENCODER: Final = msgspec.json.Encoder()
_ACCEPT: Final = frozenset({CredentialKind.ACCESS_TOKEN})


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
            "access-control-allow-origin": "*",  # browsers may ask; no cookie counts here
        }
        if request.method == "OPTIONS":
            headers["access-control-allow-methods"] = "GET, POST"
            headers["access-control-allow-headers"] = "authorization, dpop, content-type"
            return Response(b"", 204, headers)
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
        except Rejected as rejection:
            answer = response_of(reply_for(rejection, request_id_of(request)))
            answer.headers["access-control-allow-origin"] = "*"
            return answer
        except Exception as error:
            return response_of(reply_for(error, request_id_of(request)))
        if signed is not None:
            return Response(signed.encode(), 200, {**headers, "content-type": "application/jwt"})
        return Response(_ENCODER.encode(claims), 200, {**headers, "content-type": "application/json"})
