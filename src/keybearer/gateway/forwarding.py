"""What goes on to the upstream, and what comes back: fields that are safe to hand on, each in one spelling only.

What a client writes about who it is, where it comes from, or how its connection works never reaches an upstream, in
whichever spelling. Spec: RFC 9110 §7.6, RFC 7239; Oathkeeper GHSA-w9mr-28mw-j8hg, Caddy CVE-2026-30851,
Traefik CVE-2026-39858, oauth2-proxy CVE-2025-64484.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import unquote_plus

from ..core.routes import Route
from ..formats import is_token
from .message import HeaderList, Request, tokens_of
from .strays import is_credential

VIA: Final = b"keybearer"
"""What this gateway calls itself; a request that names it went in a circle. All gateways of an authority share it."""

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
_OURS: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"expect",
        b"authorization",
        b"x-auth-token",
        b"x-api-key",
        b"dpop",
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"fastly-client-ip",
        b"x-original-url",
        b"x-original-uri",
        b"x-original-method",
        b"x-rewrite-url",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-request-id",
        b"client-cert",
        b"client-cert-chain",
        b"remote-user",
        b"x-user",
        b"x-user-id",
        b"x-username",
        b"x-email",
        b"x-groups",
        b"x-roles",
        b"x-webauth-user",
        b"proxy",  # httpoxy
    }
)
"""Fields that the gateway writes itself or that say what only it may say."""

_OUR_FAMILIES: Final = (
    b"x-keybearer-",
    b"x-forwarded-",
    b"x-auth-request-",
    b"x-authenticated-",
    b"x-remote-",
    b"remote-",
    b"x-ssl-",
    b"x-client-cert",
    b"x-token-",
)
_PLAIN_NAME: Final = re.compile(rb"[a-z0-9-]{1,128}")
_OUR_COOKIE: Final = re.compile(r"(?:__host-|__secure-)?kb_", re.IGNORECASE)
_ANSWER_ONLY_OURS: Final = frozenset({b"content-length", b"via", b"alt-svc", b"x-request-id"})


@lru_cache(4096)
def is_handed_on(name: bytes) -> bool:
    """Tell whether a client's field may reach an upstream: others fold ``_`` and ``.`` to ``-``, so none has them."""
    return (
        _PLAIN_NAME.fullmatch(name) is not None
        and name not in HOP_BY_HOP
        and name not in _OURS
        and not name.startswith(_OUR_FAMILIES)
    )


def fields_for_upstream(request: Request, dropped: Iterable[bytes], cookie: str, issuer: str) -> HeaderList:
    """Return a client's fields without what must not go on: ``dropped`` fields, the ``cookie`` of a credential, and
    whatever is written as a credential of ``issuer``.
    """
    left_out = {*tokens_of(request.fields, b"connection"), *dropped}
    fields = [
        (name, value)
        for name, value in request.fields
        if name not in left_out and is_handed_on(name) and not is_credential(value, issuer)
    ]
    cookies = [value for name, value in fields if name == b"cookie"]
    if cookies:
        fields = [(name, value) for name, value in fields if name != b"cookie"]
        kept = _foreign_cookies(cookies, cookie, issuer)
        if kept:
            fields.append((b"cookie", kept))
    return fields


def _foreign_cookies(lines: Iterable[bytes], dropped: str, issuer: str) -> bytes:
    kept = []
    for pair in (pair.strip() for line in lines for pair in line.decode("latin-1").split(";")):
        name, _, value = pair.partition("=")
        is_ours = _OUR_COOKIE.match(pair) is not None or (dropped and name.strip() == dropped)
        if pair and not is_ours and not _opens_a_door(value.strip('" \t'), issuer):
            kept.append(pair)
    return "; ".join(kept).encode("latin-1")


def _opens_a_door(value: str, issuer: str) -> bool:
    """Tell whether a cookie is a credential: browsers send those of one route's API to all routes of its host."""
    return is_token(value) or is_credential(value.encode("latin-1"), issuer)


