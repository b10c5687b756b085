"""Where a request may carry its credential: ``Authorization``, the API's key header, or (publishable keys, on APIs that
opted in) the query. Exactly one credential per request. Spec: RFC 6750 §2, DESIGN §9, CWE-598.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from ..core.errors import Code, Rejected
from ..formats import api_key

AUTHORIZATION: Final = b"authorization"
DEFAULT_KEY_HEADER: Final = b"x-api-key"
QUERY_NAMES: Final = frozenset({"key", "api_key", "apikey", "access_token", "token"})
MAX_FIELDS: Final = 1000
_CARRYING: Final = re.compile(rb"[?&](?:[^=&]*[%+]|(?i:" + "|".join(sorted(QUERY_NAMES)).encode() + rb")(?:[=&]|$))")
"""A field whose name is one of ``QUERY_NAMES``, or is written so that it might be."""
_PUBLISHABLE: Final = "_pk_"


class Missing(Rejected):
    """The request carries no credential at all."""

    def __init__(self) -> None:
        super().__init__(Code.MALFORMED, "This request carries no credential.")


class SecretInUrl(Rejected):
    """A URL carries a credential that may not stand there. Its text helps whoever sent it, and is public: nothing was
    looked up, and nothing of the credential is said again.
    """

    TEXT: Final = "Credentials in a URL end up in logs and are refused: send it in a header. Rotate the one you sent."

    def __init__(self) -> None:
        super().__init__(Code.KIND_NOT_ACCEPTED, self.TEXT)


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
    found: list[str] = []
    authorization = fields.get(AUTHORIZATION)
    if authorization is not None:
        scheme, _, rest = authorization.partition(b" ")
        if scheme.lower() != (b"dpop" if with_proof else b"bearer") or not rest:
            wanted = "DPoP' followed by the access token" if with_proof else "Bearer' followed by the credential"
            raise Rejected(Code.MALFORMED, f"Use 'Authorization: {wanted}.")
        found.append(rest.decode("latin-1").strip(" "))
    key = fields.get(key_header)
    if key is not None and key_header != AUTHORIZATION:
        found.append(key.decode("latin-1").strip(" \t"))
    if query:
        found += _in_query(query, query_allowed)
    if not found:
        raise Missing
    if len(found) > 1:
        raise _several()
    return found[0]


def _several() -> Rejected:
    return Rejected(Code.MALFORMED, "Send exactly one credential; this request carries several.")


def _in_query(query: str, allowed: bool) -> list[str]:
    if not query_may_carry(b"?" + query.encode("latin-1", "replace")):
        return []
    if query.count("&") >= MAX_FIELDS:
        raise Rejected(Code.MALFORMED, f"A query may have {MAX_FIELDS:,} fields at most.")
    found = [value for name, value in parse_qsl(query) if name.lower() in QUERY_NAMES and value]
    for value in found:
        if not allowed or not is_publishable(value):
            raise SecretInUrl
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
