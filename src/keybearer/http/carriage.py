"""Where a request may carry its credential: ``Authorization``, the API's key header or, on APIs that opted in, a
``__Host-`` cookie (access tokens) and the query (publishable keys). Exactly one credential per request.
Spec: RFC 6750 §2, DESIGN §9, CWE-598, CWE-352.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from ..core.errors import Code, Rejected
from ..core.secret import Secret
from ..formats import api_key, is_token

AUTHORIZATION: Final = b"authorization"
DEFAULT_KEY_HEADER: Final = b"x-api-key"
QUERY_NAMES: Final = frozenset({"key", "api_key", "apikey", "access_token", "token"})
MAX_FIELDS: Final = 1000
_CARRYING: Final = re.compile(rb"[?&](?:[^=&]*[%+]|(?i:" + "|".join(sorted(QUERY_NAMES)).encode() + rb")(?:[=&]|$))")
"""A field whose name is one of ``QUERY_NAMES``, or is written so that it might be."""
_PUBLISHABLE: Final = "_pk_"
_LOOPBACK: Final = re.compile(r"(?:.+\.)?localhost|127\.0\.0\.1|::1")


class Place(StrEnum):
    """Where a credential was found."""

    AUTHORIZATION = "authorization"
    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"


class Carried(NamedTuple):
    """The one credential of a request, and where it was."""

    credential: str
    place: Place


class CrossSite(Rejected):
    """A cookie came with a request that another site may have made. Spec: CWE-352."""

    def __init__(self) -> None:
        text = "A cookie counts here only for requests of this very site: send Sec-Fetch-Site or Origin."
        super().__init__(Code.ORIGIN_NOT_ALLOWED, text)


class Missing(Rejected):
    """The request carries no credential at all."""

    def __init__(self) -> None:
        super().__init__(Code.MALFORMED, "This request carries no credential.")


class SecretInUrl(Rejected):
    """A URL carries a credential that may not stand there. Its text helps whoever sent it, and is public: nothing was
    looked up, and nothing of the credential is said again.
    """

    TEXT: Final = "Credentials in a URL end up in logs and are refused: send it in a header. Rotate the one you sent."

    def __init__(self, secrets: Sequence[Secret]) -> None:
        super().__init__(Code.KIND_NOT_ACCEPTED, self.TEXT)
        self.secrets = tuple(secrets)


def credential_in(
    headers: Sequence[tuple[bytes, bytes]],
    *,
    key_header: bytes = DEFAULT_KEY_HEADER,
    query: str = "",
    query_allowed: bool = False,
) -> str:
    """Return the one credential that the request carries.

    Raises ``Missing``, or ``Rejected(MALFORMED)`` for two credentials, an unknown scheme, or a secret in the URL.
    """
    refuse_several(headers, key_header)
    return credential_among(dict(headers), key_header=key_header, query=query, query_allowed=query_allowed)


def refuse_several(headers: Sequence[tuple[bytes, bytes]], key_header: bytes) -> None:
    """Raise ``Rejected(MALFORMED)`` when a field that carries a credential comes twice."""
    carrying = [name for name, _ in headers if name in (AUTHORIZATION, key_header)]
    if len(carrying) > len(set(carrying)):
        raise _several()


def credential_among(
    fields: Mapping[bytes, bytes],
    *,
    key_header: bytes = DEFAULT_KEY_HEADER,
    query: str = "",
    query_allowed: bool = False,
    with_proof: bool = False,
) -> str:
    """Like ``credential_in``, for header fields by name; ``with_proof`` expects the DPoP scheme (RFC 9449 §7.1)."""
    return carried(
        fields, key_header=key_header, query=query, query_allowed=query_allowed, with_proof=with_proof
    ).credential


def carried(
    fields: Mapping[bytes, bytes],
    *,
    key_header: bytes = DEFAULT_KEY_HEADER,
    query: str = "",
    query_allowed: bool = False,
    token_cookie: bytes = b"",
    changes: bool = True,
    with_proof: bool = False,
) -> Carried:
    """Like ``credential_among``, and say where it was.

    ``token_cookie`` may carry an access token. Where the request ``changes`` something, raises ``CrossSite`` unless the
    browser says that this very site made it.
    """
    found: list[Carried] = []
    authorization = fields.get(AUTHORIZATION)
    if authorization is not None:
        scheme, _, rest = authorization.partition(b" ")
        if scheme.lower() != (b"dpop" if with_proof else b"bearer") or not rest:
            wanted = "DPoP' followed by the access token" if with_proof else "Bearer' followed by the credential"
            raise Rejected(Code.MALFORMED, f"Use 'Authorization: {wanted}.")
        found.append(Carried(rest.decode("latin-1").strip(" "), Place.AUTHORIZATION))
    key = fields.get(key_header)
    if key is not None and key_header != AUTHORIZATION:
        found.append(Carried(key.decode("latin-1").strip(" \t"), Place.HEADER))
    if query:
        found += [Carried(value, Place.QUERY) for value in _in_query(query, query_allowed)]
    if token_cookie and b"cookie" in fields:
        found += _in_cookie(fields, token_cookie, changes)
    if not found:
        raise Missing
    if len(found) > 1:
        raise _several()
    return found[0]


def _in_cookie(fields: Mapping[bytes, bytes], name: bytes, changes: bool) -> list[Carried]:
    """Return what the cookie carries. Spec: RFC 6265 §4.2.1, RFC 6265bis §4.1.3 (``__Host-``)."""
    cookies = fields[b"cookie"].split(b";", MAX_FIELDS)
    if len(cookies) > MAX_FIELDS:
        raise Rejected(Code.MALFORMED, f"A request may have {MAX_FIELDS:,} cookies at most.")
    pairs = [pair.strip(b" \t").partition(b"=") for pair in cookies]
    values = [value.decode("latin-1") for found, _, value in pairs if found == name]
    if len(values) > 1:
        raise _several()
    if not values:
        return []
    if changes and not is_same_site(fields):
        raise CrossSite
    if not is_token(values[0]):
        raise Rejected(Code.KIND_NOT_ACCEPTED, "A cookie carries access tokens only.")
    return [Carried(values[0], Place.COOKIE)]


def is_same_site(fields: Mapping[bytes, bytes]) -> bool:
    """Tell whether the browser says that a page of this very origin made the request, and no other site.

    By ``Sec-Fetch-Site``, which no page can write; else by ``Origin`` against ``Host``. Neither is a no, and so is a
    page without TLS: the cookie was never given to one, and whoever sits on its line can write it.
    Spec: W3C Fetch Metadata §2.3, RFC 6454 §7.
    """
    said = fields.get(b"sec-fetch-site")
    if said is not None:
        return said == b"same-origin"
    origin, host = fields.get(b"origin"), fields.get(b"host")
    if origin is None or host is None:
        return False
    try:
        parts = urlsplit(origin.decode("ascii"))
        standing = {443: "https", 80: "http"}.get(parts.port or 0) == parts.scheme
    except ValueError:
        return False
    name = parts.hostname or ""
    is_secure = parts.scheme == "https" or (parts.scheme == "http" and _LOOPBACK.fullmatch(name) is not None)
    if not is_secure or not name or parts.path or parts.query or "@" in parts.netloc:
        return False
    here = host.decode("latin-1").lower()
    bare = parts.netloc.lower().rpartition(":")[0] if standing else parts.netloc.lower()
    return here in (parts.netloc.lower(), bare, f"{bare}:{443 if parts.scheme == 'https' else 80}")


def _several() -> Rejected:
    return Rejected(Code.MALFORMED, "Send exactly one credential; this request carries several.")


def _in_query(query: str, allowed: bool) -> list[str]:
    if not query_may_carry(b"?" + query.encode("latin-1", "replace")):
        return []
    if query.count("&") >= MAX_FIELDS:
        raise Rejected(Code.MALFORMED, f"A query may have {MAX_FIELDS:,} fields at most.")
    found = [value for name, value in parse_qsl(query) if name.lower() in QUERY_NAMES and value]
    if not all(allowed and is_publishable(value) for value in found):
        raise SecretInUrl([Secret(value) for value in found])
    return found


def query_may_carry(uri: bytes) -> bool:
    """Tell whether the query of a URL has to be taken apart: most bring no credential, and that is dear to find out."""
    at = uri.find(b"?")
    return at >= 0 and (_CARRYING.search(uri, at) is not None or uri.count(b"&", at) >= MAX_FIELDS)


def is_publishable(text: str) -> bool:
    """Tell whether a text is written like a publishable key; only those may stand in a URL."""
    if _PUBLISHABLE not in text:
        return False
    try:
        return api_key.FORMAT.parse(text) is not None
    except Rejected:
        return False
