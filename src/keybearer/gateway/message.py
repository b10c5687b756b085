"""One request as the gateway understands it, judged once: what can be read in two ways is none.

Spec: RFC 9110 §7.2, RFC 9112 §3.2, §6.3; LiteLLM CVE-2026-49468 (``Host: /#@``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from ..core.errors import KeybearerError
from ..core.routes import is_plain_path
from .body import Body

MAX_HEAD: Final = 32 * 1024
MAX_FIELDS: Final = 100
HeaderList = list[tuple[bytes, bytes]]

_HOST: Final = re.compile(
    rb"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9.])?)(?::([0-9]{1,5}))?"
)
_TARGET: Final = re.compile(rb"[!$-;=?-Z_a-z~\[\]]+")
"""Printable ASCII without what no URL may have: quotes, angle brackets, braces, ``#``, ``\\``, ``^``, `````, ``|``."""
_QUERY: Final = re.compile(rb"[!\"$-~]*")
_ONCE: Final = frozenset(
    {b"host", b"content-length", b"content-type", b"transfer-encoding", b"expect", b"upgrade", b"origin", b"referer",
     b"dpop", b"sec-fetch-site", b"sec-websocket-key"}
)  # fmt: skip
_NEVER: Final = (b"CONNECT", b"TRACE")
"""One asks for any server, the other for an echo of what an upstream was shown."""
_VERSIONS: Final = ("1.0", "1.1")
_UNREADABLE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LINES: Final = {status.value: b"%d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}


class BadRequest(KeybearerError):
    """A request that cannot be trusted to mean one thing."""

    def __init__(self, status: int, public: str) -> None:
        super().__init__(public)
        self.status = status

    @property
    def body(self) -> bytes:
        """What the answer says."""
        title = HTTPStatus(self.status).phrase
        return b'{"title":"%s","status":%d,"detail":"%s"}' % (title.encode(), self.status, self.public.encode())


@dataclass(slots=True)
class Request:
    """A request whose head is whole: field names in lower case, ``path`` and ``query`` as they came."""

    method: str
    path: bytes
    query: bytes
    host: str
    authority: bytes
    fields: HeaderList
    version: str
    body: Body
    keep_alive: bool
    has_body: bool
    length: int | None
    expects: bool
    upgrade: bool
    said: dict[bytes, bytes] = field(default_factory=dict)

    def all_of(self, name: bytes) -> list[bytes]:
        """Return the values of a field."""
        return [value for known, value in self.fields if known == name]


def request_from(
    method: bytes, target: bytes, fields: HeaderList, version: str, body: Body, *, keep_alive: bool
) -> Request:
    """Return the request that a head begins; raises ``BadRequest``."""
    if version not in _VERSIONS:
        raise BadRequest(505, "HTTP is spoken here in its versions 1.0 and 1.1.")
    if method in _NEVER:
        raise BadRequest(501, "This method is not known here.")
    said = dict(fields)
    if len(said) < len(fields):
        _refuse_repeated(fields)
    authority = said.get(b"host")
    if authority is None:
        raise BadRequest(400, "This request names no host.")
    target = _origin_form(method, target, authority)
    named = _HOST.fullmatch(authority)
    if named is None or (named[2] and int(named[2]) > 65_535):
        raise BadRequest(400, "The host of this request is none.")
    bare, mark, query = target.partition(b"?")
    if _TARGET.fullmatch(bare) is None or not is_plain_path(bare.decode("ascii")) or _QUERY.fullmatch(query) is None:
        raise BadRequest(400, "The target of this request can be read in more than one way.")
    coding = said.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or version != "1.1"):
        raise BadRequest(501, "The only transfer coding that is known here is chunked.")
    length = said.get(b"content-length")
    expectation = said.get(b"expect")
    if expectation is not None and expectation.lower() != b"100-continue":
        raise BadRequest(417, "The only expectation that is known here is 100-continue.")
    upgrade = said.get(b"upgrade")
    wants = upgrade is not None and b"upgrade" in tokens_of(fields, b"connection") and version == "1.1"
    is_websocket = wants and upgrade is not None and upgrade.lower() == b"websocket" and method == b"GET"
    has_body = coding is not None or bool(length and int(length))
    if is_websocket and has_body:
        raise BadRequest(400, "A request that opens a WebSocket has no body.")
    return Request(
        method=method.decode("ascii"),
        path=bare,
        query=mark + query,
        host=named[1].decode("ascii").lower().rstrip("."),
        authority=authority,
        fields=fields,
        version=version,
        body=body,
        keep_alive=keep_alive,
        has_body=has_body,
        length=None if length is None else int(length),
        expects=expectation is not None and version == "1.1" and has_body,
        upgrade=is_websocket,
        said=said,
    )


def _refuse_repeated(fields: HeaderList) -> None:
    seen: set[bytes] = set()
    for name, _ in fields:
        if name in seen and name in _ONCE:
            raise BadRequest(400, "A field that may stand in a request once stands in this one several times.")
        seen.add(name)


def _origin_form(method: bytes, target: bytes, authority: bytes) -> bytes:
    """Return the target from its path on; an absolute one must name the same host. Spec: RFC 9112 §3.2.2."""
    if target.startswith(b"/"):
        return target
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise BadRequest(400, "The target of this request is none that is served here.")
    named = re.match(rb"[^/?#]*", rest)
    host = named[0] if named is not None else b""
    if host.lower() != authority.lower():
        raise BadRequest(400, "The target of this request names another host than its Host field.")
    path = rest[len(host) :]
    return path if path.startswith(b"/") else b"/" + path


def tokens_of(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> set[bytes]:
    """Return the members of a list field in lower case."""
    return {
        token.strip(b" \t").lower() for known, value in fields if known == name for token in value.split(b",") if token
    }


def head_of(status: int, fields: Iterable[tuple[bytes, bytes]], *, close: bool = False, version: str = "1.1") -> bytes:
    """Return the head of an answer as it is on the wire; values hold no control characters."""
    lines = [b"HTTP/1.1 ", _LINES.get(status) or b"%d \r\n" % status]
    lines += [b"%b: %b\r\n" % (name, _UNREADABLE.sub(b" ", value)) for name, value in fields]
    if close:
        lines.append(b"connection: close\r\n")
    elif version == "1.0":
        lines.append(b"connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)
