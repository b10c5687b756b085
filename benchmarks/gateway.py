"""The gateway: requests a second beside proxies written with aiohttp and httpx, and a gigabyte through it both ways.

All stand before the same bare site, which shares a core with who asks. Only the gateway decides about each request;
with a secret it also injects that and looks for echoes. Memory is the peak of the whole process, of a node that is a
gateway only.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import httpx

from keybearer import app
from keybearer.settings import load

from .authority import Running, command, running, serve
from .figures import Figure, Goal, Spread, ratios
from .load import Question, per_second

SIZE = 1_000_000_000
API = "https://site.example"
ROUTES = """
[[routes]]
name = "guarded"
upstream = "{site}"
path = "/guarded"
api = "{api}"
strip_path = true
max_body = 2_000_000_000

[[routes]]
name = "hiding"
upstream = "{site}"
path = "/hiding"
api = "{api}"
strip_path = true
inject = [{{ secret = "maps-key", place = "bearer" }}]
"""
HALF = Goal("≥ 50 % of the fastest Python proxy", at_least=0.5, of_ratio=True)
LITTLE = Goal("< 64 MiB", at_most=64.0)


def measure(*, quick: bool) -> Sequence[Figure]:
    """Ask each in short alternating rounds, then stream."""
    size = SIZE // 10 if quick else SIZE
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        log = scratch / "log"

        def start(*arguments: str, place: int = 0) -> Running:
            return stack.enter_context(running(arguments, log, place=place))

        module = [sys.executable, "-m"]
        site = start(*module, "benchmarks.bare_site", place=1)
        stock = stocked(scratch, site.url)
        key = stock.key
        gateway = start(command(), "gateway", "--data", str(stock.data), *stock.arguments(free_port()))
        rivals = {
            f"aiohttp {version('aiohttp')}": start(*module, "benchmarks.rival_proxies", "aiohttp", site.url),
            f"uvicorn {version('uvicorn')} and httpx {version('httpx')}": start(
                *module, "benchmarks.rival_proxies", "httpx", site.url
            ),
        }
        headers = {"authorization": f"Bearer {key}"}
        ways = {name: (one.url, Question("GET", "/x")) for name, one in rivals.items()}
        ways["gateway, a key"] = (gateway.url, Question("GET", "/guarded/x", headers))
        ways["gateway, a key and a hidden secret"] = (gateway.url, Question("GET", "/hiding/x", headers))
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(2 if quick else 7):
            for name, (url, question) in ways.items():
                rates[name].append(per_second(url, question, 1 if quick else 2, scratch))
        fastest = max(rivals, key=lambda name: Spread.of(rates[name]).median)
        figures = [
            Figure(
                name,
                "/s",
                Spread.of(found),
                "" if name in rivals else fastest,
                None if name in rivals else ratios(found, rates[fastest]),
                None if name in rivals else HALF,
            )
            for name, found in rates.items()
        ]
        streams = {"down": _download, "up": _upload}
        for way, stream in streams.items():
            speeds = [stream(gateway, f"/guarded/big?{size}", key, size) for _ in range(3)]
            figures.append(Figure(f"gateway, {size // 1_000_000:,} MB {way}", "MB/s", Spread.of(speeds)))
        figures.append(Figure("gateway, peak memory after all that", "MiB", Spread.of([_peak(gateway)]), goal=LITTLE))
    return figures


class Stocked(NamedTuple):
    """A data directory with an API, a project and a key, and a file of routes that the key opens."""

    data: Path
    routes: Path
    root_key: str
    project_id: str
    key: str

    def arguments(self, port: int) -> list[str]:
        """Return what makes a gateway of a command line."""
        return ["--gateway-port", str(port), "--gateway-routes", str(self.routes)]


def stocked(scratch: Path, site: str) -> Stocked:
    """Make the data that a gateway before this site needs."""
    data = scratch / "data"
    root_key = str(app.init(load({"data": data}), "benchmark@example.com", "correct horse battery staple")["root_key"])
    routes = scratch / "routes.toml"
    routes.write_text(ROUTES.format(site=site, api=API))
    headers = {"authorization": f"Bearer {root_key}"}
    with (
        running(serve(data), scratch / "authority.log") as authority,
        httpx.Client(base_url=authority.url, headers=headers, trust_env=False) as http,
    ):

        def make(path: str, **body: object) -> dict[str, object]:
            answer = http.post(path, json=body)
            answer.raise_for_status()
            return dict(json.loads(answer.content))

        api = make("/v1/apis", identifier=API, name="Site")
        project = make("/v1/projects", name="Shop", enabled_apis=[api["id"]])
        key = str(make("/v1/keys", project_id=project["id"], name="web")["credential"])
        make("/v1/secrets", name="maps-key", value="third-party-maps-key-0123456789")
    return Stocked(data, routes, root_key, str(project["id"]), key)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _download(gateway: Running, path: str, key: str, size: int) -> float:
    """Return megabytes a second."""
    with socket.create_connection((gateway.host, gateway.port), timeout=120) as connection:
        began = time.perf_counter()
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        got, buffer = 0, bytearray(1 << 20)
        while got < size:
            count = connection.recv_into(buffer)
            if not count:
                raise RuntimeError(f"the answer ended after {got} bytes")
            got += count
        return size / 1_000_000 / (time.perf_counter() - began)


def _upload(gateway: Running, path: str, key: str, size: int) -> float:
    """Return megabytes a second."""
    del path
    piece = b"x" * (1 << 20)
    with socket.create_connection((gateway.host, gateway.port), timeout=120) as connection:
        began = time.perf_counter()
        head = f"PUT /guarded/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {size}\r\n\r\n"
        connection.sendall(head.encode())
        left = size
        while left > 0:
            connection.sendall(piece[:left])
            left -= len(piece)
        if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("the upload was refused")
        return size / 1_000_000 / (time.perf_counter() - began)


def _peak(gateway: Running) -> float:
    """Return the most that was ever resident (2^20 bytes), with everything the process holds."""
    for line in Path(f"/proc/{gateway.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the gateway has no resident memory")
