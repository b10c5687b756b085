"""The access token of a request to one of our own protected endpoints, and what its sender proved.

``Authorization: Bearer``, ``Authorization: DPoP`` with a proof, or a form body; exactly one. Spec: RFC 6750 §2.1 and
§2.2, RFC 9449 §7.1, RFC 8705 §3.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.requests import Request

from ..core.errors import Code, Rejected
from ..services.authority import Authority
from .carriage import Missing
from .dispatch import body_of

FORM = "application/x-www-form-urlencoded"


class Presented(NamedTuple):
    """An unverified access token, with thumbprints of the keys that the sender proved to have."""

    text: str
    key_thumbprint: str = ""
    certificate_thumbprint: str = ""


async def presented(authority: Authority, request: Request) -> Presented:
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
    _, text = found[0]
    return Presented(text)


async def _in_form(authority: Authority, request: Request) -> list[tuple[str, str]]:
    body = await body_of(request, authority.settings.max_body)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise Rejected(Code.MALFORMED, "The form is not valid.") from None
    return [("bearer", value) for name, value in pairs if name == "access_token"]
