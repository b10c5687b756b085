"""Requests of OAuth's back channel as HTTP brings them: a strict form, one credential, proofs, a certificate."""

from __future__ import annotations

import binascii
import secrets
from base64 import b64decode
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from starlette.requests import Request

from ..client_auth import Presented
from ..client_auth.certificate import Certificate, load
from ..client_auth.presented import BasicCredentials, basic_credentials
from ..core import form
from ..core.oauth_error import InvalidRequest
from ..core.secret import Secret
from ..http.client_address import FORWARDED_FOR, Address, TrustedProxies
from ..ports import Throttle
from ..services.authority import Authority
from ..services.client_authentication import OAuthRequest
from ..settings import Settings
from .dispatch import body_of, request_id_of
from .hot_routes import CERTIFICATE
from .reply import EdgeRequest

MEDIA_TYPE: Final = b"application/x-www-form-urlencoded"
MAX_FORM: Final = 65_536
INTROSPECTION_JWT: Final = "application/token-introspection+jwt"
_UNUSUAL: Final = frozenset({b"dpop"})
_MAX_HEADER: Final = 16_384

Headers = Sequence[tuple[bytes, bytes]]


class Heading(NamedTuple):
    """What the header fields of a request say: one credential at most, DPoP proofs, and what may be answered."""

    basic: BasicCredentials | None
    bearer: Secret | None
    proofs: tuple[str, ...]
    accepts_jwt: bool


async def read_request(
    request: Request, authority: Authority, proxies: TrustedProxies, *, takes_bearer: bool = False
) -> OAuthRequest:
    """Return what a request presents; raises ``InvalidRequest``, and ``HttpProblem`` 413 for a body that is too large.

    With ``takes_bearer`` an ``Authorization: Bearer`` header is kept too.
    """
    headers: Headers = request.scope["headers"]
    heading = heading_of(headers, takes_bearer=takes_bearer)
    body = await body_of(request, min(MAX_FORM, authority.settings.max_body))
    peer = request.client.host if request.client else None
    return OAuthRequest(
        presented=Presented(form.parse(body), heading.basic, certificate_of(request, authority, proxies)),
        source=proxies.client_address(peer, headers),
        request_id=request_id_of(request),
        proofs=heading.proofs,
        bearer=heading.bearer,
        accepts_jwt=heading.accepts_jwt,
    )


class FormsAtOnce:
    """Reads the forms of requests that the hot protocol holds whole."""

    def __init__(self, settings: Settings, throttle: Throttle, proxies: TrustedProxies) -> None:
        self._throttle = throttle
        self._proxies = proxies
        self._limit = min(MAX_FORM, settings.max_body)
        self._key = secrets.token_bytes(32)
        self._certificate_header = settings.client_certificate_header.lower().encode("latin-1")

    def what_counts(self, request: EdgeRequest) -> tuple[bytes, Address | None] | None:
        """Return a keyed SHA-256 of all that ``read`` looks at, but for the address, and the address.

        ``None`` when ``read`` would have to tell, or when the address must wait.
        """
        fields = dict(request.headers)
        authorization = fields.get(b"authorization", b"")
        if len(fields) != len(request.headers) or not _UNUSUAL.isdisjoint(fields) or self._certificate_header in fields:
            return None
        source = self._proxies.client_behind(request.peer, fields.get(FORWARDED_FOR))
        if source is not None and self._throttle.retry_in(source):
            return None
        told = b"%s%d %d %s%s%s" % (
            self._key,
            len(authorization),
            len(request.body),
            authorization,
            request.body,
            fields.get(b"content-type", b""),
        )
        return sha256(told).digest(), source

    def read(self, request: EdgeRequest, *, takes_bearer: bool = False) -> OAuthRequest | None:
        """Return what a request presents, without a certificate; raises ``OAuthError``.

        ``None`` for one that is larger, may bring a certificate, or comes from an address that must wait.
        """
        heading = heading_of(request.headers, takes_bearer=takes_bearer)
        if len(request.body) > self._limit:
            return None
        header = self._certificate_header
        if header and any(name == header for name, _ in request.headers):
            return None
        source = self._proxies.client_address(request.peer, request.headers)
        if source is not None and self._throttle.retry_in(source):
            return None
        presented = Presented(form.parse(request.body), heading.basic)
        return OAuthRequest(
            presented, source, proofs=heading.proofs, bearer=heading.bearer, accepts_jwt=heading.accepts_jwt
        )


def heading_of(headers: Headers, *, takes_bearer: bool = False) -> Heading:
    """Return what header fields say; raises ``InvalidRequest``, ``InvalidClient``."""
    media_type = b""
    authorizations: list[str] = []
    proofs: list[str] = []
    accept = ""
    for name, value in headers:
        if name == b"content-type":
            media_type = value if value == MEDIA_TYPE else value.partition(b";")[0].strip().lower()
        elif name == b"authorization":
            authorizations.append(value.decode("latin-1"))
        elif name == b"dpop":
            proofs.append(value.decode("latin-1"))
        elif name == b"accept":
            accept += value.decode("latin-1").lower() + ","
    if media_type != MEDIA_TYPE:
        raise InvalidRequest("Send the parameters as Content-Type: application/x-www-form-urlencoded.")
    if len(authorizations) > 1:
        raise InvalidRequest("There is more than one Authorization header.")
    basic, bearer = _authorization(authorizations[0], takes_bearer) if authorizations else (None, None)
    accepts_jwt = "jwt" in accept and any(
        part.partition(";")[0].strip() == INTROSPECTION_JWT for part in accept.split(",")
    )
    return Heading(basic, bearer, tuple(proofs), accepts_jwt)


def _authorization(header: str, takes_bearer: bool) -> tuple[BasicCredentials | None, Secret | None]:
    basic = basic_credentials(header)
    if basic is not None:
        return basic, None
    scheme, _, text = header.partition(" ")
    if takes_bearer and scheme.lower() == "bearer" and text.strip(" "):
        return None, Secret(text.strip(" "))
    raise InvalidRequest("This Authorization header is of no use here: clients authenticate with Basic, or otherwise.")


def certificate_of(request: Request, authority: Authority, proxies: TrustedProxies) -> Certificate | None:
    """Return the certificate whose key the client proved to have, to this server or to a trusted proxy.

    A header of anybody else is not looked at. Raises ``InvalidRequest`` for one that cannot be read.
    """
    direct = request.scope.get("state", {}).get(CERTIFICATE)
    if direct is not None:
        return load(direct)
    name = authority.settings.client_certificate_header.lower().encode("latin-1")
    if not name or not proxies.trusts(request.client.host if request.client else None):
        return None
    values = [value for known, value in request.scope["headers"] if known == name]
    if not values or values == [b""]:
        return None
    certificate = None
    if len(values) == 1 and len(values[0]) <= _MAX_HEADER:
        der = _der_of(values[0].strip())
        certificate = None if der is None else load(der)
    if certificate is None:
        raise InvalidRequest("The proxy's header with the client's certificate cannot be read.")
    return certificate


def _der_of(value: bytes) -> bytes | None:
    """Return the DER of a certificate as RFC 9440 §2.1 writes it, or as percent-escaped PEM."""
    try:
        if value.startswith(b":") and value.endswith(b":"):
            return b64decode(value[1:-1], validate=True)
        pem = unquote_to_bytes(value)
        return load_pem_x509_certificate(pem).public_bytes(Encoding.DER) if pem.startswith(b"-----BEGIN") else None
    except (binascii.Error, ValueError):
        return None
