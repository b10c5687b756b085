"""The request that a proxy asks about, as its subrequest tells of it: method, URI, proof, and what contradicts another.

What comes twice and differs is not believed.
"""

from __future__ import annotations

from typing import Final

from ..core.errors import Code, Rejected
from ..core.records import AndroidApp
from ..core.requirement import Requirement
from ..http.carriage import refuse_several
from ..http.client_address import FORWARDED_FOR
from ..http.overriding import OVERRIDING
from .reply import EdgeRequest, HeaderList, Prove

DPOP: Final = b"dpop"
FORWARDED_HOST: Final = b"x-forwarded-host"
URI_FIELDS: Final = frozenset({b"x-original-uri", b"x-forwarded-uri"})
BELIEVED: Final = frozenset(
    {
        *OVERRIDING,
        *URI_FIELDS,
        b"x-original-method",
        b"x-forwarded-method",
        FORWARDED_HOST,
        b"origin",
        b"referer",
        b"sec-fetch-site",
        b"x-android-package",
        b"x-android-cert",
        b"x-ios-bundle-identifier",
    }
)


def fields_of(headers: HeaderList, key_header: bytes) -> dict[bytes, bytes]:
    """Return header fields by name; raises ``Rejected`` where what is believed comes twice and differs."""
    fields = dict(headers)
    if len(fields) == len(headers):
        return fields
    refuse_several(headers, key_header)
    for name, value in headers:
        if name in BELIEVED and fields[name] != value:
            raise _contradiction(name)
    forwarded = [value for name, value in headers if name == FORWARDED_FOR]
    if forwarded:
        fields[FORWARDED_FOR] = b",".join(forwarded)
    cookies = [value for name, value in headers if name == b"cookie"]
    if cookies:
        fields[b"cookie"] = b"; ".join(cookies)
    return fields


def said(fields: dict[bytes, bytes], name: bytes, other: bytes = b"") -> str | None:
    """Return what the proxy says about the original request, by whichever of two names."""
    value = fields.get(name)
    if other:
        second = fields.get(other)
        if second is not None:
            if value is not None and value != second:
                raise _contradiction(other)
            value = second
    return None if value is None else value.decode("latin-1")


def _contradiction(name: bytes) -> Rejected:
    return Rejected(Code.MALFORMED, f"The header {name.decode()} contradicts another one.")


def android_app(fields: dict[bytes, bytes]) -> AndroidApp | None:
    certificate = said(fields, b"x-android-cert")
    if certificate is None:
        return None
    return AndroidApp(fields[b"x-android-package"].decode("latin-1"), certificate.replace(":", "").lower())


def proof_in(request: EdgeRequest, requirement: Requirement, credential: str) -> Prove:
    """Return the proof of the original request, for the URL that the proxy says it went to. Spec: RFC 9449 §4.3."""
    fields = [value.decode("latin-1") for name, value in request.headers if name == DPOP]
    told = {name: value.decode("latin-1") for name, value in request.headers}
    scheme, host = told.get(b"x-forwarded-proto"), told.get(FORWARDED_HOST)
    if len(fields) != 1 or requirement.method is None or requirement.path is None or not scheme or not host:
        needed = "one DPoP header, and X-Forwarded-Proto, X-Forwarded-Host, method and URI from the proxy"
        raise Rejected(Code.PROOF_INVALID, f"A proof needs {needed}.")
    return Prove(fields[0], requirement.method, f"{scheme}://{host}{requirement.path}", credential)
