"""How long a revoked key still opens a site behind a real proxy, after the revoke was acknowledged.

For each connection, the time from the acknowledgement to the sending of the last request that still got through; zero
when even the first one was refused. Every proxy with its configuration of deploy/.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from .figures import Figure, Goal, Spread
from .guards import guarded
from .wire import Line

CONNECTIONS = 8
PATIENCE = 5.0
PROXIES = (
    ("nginx", "nginx", "keybearer.conf"),
    ("Caddy", "caddy", "keybearer.caddy"),
    ("Envoy over gRPC", "envoy", "keybearer-grpc.yaml"),
    ("Envoy over HTTP", "envoy", "keybearer-http.yaml"),
    ("Traefik", "traefik", "dynamic.yaml"),
)
NEXT_REQUEST = Goal("refused at the next request", at_most=0.0)


def measure(*, quick: bool) -> Sequence[Figure]:
    """Revoke many keys that were used through each proxy just before."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder, guarded(Path(folder)) as scene:
        for what, name, file in PROXIES:
            with scene.proxy(name, file) as proxy:
                if proxy is None:
                    continue
                late, refusals = asyncio.run(revoke_many(scene, proxy.port, 10 if quick else 100))
            figures.append(
                Figure(
                    f"accepted after a revoke, through {what}: worst",
                    "ms",
                    Spread(max(late) * 1000, min(late) * 1000, max(late) * 1000),
                    goal=NEXT_REQUEST,
                    note=f"{sum(delay > 0 for delay in late)} of {len(late)} connections got through once more; "
                    f"the first refusal was there after {median(refusals) * 1000:.1f} ms "
                    f"(at most {max(refusals) * 1000:.1f})",
                )
            )
    return figures


async def revoke_many(scene: Any, port: int, rounds: int, path: str = "/index.html") -> tuple[list[float], list[float]]:
    """Return, for each connection, when the last request got through after a revoke, and the first refusal."""
    line = await Line.to(scene.server.host, scene.server.port, scene.stocked.root_key)
    visitors = [_Visitor(path, *await asyncio.open_connection("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    late: list[float] = []
    refusals: list[float] = []
    for _ in range(rounds):
        body = {"project_id": scene.stocked.project_id, "name": "benchmark"}
        issued = await line.ask("/v1/keys", body)
        credential = str(issued["credential"])
        for _ in range(2):
            statuses = await asyncio.gather(*(visitor.status(credential) for visitor in visitors))
            if set(statuses) != {200}:
                raise RuntimeError(f"a new key does not open the site: {statuses}")
        await line.ask(f"/v1/keys/{issued['key']['id']}/revoke", {})
        acknowledged = perf_counter()
        found = await asyncio.gather(*(_last_admission(visitor, credential, acknowledged) for visitor in visitors))
        late += [last for last, _ in found]
        refusals += [refused for _, refused in found]
    for visitor in visitors:
        visitor.close()
    await line.close()
    return late, refusals


async def _last_admission(visitor: _Visitor, credential: str, acknowledged: float) -> tuple[float, float]:
    """Return when the last request was sent that got through, and when the first refusal was there."""
    last = 0.0
    while (sent := perf_counter() - acknowledged) < PATIENCE:
        status = await visitor.status(credential)
        if status == 401:
            return last, perf_counter() - acknowledged
        if status != 200:
            raise RuntimeError(f"the proxy answers {status}")
        last = sent
    raise RuntimeError(f"a revoked key still opens the site after {PATIENCE:g} s")


class _Visitor:
    """One keep-alive connection to a proxy."""

    def __init__(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer

    async def status(self, credential: str) -> int:
        """Return the status of one GET; reads its body too."""
        head = f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {credential}\r\n\r\n"
        self._writer.write(head.encode())
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        fields = dict(line.split(b": ", 1) for line in answer.split(b"\r\n")[1:] if b": " in line)
        await self._reader.readexactly(int(fields[b"content-length"]))
        return int(answer[9:12])

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
