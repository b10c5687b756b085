"""The access token of a request to one of our own protected endpoints, and what its sender proved.

``Authorization: Bearer``, ``Authorization: DPoP`` with a proof, or a form body; exactly one. Spec: RFC 6750 §2.1 and
§2.2, RFC 9449 §7.1, RFC 8705 §3.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.requests import Request

from ..core.errors import Code, Rejected
from ..core.oauth_error import OAuthError
from ..http.carriage import Missing
from ..http.client_address import TrustedProxies
from ..services.authority import Authority
from ..services.dpop import check_proof_with
from ..services.metadata import endpoint
from .dispatch import body_of
from .forms import certificate_of

FORM = "application/x-www-form-urlencoded"


class Presented(NamedTuple):
    """An unverified access token, with thumbprints of the keys that the sender proved to have."""

    text: str
    key_thumbprint: str = ""
    certificate_thumbprint: str = ""


async def presented(authority: Authority, proxies: TrustedProxies, request: Request) -> Presented:
    """Return the one token; raises ``Missing``, or ``Rejected`` for several, or a proof that is not good."""
    found: list[tuple[str, str]] = []
    for value in request.headers.getlist("authorization"):
        scheme, _, text = value.partition(" ")
        if scheme.lower() not in ("bearer", "dpop") or not text.strip():
            raise Rejected(Code.MALFORMED, "Use 'Authorization: Bearer' or 'DPoP', followed by the access token.")
        found.append((scheme.lower(), text.strip(" ")))
    if request.method == "POST" and request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
        found += await _in_form(authority, request)
    if not found:
        raise Missing
    if len(found) > 1:
        raise Rejected(Code.MALFORMED, "Send exactly one access token; this request carries several.")
    scheme, text = found[0]
    return Presented(text, await _proven(authority, request, scheme, text), _certified(authority, proxies, request))


async def _proven(authority: Authority, request: Request, scheme: str, text: str) -> str:
    """Return the thumbprint of the key that a proof is made with, empty without one. Spec: RFC 9449 §7.1 and §7.2."""
    proofs = request.headers.getlist("dpop")
    if not proofs and scheme != "dpop":
        return ""
    if len(proofs) != 1 or scheme != "dpop":
        raise Rejected(Code.PROOF_INVALID, "Send the token as 'Authorization: DPoP', with one DPoP header.")
    try:
        url = endpoint(authority.settings, request.url.path)
        return await check_proof_with(authority, text, proofs[0], method=request.method, url=url)
    except OAuthError as error:
        raise Rejected(Code.PROOF_INVALID, error.description, detail=error.detail) from None


def _certified(authority: Authority, proxies: TrustedProxies, request: Request) -> str:
    """Return the thumbprint of the certificate of the connection, empty without one. Spec: RFC 8705 §3."""
    try:
        certificate = certificate_of(request, authority, proxies)
    except OAuthError as error:
        raise Rejected(Code.PROOF_INVALID, error.description) from None
    return "" if certificate is None else certificate.thumbprint


async def _in_form(authority: Authority, request: Request) -> list[tuple[str, str]]:
    body = await body_of(request, authority.settings.max_body)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise Rejected(Code.MALFORMED, "The form is not valid.") from None
    return [("bearer", value) for name, value in pairs if name == "access_token"]
