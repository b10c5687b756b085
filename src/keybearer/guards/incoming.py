"""What a request carries, whatever framework read it: the one credential, and where it came from.

Nothing of it is believed that some other server behind this one might read differently: what carries a credential comes
once, and in no other spelling.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..core.errors import Code, Rejected
from ..core.records import AndroidApp, Api
from ..http.carriage import AUTHORIZATION, Place, carried
from ..http.client_address import TrustedProxies
from ..http.identity_headers import plainly
from ..http.overriding import OVERRIDING, unless_overridden
from .where import Where

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_DPOP: Final = b"dpop"
_CERTIFICATE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
MAX_URL: Final = 7000
MAX_HEADER: Final = 2048
MAX_METHOD: Final = 20
_CARRYING: Final = frozenset({AUTHORIZATION, b"cookie", _DPOP})
_BELIEVED: Final = frozenset(
    {
        *OVERRIDING,
        b"host",
        b"origin",
        b"referer",
        b"sec-fetch-site",
        b"x-android-package",
        b"x-android-cert",
        b"x-ios-bundle-identifier",
    }
)


class Incoming(NamedTuple):
    """One request. Header names are in lower case; ``path`` is as it was sent, without the query.

    ``scheme`` is ``http`` or ``https``; ``peer`` is the address of who sent it, a proxy perhaps.
    """

    method: str
    path: str
    query: str
    headers: Sequence[tuple[bytes, bytes]]
    peer: str | None
    scheme: str = "https"
    is_websocket: bool = False


class Read(NamedTuple):
    """What was read of a request."""

    credential: str
    where: Where
    place: Place


def read(incoming: Incoming, api: Api, proxies: TrustedProxies) -> Read:
    """Return the one credential and where it came from; raises ``Rejected``."""
    key_header = api.key_header.lower().encode("ascii")
    fields = _fields(incoming.headers, key_header)
    proves = _DPOP in fields or fields.get(AUTHORIZATION, b"")[:5].lower() == b"dpop "
    found = carried(
        fields,
        key_header=key_header,
        query=incoming.query,
        query_allowed=api.allow_publishable_in_query,
        token_cookie=api.token_cookie.encode("ascii"),
        # A handshake lets a page of another site read what comes: it counts as a change. Spec: CWE-1385.
        changes=incoming.is_websocket or incoming.method not in SAFE_METHODS,
        with_proof=proves,
    )
    method = incoming.method if len(incoming.method) <= MAX_METHOD else None
    # What the authority would not take as an address of this API is left out: a restricted key is then refused.
    path = incoming.path if incoming.path.startswith("/") and len(incoming.path) <= MAX_URL else None
    if not OVERRIDING.isdisjoint(fields):
        target = f"{incoming.path}?{incoming.query}" if incoming.query else incoming.path
        path, method = unless_overridden(fields, target, path, method)
    url = proof = None
    if proves:
        proof, host = fields.get(_DPOP, b"").decode("latin-1"), _text(fields, b"host") or ""
        url = f"{incoming.scheme}://{host}{path}"
        if path is None or method is None or not host or not 0 < len(proof) <= MAX_URL or not url.isprintable():
            raise Rejected(Code.PROOF_INVALID, "A proof needs one DPoP header, a Host and a path.")
    where = Where(
        client_ip=proxies.client_address(incoming.peer, incoming.headers),
        origin=_text(fields, b"origin"),
        referrer=_text(fields, b"referer"),
        android_app=_android_app(fields) if b"x-android-package" in fields else None,
        ios_bundle_id=(_text(fields, b"x-ios-bundle-identifier") or "")[:255] or None,
        method=method,
        path=path,
        url=url,
        dpop=proof,
    )
    return Read(found.credential, where, found.place)


def _fields(headers: Sequence[tuple[bytes, bytes]], key_header: bytes) -> dict[bytes, bytes]:
    """Return header fields by name; raises ``Rejected`` for what others could read differently."""
    fields: dict[bytes, bytes] = {}
    plain_key_header = plainly(key_header)
    for name, value in headers:
        if name == b"cookie":
            fields[name] = fields[name] + b"; " + value if name in fields else value
            continue
        if name in fields:
            if name in _CARRYING or name == key_header:
                raise _several()
            if name in _BELIEVED and fields[name] != value:
                raise Rejected(Code.MALFORMED, f"The header {name.decode()} contradicts another one.")
        if not name.isalnum() and name != key_header and plainly(name) == plain_key_header:
            raise Rejected(Code.MALFORMED, "The key's header comes in another spelling.")
        fields[name] = value
    for name in (AUTHORIZATION, key_header):
        # Some servers join fields that come twice.
        if b"," in fields.get(name, b""):
            raise _several()
    return fields


def _several() -> Rejected:
    return Rejected(Code.MALFORMED, "Send exactly one credential; this request carries several.")


def _text(fields: dict[bytes, bytes], name: bytes) -> str | None:
    value = fields.get(name)
    return None if value is None or len(value) > MAX_HEADER else value.decode("latin-1")


def _android_app(fields: dict[bytes, bytes]) -> AndroidApp | None:
    certificate = _text(fields, b"x-android-cert")
    if certificate is None:
        return None
    package, certificate = _text(fields, b"x-android-package") or "", certificate.replace(":", "").lower()
    return AndroidApp(package, certificate) if 0 < len(package) <= 255 and _CERTIFICATE.fullmatch(certificate) else None
