"""Hostile requests for every guard: raw bytes, and what must never be seen behind it.

Each has its own path with its name in it, so that what arrives upstream can be told apart even when all are sent at
once. ``@CREDENTIAL@`` in the bytes stands for a credential that opens the site; see ``with_credential``. Whatever a
guard makes of a request, ``complaints`` about what its upstream received must be empty: refusing is always allowed.

Spec: SECURITY-BAR (Oathkeeper GHSA-w9mr-28mw-j8hg, Caddy CVE-2026-30851, Traefik CVE-2026-39858, oauth2-proxy
CVE-2025-64484, Envoy CVE-2019-9901 and CVE-2021-32777, Traefik CVE-2026-48020); RFC 9112 §5.1, §5.2, §6.3, §7.1, §11.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.support.raw_upstream import Received

CREDENTIAL = b"@CREDENTIAL@"
FORGED = b"forged-by-the-client"
SMUGGLED = b"/smuggled/"
HOST = b"site.example"
FIELDS = (
    *(b"Key", b"Token", b"Project", b"Kind", b"Environment", b"Permissions"),
    *(b"Identity", b"Owner", b"Client", b"Subject", b"User", b"Status"),
)
"""The ends of the names of the identity headers."""


class Hostile(NamedTuple):
    """One hostile request. ``plain``: apart from its claims it is an honest one, which a guard may answer."""

    name: str
    raw: bytes
    plain: bool = False


def with_credential(case: Hostile, credential: str) -> bytes:
    """The bytes to send."""
    return case.raw.replace(CREDENTIAL, credential.encode())


def request(
    name: str,
    *fields: bytes,
    method: bytes = b"GET",
    target: bytes | None = None,
    body: bytes = b"",
    authorized: bool = True,
    end: bytes = b"\r\n",
) -> bytes:
    """A request in which all but ``fields``, ``target`` and ``body`` is as it should be; a body adds no field."""
    where = b"/hostile/" + name.encode() if target is None else target
    lines = [b"%s %s HTTP/1.1" % (method, where), b"Host: " + HOST]
    if authorized:
        lines.append(b"Authorization: Bearer " + CREDENTIAL)
    return end.join([*lines, *fields, b"", b""]) + body


# Identities that the client claims, in every spelling that a server behind might read as the real one.


def _identity_claims() -> Iterator[Hostile]:
    spellings = {
        "dash": b"X-Keybearer-%s",
        "underscore": b"X_Keybearer_%s",
        "dot": b"X.Keybearer.%s",
        "last-underscore": b"X-Keybearer_%s",
        "first-underscore": b"X_Keybearer-%s",
        "mixed": b"X_Keybearer.%s",
    }
    for name, form in spellings.items():
        for case, spelt in {"as-is": form, "lower": form.lower(), "upper": form.upper().replace(b"%S", b"%s")}.items():
            ends = [end.lower() if case == "lower" else end.upper() if case == "upper" else end for end in FIELDS]
            claim = f"claim-{name}-{case}"
            yield Hostile(claim, request(claim, *[b"%s: %s" % (spelt % end, FORGED) for end in ends]), plain=True)
    twice = [line for end in FIELDS for line in (b"X-Keybearer-%s: %s" % (end, FORGED),) * 2]
    yield Hostile("claim-twice", request("claim-twice", *twice), plain=True)
    odd = {
        "space-before-colon": b"X-Keybearer-User : " + FORGED,
        "tab-before-colon": b"X-Keybearer-User\t: " + FORGED,
        "space-in-front": b" X-Keybearer-User: " + FORGED,
        "nul-behind": b"X-Keybearer-User\0: " + FORGED,
        "nul-inside": b"X-Keybearer\0-User: " + FORGED,
        "control-inside": b"X-Keybearer-\x01User: " + FORGED,
        "cr-in-front": b"X-Other: 1\rX-Keybearer-User: " + FORGED,
        "lf-in-front": b"X-Other: 1\nX-Keybearer-User: " + FORGED,
        "folded": b"X-Other: 1\r\n X-Keybearer-User: " + FORGED,
        "folded-value": b"X-Keybearer-User:\r\n " + FORGED,
        "no-name": b": X-Keybearer-User: " + FORGED,
        "hyphen-of-unicode": "X‐Keybearer‐User: ".encode() + FORGED,
        "hyphen-of-latin-1": b"X\xadKeybearer\xadUser: " + FORGED,
        "plus": b"X+Keybearer+User: " + FORGED,
        "encoded": b"X%2DKeybearer%2DUser: " + FORGED,
        "quoted": b'"X-Keybearer-User": ' + FORGED,
    }
    for name, line in odd.items():
        yield Hostile(f"claim-{name}", request(f"claim-{name}", line))
    nobody = request("claim-without-credential", b"X-Keybearer-User: " + FORGED, authorized=False)
    yield Hostile("claim-without-credential", nobody)


# Connection options: a field named there is taken away on the next hop, also one that the guard has just set.


def _hop_by_hop() -> Iterator[Hostile]:
    options = {
        "one": b"Connection: X-Keybearer-User",
        "all": b"Connection: close, " + b", ".join(b"X-Keybearer-" + end for end in FIELDS),
        "lower": b"connection: keep-alive, x-keybearer-key, x-keybearer-permissions",
        "upper": b"CONNECTION: X-KEYBEARER-KEY,X-KEYBEARER-PROJECT",
        "two-lines": b"Connection: close\r\nConnection: X-Keybearer-Key",
        "spaces": b"Connection: \tclose ,\t X-Keybearer-Key \t, ",
        "credential": b"Connection: close, Authorization",
        "length": b"Connection: close, Content-Length",
        "host": b"Connection: close, Host",
        "forwarded": b"Connection: close, X-Forwarded-For, X-Forwarded-Uri, X-Original-URI, X-Original-Method",
        "proxy-connection": b"Proxy-Connection: X-Keybearer-User, X-Keybearer-Key",
        "keep-alive": b"Keep-Alive: X-Keybearer-User",
        "te": b"TE: trailers, X-Keybearer-User\r\nConnection: TE, X-Keybearer-Key",
    }
    for name, lines in options.items():
        yield Hostile(f"hop-{name}", request(f"hop-{name}", lines, b"X-Keybearer-User: " + FORGED))


# Fields that come twice: whichever is believed, the other one must not count elsewhere.


def _repeated() -> Iterator[Hostile]:
    good, bad = b"Bearer " + CREDENTIAL, b"Bearer kb_sk_live_nobody"
    fields = {
        "authorization-good-bad": [b"Authorization: " + good, b"Authorization: " + bad],
        "authorization-bad-good": [b"Authorization: " + bad, b"Authorization: " + good],
        "authorization-good-good": [b"Authorization: " + good, b"authorization: " + good],
        "authorization-one-line": [b"Authorization: " + good + b", " + bad],
        "authorization-folded": [b"Authorization: Bearer", b" " + CREDENTIAL],
        "authorization-empty-good": [b"Authorization:", b"Authorization: " + good],
        "authorization-and-key": [b"Authorization: " + good, b"X-Api-Key: " + CREDENTIAL],
        "key-good-bad": [b"X-Api-Key: " + CREDENTIAL, b"X-Api-Key: kb_sk_live_nobody"],
        "key-bad-good": [b"X-Api-Key: kb_sk_live_nobody", b"X-Api-Key: " + CREDENTIAL],
        "key-underscore": [b"X-Api-Key: kb_sk_live_nobody", b"X_Api_Key: " + CREDENTIAL],
    }
    for name, lines in fields.items():
        yield Hostile(f"repeated-{name}", request(f"repeated-{name}", *lines, authorized=False))
    for name, host in {"same": HOST, "other": b"admin.example"}.items():
        yield Hostile(f"repeated-host-{name}", request(f"repeated-host-{name}", b"Host: " + host))


# Paths that two servers read in two ways. A key that may go to /open/* must open nothing else.

OPEN = b"/open/"
"""Where the restricted key of ``paths`` may go."""


def _paths() -> Iterator[Hostile]:
    targets = {
        "dots": b"/open/../secret/@",
        "dots-twice": b"/open/a/../../secret/@",
        "dot": b"/open/./../secret/@",
        "encoded-dots": b"/open/%2e%2e/secret/@",
        "half-encoded-dots": b"/open/.%2e/secret/@",
        "encoded-upper": b"/open/%2E%2E/secret/@",
        "twice-encoded-dots": b"/open/%252e%252e/secret/@",
        "encoded-slash": b"/open/..%2fsecret/@",
        "encoded-slash-upper": b"/open/..%2Fsecret/@",
        "twice-encoded-slash": b"/open/..%252fsecret/@",
        "backslash": b"/open/..\\secret/@",
        "encoded-backslash": b"/open/..%5csecret/@",
        "semicolon": b"/open/..;/secret/@",
        "semicolon-parameter": b"/open;x=1/../secret/@",
        "encoded-semicolon": b"/open/..%3b/secret/@",
        "fragment": b"/secret/@#/open/",
        "fragment-behind": b"/open/#/../secret/@",
        "encoded-fragment": b"/open/%23/../secret/@",
        "slashes": b"//open/../secret/@",
        "slashes-inside": b"/open//../secret/@",
        "slashes-host": b"//secret/@/open/",
        "encoded-nul": b"/open/%00/../secret/@",
        "encoded-newline": b"/open/%0a/../secret/@",
        "question": b"/secret/@?/../open/",
        "encoded-question": b"/open/..%3f/../secret/@",
        "overlong": b"/open/%c0%ae%c0%ae/secret/@",
        "fullwidth": b"/open/%ef%bc%8e%ef%bc%8e/secret/@",
        "broken-percent": b"/open/%/../secret/@",
        "broken-percent-hex": b"/open/%zz/../secret/@",
        "unicode-percent": b"/open/%u002e%u002e/secret/@",
        "absolute": b"http://site.example/secret/@",
        "absolute-other-host": b"http://admin.example/open/@",
        "absolute-user": b"http://site.example@admin.example/open/../secret/@",
        "upper-case": b"/OPEN/../secret/@",
        "raw-nul": b"/open/\0/../secret/@",
        "raw-tab": b"/open/\t/../secret/@",
        "raw-high": b"/open/\xff/../secret/@",
        "no-slash": b"open/../secret/@",
        "asterisk": b"*",
    }
    for name, target in targets.items():
        where = target.replace(b"@", b"path-" + name.encode())
        yield Hostile(f"path-{name}", request(f"path-{name}", target=where))


# Requests whose end two servers see in two places.


def _smuggling() -> Iterator[Hostile]:
    for name, (lines, body) in _framings().items():
        inner = request(name, b"X-Keybearer-User: " + FORGED, target=SMUGGLED + name.encode(), authorized=False)
        filled = body.replace(b"@INNER@", inner).replace(b"@SIZE@", b"%02x" % len(inner))
        fields = [line.replace(b"@LENGTH@", b"%d" % len(filled)) for line in lines]
        yield Hostile(f"smuggle-{name}", request(f"smuggle-{name}", *fields, method=b"POST", body=filled))
    bare = request("smuggle-bare-lf", end=b"\n", body=b"GET /smuggled/bare-lf HTTP/1.1\nHost: site.example\n\n")
    yield Hostile("smuggle-bare-lf", bare)
    pipelined = request("smuggle-pipelined") + request(
        "x", b"X-Keybearer-User: " + FORGED, target=SMUGGLED + b"pipelined", authorized=False
    )
    yield Hostile("smuggle-pipelined", pipelined)
    get = request(
        "smuggle-get-body", b"Content-Length: 46", body=b"GET /smuggled/get-body HTTP/1.1\r\nHost: s.ex\r\n\r\n"
    )
    yield Hostile("smuggle-get-body", get)
    old = request("smuggle-http-1.0", b"Transfer-Encoding: chunked").replace(b"HTTP/1.1", b"HTTP/1.0")
    yield Hostile("smuggle-http-1.0", old + b"0\r\n\r\nGET /smuggled/http-1.0 HTTP/1.1\r\nHost: s.ex\r\n\r\n")
    upgrade = request("smuggle-upgrade", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 777")
    unauthorized = request("x", target=SMUGGLED + b"upgrade", authorized=False)
    yield Hostile("smuggle-upgrade", upgrade + unauthorized)
    h2c = request("smuggle-h2c", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    yield Hostile("smuggle-h2c", h2c + request("x", target=SMUGGLED + b"h2c", authorized=False))


def _framings() -> dict[str, tuple[list[bytes], bytes]]:
    chunked = b"Transfer-Encoding: chunked"
    ended = b"0\r\n\r\n@INNER@"
    return {
        "cl-te": ([b"Content-Length: @LENGTH@", chunked], ended),
        "te-cl": ([chunked, b"Content-Length: 4"], b"@SIZE@\r\n@INNER@\r\n0\r\n\r\n"),
        "cl-cl": ([b"Content-Length: 0", b"Content-Length: @LENGTH@"], b"@INNER@"),
        "cl-cl-one-line": ([b"Content-Length: 0, @LENGTH@"], b"@INNER@"),
        "cl-plus": ([b"Content-Length: +0"], b"@INNER@"),
        "cl-minus": ([b"Content-Length: -1"], b"@INNER@"),
        "cl-hex": ([b"Content-Length: 0x0"], b"@INNER@"),
        "cl-underscore": ([b"Content_Length: @LENGTH@", b"Content-Length: 0"], b"@INNER@"),
        "cl-space": ([b"Content-Length : @LENGTH@"], b"@INNER@"),
        "cl-huge": ([b"Content-Length: 18446744073709551616"], b"@INNER@"),
        "te-space": ([b"Transfer-Encoding : chunked", b"Content-Length: @LENGTH@"], ended),
        "te-tab": ([b"Transfer-Encoding:\tchunked", b"Content-Length: @LENGTH@"], ended),
        "te-twice": ([chunked, b"Transfer-Encoding: identity", b"Content-Length: @LENGTH@"], ended),
        "te-x": ([b"Transfer-Encoding: xchunked", b"Content-Length: @LENGTH@"], ended),
        "te-list": ([b"Transfer-Encoding: chunked, identity"], ended),
        "te-quoted": ([b'Transfer-Encoding: "chunked"', b"Content-Length: @LENGTH@"], ended),
        "te-folded": ([b"Transfer-Encoding:\r\n chunked", b"Content-Length: @LENGTH@"], ended),
        "te-vertical-tab": ([b"Transfer-Encoding: \x0bchunked", b"Content-Length: @LENGTH@"], ended),
        "te-underscore": ([b"Transfer_Encoding: chunked", b"Content-Length: @LENGTH@"], ended),
        "te-lf": ([b"X-A: b\nTransfer-Encoding: chunked", b"Content-Length: @LENGTH@"], ended),
        "fold-in-length": ([b"Content-Length:\r\n @LENGTH@"], ended),
        "chunk-extension": ([chunked], b"0;a=b\r\n\r\n@INNER@"),
        "chunk-extension-lf": ([chunked], b"2;\nxx\r\n0\r\n\r\n@INNER@"),
        "chunk-extension-quoted": ([chunked], b'2;a="\r\nxx\r\n0\r\n\r\n@INNER@'),
        "chunk-lf": ([chunked], b"0\n\n@INNER@"),
        "chunk-cr": ([chunked], b"0\r\r@INNER@"),
        "chunk-sign": ([chunked], b"+0\r\n\r\n@INNER@"),
        "chunk-hex": ([chunked], b"0x0\r\n\r\n@INNER@"),
        "chunk-space": ([chunked], b"0 \r\n\r\n@INNER@"),
        "chunk-overflow": ([chunked], b"10000000000000000\r\n\r\n@INNER@"),
        "chunk-no-end": ([chunked], b"1\r\nxx0\r\n\r\n@INNER@"),
        "trailer": ([chunked, b"Trailer: X-Keybearer-User"], b"0\r\nX-Keybearer-User: " + FORGED + b"\r\n\r\n@INNER@"),
        "trailer-framing": ([chunked], b"0\r\nContent-Length: 500\r\n\r\n@INNER@"),
    }


IDENTITY_CLAIMS = tuple(_identity_claims())
HOP_BY_HOP = tuple(_hop_by_hop())
REPEATED = tuple(_repeated())
PATHS = tuple(_paths())
SMUGGLING = tuple(_smuggling())
ALL = (*IDENTITY_CLAIMS, *HOP_BY_HOP, *REPEATED, *PATHS, *SMUGGLING)


_IDENTITY_NAME = re.compile(rb"[^a-z0-9]*x[^a-z0-9]+keybearer", re.IGNORECASE)


def complaints(received: Iterable[Received], *, secret: str = "") -> list[str]:
    """What is wrong with what an upstream received; each with the request it was seen in.

    Wrong is: a claim of the client in a field or trailer that a server might read as an identity, a credential that
    the guard should have kept (``secret``), an identity that stands there twice, a smuggled request, and a message
    whose end or fields can be read in two ways.
    """
    found = []
    for one in received:
        wrong = list(one.oddities)
        fields = [*one.fields, *one.trailers]
        names = [_same_name(name) for name, _ in fields if _IDENTITY_NAME.match(name)]
        wrong += [f"a claim in {name!r}" for name, value in fields if FORGED in value and _IDENTITY_NAME.match(name)]
        wrong += [f"{name!r} twice" for name in sorted(set(names)) if names.count(name) > 1]
        if secret:
            wrong += [f"the credential in {name!r}" for name, value in fields if secret.encode() in value]
        if SMUGGLED in one.target:
            wrong.append("smuggled")
        found += [f"{one.method.decode('latin-1')} {one.target.decode('latin-1')}: {what}" for what in wrong]
    return found


def _same_name(name: bytes) -> bytes:
    """How a server reads a field's name that takes any sign for a dash, as CGI does. Spec: RFC 3875 §4.1.18."""
    return re.sub(rb"[^a-z0-9]", b"-", name.lower())
