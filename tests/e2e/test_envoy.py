"""What Envoy does in its own way with the configurations of deploy/envoy; ``test_proxies.py`` has what all must do.

Once it asks over gRPC, once over HTTP: what the client and the site see is the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.e2e.curl import bearer, curl
from tests.e2e.guarded import Scene, adapted, ports_of
from tests.e2e.proxied import PROXIES, each, proxied
from tests.support.envoy import Envoy

CONFIGURATIONS = {row.name: row.configuration for row in PROXIES if row.name.startswith("envoy-")}


@pytest.fixture(scope="module", params=each(*CONFIGURATIONS))
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene[Envoy]]:
    """One of each for all of this module, for each way to ask."""
    with proxied(request.param, tmp_path_factory) as running:
        yield running


@pytest.fixture
def scene(servers: Scene[Envoy]) -> Scene[Envoy]:
    """The servers, with nothing remembered of the test before."""
    servers.site.forget()
    return servers


@contextmanager
def variant(scene: Scene[Envoy], folder: Path, site_port: int, edit: Callable[[str], str]) -> Iterator[Envoy]:
    """Another Envoy with the same configuration, changed as an operator might, before a site of the test's own."""
    way = "envoy-grpc" if "envoy_grpc" in (scene.proxy.prefix / "envoy.yaml").read_text() else "envoy-http"
    proxy = Envoy(scene.proxy.program, folder)
    try:
        proxy.start(edit(adapted(CONFIGURATIONS[way], ports_of(scene.shop.node), site_port, "/var/log/envoy/")))
        yield proxy
    finally:
        proxy.stop()


def test_a_door_that_a_client_brings_along_does_not_count(scene: Scene[Envoy], tmp_path: Path) -> None:
    """Also where the filter that takes such headers away was left out: Envoy's own take their place."""
    _, wrong = scene.shop.key("pages:write")
    doors = [
        part
        for value in ("permissions=pages:write", "cost=0", "api=https://site.example")
        for name in ("X-Keybearer-Door", "x-keybearer-door")
        for part in ("-H", f"{name}: {value}")
    ]

    def careless(text: str) -> str:
        assert "x[^a-z0-9]keybearer.*" in text
        return text.replace("x[^a-z0-9]keybearer.*", "no-such-header")

    with variant(scene, tmp_path, scene.site.port, careless) as proxy:
        for url in (scene.proxy.url, proxy.url):
            for sent in (doors, doors[:2]):
                assert curl(url + "/index.html", *bearer(wrong), *sent).status == 403
        key_id, right = scene.shop.key("pages:read")
        claims = [part for name in ("key", "user", "owner") for part in ("-H", f"X-Keybearer-{name}: forged")]
        assert curl(proxy.url + "/index.html", *bearer(right), *claims).status == 200
    assert "forged" not in str(scene.site.last_headers)
    assert scene.heard["x-keybearer-key"] == key_id


def test_a_route_is_open_only_where_it_says_so(scene: Scene[Envoy], tmp_path: Path) -> None:
    """And no other path becomes that route by being written in another way (CVE-2019-9901)."""
    disabled = """
                      routes:
                        - match: { prefix: "/guide/" }
                          route: { cluster: site }
                          typed_per_filter_config:
                            envoy.filters.http.ext_authz:
                              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
                              disabled: true
"""
    with variant(
        scene, tmp_path, scene.site.port, lambda text: text.replace("\n                      routes:\n", disabled)
    ) as proxy:
        assert curl(proxy.url + "/guide/a%20b.txt").status == 200
        assert curl(proxy.url + "/guide/a%20b.txt", "-H", "X-Keybearer-User: forged").status == 200
        assert "forged" not in str(scene.site.last_headers)
        scene.site.forget()
        for path in ("/index.html", "/guide/../index.html", "/guide/%2e%2e/index.html", "//index.html", "/guide"):
            assert curl(proxy.url + path, "--path-as-is").status == 401, path
        for path in ("/guide/..%2findex.html", "/guide/..%5cindex.html"):
            assert curl(proxy.url + path, "--path-as-is").status == 400, path
        assert not scene.site.requests


def test_a_websocket_is_authorised_when_it_opens(scene: Scene[Envoy], tmp_path: Path) -> None:
    heard: list[dict[str, str]] = []

    def echo(connection: ServerConnection) -> None:
        assert connection.request is not None
        heard.append({name.lower(): value for name, value in connection.request.headers.raw_items()})
        for message in connection:
            connection.send(message)

    key_id, credential = scene.shop.key("pages:read")
    with serve(echo, "127.0.0.1", 0) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            port = site.socket.getsockname()[1]
            with variant(scene, tmp_path, port, lambda text: text) as proxy:
                url = f"ws://127.0.0.1:{proxy.port}/chat"
                for refused in ({}, {"X-Api-Key": "kb_sk_live_nobody"}):
                    with pytest.raises(InvalidStatus) as answer:
                        connect(url, additional_headers=refused, proxy=None)
                    assert answer.value.response.status_code == 401
                assert not heard
                with connect(url, additional_headers={"X-Api-Key": credential}, proxy=None) as client:
                    client.send("hello")
                    assert client.recv(timeout=10) == "hello"
        finally:
            site.shutdown()
            thread.join(10)
    assert heard[0]["x-keybearer-key"] == key_id
    assert credential not in str(heard)


def test_what_a_key_in_a_url_gave_is_kept_by_nobody(scene: Scene[Envoy]) -> None:
    restrictions = {"origins": ["https://shop.example"]}
    _, credential = scene.shop.key("pages:read", kind="publishable_key", restrictions=restrictions)
    from_shop = ("-H", "Origin: https://shop.example")
    answer = scene.get(*from_shop, path=f"/index.html?key={credential}")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.headers["referrer-policy"] == "no-referrer"
    answer = scene.get(*from_shop, *bearer(credential))
    assert answer.status == 200
    assert "cache-control" not in answer.headers
    assert scene.get("-H", "Origin: https://evil.example", path=f"/index.html?key={credential}").status == 401
