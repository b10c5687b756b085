"""Where a request may carry its credential: ``Authorization``, the API's key header, or (publishable keys, on APIs that
opted in) the query. Exactly one credential per request. Spec: RFC 6750 §2, DESIGN §9, CWE-598.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from ..core.errors import Code, Rejected
from ..formats import api_key

AUTHORIZATION: Final = b"authorization"
DEFAULT_KEY_HEADER: Final = b"x-api-key"
QUERY_NAMES: Final = frozenset({"key", "api_key", "apikey", "access_token", "token"})
MAX_FIELDS: Final = 1000
_PUBLISHABLE: Final = "_pk_"


class Missing(Rejected):
    """The request carries no credential at all."""

    def __init__(self) -> None:
        super().__init__(Code.MALFORMED, "This request carries no credential.")


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
) -> str:
    """Like ``credential_in``, for header fields by their names."""
    found: list[str] = []
    authorization = fields.get(AUTHORIZATION)
    if authorization is not None:
        scheme, _, rest = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not rest:
            raise Rejected(Code.MALFORMED, "Use 'Authorization: Bearer' followed by the credential.")
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
    fields = query.split("&")
    if len(fields) > MAX_FIELDS:
        raise Rejected(Code.MALFORMED, f"A query may have {MAX_FIELDS:,} fields at most.")
    if not any(map(_may_carry, fields)):
        return []
    found = [value for name, value in parse_qsl(query) if name.lower() in QUERY_NAMES and value]
    for value in found:
        if not allowed or not is_publishable(value):
            raise Rejected(
                Code.KIND_NOT_ACCEPTED,
                "Credentials in a URL end up in logs and are refused: send it in a header. Rotate the one you sent.",
            )
    return found


def query_may_carry(uri: bytes) -> bool:
    """Tell whether the query of a URL has to be looked at, because it may bring a credential or is very long."""
    query = uri.partition(b"?")[2]
    return bool(query) and (query.count(b"&") >= MAX_FIELDS or any(map(_may_carry, query.decode("latin-1").split("&"))))


def _may_carry(field: str) -> bool:
    """Tell whether a field of a query may bring a credential. Most do not, and taking them apart is dear."""
    name = field.partition("=")[0]
    return name.lower() in QUERY_NAMES or "%" in name or "+" in name


def is_publishable(text: str) -> bool:
    """Tell whether a text is written like a publishable key; only those may stand in a URL."""
    if _PUBLISHABLE not in text:
        return False
    try:
        return api_key.FORMAT.parse(text) is not None
    except Rejected:
        return False
