"""A gateway in the process of an authority, an upstream behind it, and a shop whose credentials open it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.raw import Raw
from tests.e2e.shop import API, Shop
from tests.support.authority import Authority
from tests.support.ports import free_port
from tests.support.upstream import Upstream

MAPS_KEY = "sk-third-party/key+of=maps"
ROUTES = """
[[routes]]
name = "orders"
upstream = "{upstream}"
path = "/orders"
api = "{api}"
permissions = "pages:read"
phantom_token = true
cors = {{ origins = ["https://app.example"] }}

[[routes]]
name = "open"
upstream = "{upstream}/inner"
path = "/open"
strip_path = true
public = true
max_body = 200_000
response_in = 2
connect_in = 2

[[routes]]
name = "maps"
upstream = "{upstream}"
path = "/maps"
api = "{api}"
identity_headers = false
inject = [{{ secret = "maps-key", place = "query", name = "key" }}, {{ secret = "maps-key", place = "bearer" }}]

[[routes]]
name = "basic"
upstream = "{upstream}"
path = "/basic"
public = true
inject = [{{ secret = "maps-key", place = "basic", name = "user" }}]

[[routes]]
name = "lost"
upstream = "{upstream}"
path = "/lost"
public = true
inject = [{{ secret = "not-there", place = "header", name = "X-Secret" }}]

[[routes]]
name = "narrow"
upstream = "{upstream}"
path = "/orders/admin"
methods = ["GET"]
api = "{api}"
permissions = "pages:write"

[[routes]]
name = "down"
upstream = "http://127.0.0.1:{nobody}"
path = "/down"
public = true
"""


class Gated:
    """The scene; ``http`` is a client of the gateway."""

    def __init__(self, node: Authority, upstream: Upstream, port: int) -> None:
        self.node = node
        self.upstream = upstream
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.shop = Shop(node)
        _, self.key = self.shop.key("pages:read")
        self.http = httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=10)

    def raw(self) -> Raw:
        """A connection that sends bytes as they are."""
        return Raw(self.port)

    def echoed(self, path: str, **options: Any) -> dict[str, Any]:
        """What the upstream says that it was asked."""
        answer = self.http.request(options.pop("method", "GET"), path, **options)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@contextmanager
def gated(home: Path, upstream: Upstream, **options: Any) -> Iterator[Gated]:
    """The scene, while the context lasts."""
    port = free_port()
    file = home / "routes.toml"
    more: dict[str, str] = options.pop("environment", {})
    settings = {
        "KEYBEARER_GATEWAY_PORT": str(port),
        "KEYBEARER_GATEWAY_ROUTES": str(file),
        "KEYBEARER_FAILURES_PER_MINUTE": "0",
        "KEYBEARER_REQUEST_TIMEOUT": "2",
    }
    file.write_text(ROUTES.format(upstream=upstream.url, api=API, nobody=free_port()) + str(options.pop("routes", "")))
    node = Authority(home / "data", home / "logs", environment=settings | more, **options)
    node.init()
    node.start()
    try:
        scene = Gated(node, upstream, port)
        scene.shop.call("POST", "/v1/secrets", {"name": "maps-key", "value": MAPS_KEY})
        with scene.http:
            yield scene
    finally:
        node.stop()
