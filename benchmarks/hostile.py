"""What hostile input costs the server: the dearest of each kind, and whether twice as much costs more than twice.

Processor time of the server, so that neighbours do not count. Spec: SECURITY-BAR, Starlette CVE-2025-62727 and
python-multipart CVE-2026-42561 (quadratic parsing), "no input over 100 ms"; OWASP API4.
"""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from . import authority
from .authority import Running
from .figures import Figure, Goal, Spread, ratios

CHEAP = Goal("≤ 100 ms", at_most=100.0)
LINEAR = Goal("twice as much costs at most 2.5x", at_most=2.5, of_ratio=True)
HUGE = 30_000
"""Bytes: just under what a head may have; bodies get twice that."""


def measure(*, quick: bool) -> Sequence[Figure]:
    """Send each kind of input at half and at full size, many times in turn."""
    rounds, times = (3, 5) if quick else (9, 30)
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder:
        data = Path(folder) / "data"
        with authority.running(authority.serve(data), Path(folder) / "log") as server:
            root = (data / "root-key.txt").read_text().strip()
            figures = [_cost(server, name, make(root), rounds, times) for name, make in KINDS.items()]
    dearest = max(figures, key=lambda figure: figure.value.median)
    return [*figures, Figure(f"the dearest: {dearest.what}", "ms", dearest.value, goal=CHEAP)]


def _cost(server: Running, name: str, make: Callable[[int], bytes], rounds: int, times: int) -> Figure:
    halves, wholes = [], []
    for _ in range(rounds):
        halves.append(_milliseconds(server, make(HUGE // 2), times))
        wholes.append(_milliseconds(server, make(HUGE), times))
    return Figure(
        f"hostile request: {name}",
        "ms",
        Spread.of(wholes),
        "half as much",
        ratios(wholes, halves),
        LINEAR,
    )


def _milliseconds(server: Running, data: bytes, times: int) -> float:
    """Return the server's processor time for one such request."""
    before = server.processor_seconds()
    for _ in range(times):
        with socket.create_connection((server.host, server.port), timeout=10) as line:
            line.sendall(data)
            if not line.recv(65_536).startswith(b"HTTP/1.1 "):
                raise RuntimeError("the server gave no answer")
    return (server.processor_seconds() - before) / times * 1000


def _request(root: str, target: str, *headers: str, body: bytes = b"", method: str = "POST") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: a", f"Authorization: Bearer {root}", *headers]
    lines += ["Content-Type: application/json", "Connection: close", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _asking(root: str, **fields: object) -> bytes:
    return _request(root, "/v1/verify", body=json.dumps({"credential": root, **fields}).encode())


def _forwarded(root: str, *headers: str) -> bytes:
    return _request(root, "/forward-auth", *headers, method="GET")


def _chunks(root: str, target: str, size: int) -> bytes:
    head = _request(root, target, "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    return head + b"1\r\n \r\n" * (2 * size) + b"0\r\n\r\n"


def _metadata(root: str, size: int) -> bytes:
    metadata = {f"k{number}": "\x01" for number in range(size // 10)}
    return _request(root, "/v1/projects", body=json.dumps({"name": "x", "metadata": metadata}).encode())


KINDS: dict[str, Callable[[str], Callable[[int], bytes]]] = {
    "chunks of one byte": lambda root: lambda size: _chunks(root, "/v1/verify", size),
    "chunks of one byte to the management API": lambda root: lambda size: _chunks(root, "/v1/projects", size),
    "hops": lambda root: lambda size: _forwarded(root, "X-Forwarded-For: " + "127.0.0.1," * (size // 10)),
    "fields of a query": lambda root: lambda size: _forwarded(root, "X-Original-URI: /?" + "k&" * (size // 2)),
    "escapes in a query": lambda root: lambda size: _forwarded(root, "X-Original-URI: /?key=" + "%41" * (size // 3)),
    "dots in a path": lambda root: lambda size: _forwarded(root, "X-Original-URI: " + "/.." * (size // 3)),
    "header lines": lambda root: lambda size: _forwarded(root, *[f"X-{n}: {'y' * 300}" for n in range(size // 350)]),
    "a referrer": lambda root: lambda size: _forwarded(root, "Referer: https://" + "a." * (size // 2)),
    "brackets": lambda root: lambda size: _request(root, "/v1/projects", body=b'{"name":' + b"[" * 2 * size),
    "keys of an object": lambda root: lambda size: _asking(root, **{f"k{n}": "\\" for n in range(size // 8)}),
    "digits": lambda root: lambda size: _request(root, "/v1/projects", body=b'{"name":' + b"9" * 2 * size + b"}"),
    "escapes in a text": lambda root: lambda size: _asking(root, origin="\\" * size),
    "metadata with bad texts": lambda root: lambda size: _metadata(root, size),
    "permissions": lambda root: lambda size: _asking(root, permissions=["a:b" * 40] * (size // 500)),
}