def about_the_way(
    request: Request, client_ip: IPv4Address | IPv6Address | None, scheme: str, request_id: str
) -> HeaderList:
    """Return the fields that say where a request comes from, as the gateway knows it. Spec: RFC 7239 §4."""
    host = request.authority
    fields = [
        (b"x-forwarded-host", host),
        (b"x-forwarded-proto", scheme.encode()),
        (b"x-request-id", request_id.encode()),
        (b"via", b"%s %s" % (request.version.encode(), VIA)),
    ]
    known = b"unknown"
    if client_ip is not None:
        text = str(client_ip).encode()
        fields.append((b"x-forwarded-for", text))
        known = b'"[%s]"' % text if client_ip.version == 6 else text
    fields.append((b"forwarded", b'for=%s;host="%s";proto=%s' % (known, host, scheme.encode())))
    return fields


def went_in_a_circle(request: Request) -> bool:
    """Tell whether a request came through a gateway of this kind before. Spec: RFC 9110 §7.6.3."""
    return any(VIA in member.split()[1:2] for value in request.all_of(b"via") for member in value.lower().split(b","))


def target_for(route: Route, request: Request, without: frozenset[str], added: Mapping[str, str]) -> bytes:
    """Return the target as the upstream gets it: the path that was authorised, byte for byte, and the query.

    ``without`` names query fields that are cut out, ``added`` has what is put behind, written for a URL already.
    """
    path = request.path
    if route.strip_path:
        # Counted, since a client may have spelt it in another way.
        path = b"/" + b"/".join(path.split(b"/")[route.prefix.count("/") + 1 :])
    base = route.target.path.rstrip("/").encode()
    query = request.query[1:]
    if without and query:
        kept = [pair for pair in query.split(b"&") if _name_of(pair) not in without]
        query = b"&".join(kept)
    elif not added:
        return base + path + request.query
    more = "&".join(f"{name}={value}" for name, value in added.items()).encode()
    query = query + b"&" + more if query and more else query or more
    return base + path + (b"?" + query if query else b"")


def _name_of(pair: bytes) -> str:
    return unquote_plus(pair.partition(b"=")[0].decode("latin-1")).lower()


# Answers.


def fields_for_client(fields: HeaderList, route: Route, outside: str, *, upgrade: bool) -> HeaderList:
    """Return an upstream's fields as the client gets them; ``outside`` is this gateway's origin for the client."""
    left_out = HOP_BY_HOP | tokens_of(fields, b"connection") | _ANSWER_ONLY_OURS
    kept: HeaderList = []
    for name, value in fields:
        if name == b"set-cookie":
            cookie = _scoped_cookie(value, route)
            if cookie:
                kept.append((name, cookie))
        elif name in (b"location", b"content-location"):
            kept.append((name, _outside_location(value, route, outside)))
        elif name not in left_out and not name.startswith(b"x-keybearer-"):
            kept.append((name, value))
    if upgrade:
        kept += [(b"connection", b"upgrade"), (b"upgrade", b"websocket")]
    kept.append((b"via", b"1.1 " + VIA))
    return kept


def _scoped_cookie(value: bytes, route: Route) -> bytes:
    """Return a cookie that stays where its upstream is seen: on this host, below this route; none with our names."""
    first, *attributes = [part.strip() for part in value.decode("latin-1").split(";")]
    if _OUR_COOKIE.match(first) is not None:
        return b""
    kept = [first]
    for attribute in attributes:
        name, separator, said = attribute.partition("=")
        if name.lower() == "domain":
            continue
        if name.lower() == "path" and route.strip_path and not first.lower().startswith("__host-"):
            base = route.target.path.rstrip("/")
            inner = said.removeprefix(base) if said.startswith(base + "/") or said == base else said
            attribute = f"{name}{separator}{route.path.rstrip('/')}{inner if inner.startswith('/') else '/'}"
        kept.append(attribute)
    return "; ".join(kept).encode("latin-1")


def _outside_location(value: bytes, route: Route, outside: str) -> bytes:
    """Return a redirect within the upstream as one within this gateway; any other as it is."""
    text = value.decode("latin-1")
    inside = f"{route.target.scheme}://{route.target.netloc}"
    base = route.target.path.rstrip("/") if route.strip_path else ""
    if text.startswith(inside) and text[len(inside) : len(inside) + 1] in ("", "/", "?"):
        rest = text[len(inside) :]
        absolute = outside
    elif text.startswith("/") and not text.startswith("//"):
        rest, absolute = text, ""
    else:
        return value
    if route.strip_path and rest.startswith(base):
        rest = route.path.rstrip("/") + rest[len(base) :]
    return (absolute + rest).encode("latin-1")
