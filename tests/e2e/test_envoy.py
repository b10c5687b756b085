"""A real Envoy with the configurations of deploy/envoy in front of a real static site; Keybearer decides, curl asks.

Once it asks over gRPC, once over HTTP: what the client and the site see is the same.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.e2e.curl import bearer, curl
from tests.e2e.guarded import DEPLOY, PAGE, Scene, adapted, guarded_site, ports_of
from tests.e2e.static_site import StaticSite
from tests.support.envoy import Envoy, find_envoy

CONFIGURATIONS = {way: DEPLOY / f"envoy/keybearer-{way}.yaml" for way in ("grpc", "http")}


@pytest.fixture(
    scope="module",
    params=[pytest.param(way, marks=pytest.mark.xdist_group(f"envoy-{way}")) for way in sorted(CONFIGURATIONS)],
)
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene[Envoy]]:
    """One of each for all of this module, for each way to ask."""
    program = find_envoy()
    if program is None:
        pytest.skip("Envoy is not installed")
    home = tmp_path_factory.mktemp("envoy")
    prefix = home / "prefix"
    prefix.mkdir()
    with guarded_site(home, Envoy(program, prefix), CONFIGURATIONS[request.param], "/var/log/envoy/") as running:
        yield running


def heard_by(site: StaticSite) -> dict[str, str]:
    """The headers of the newest request; Envoy writes their names in lower case."""
    headers = site.last_headers
    assert len(headers) == len({name.lower() for name, _ in headers})
    return {name.lower(): value for name, value in headers}


def log_of(proxy: Envoy, expected: str) -> str:
    """The log once it has the expected text: Envoy writes lines some time after it has answered."""
    log = proxy.prefix / "keybearer.log"
    until = time.monotonic() + 5
    while expected not in log.read_text() and time.monotonic() < until:
        time.sleep(0.02)
    return log.read_text()


@pytest.fixture
def scene(servers: Scene[Envoy]) -> Scene[Envoy]:
    """The servers, with nothing remembered of the test before."""
    servers.site.forget()
    return servers


def test_a_key_opens_the_site_and_the_site_learns_whose_it_is(scene: Scene[Envoy]) -> None:
    key_id, credential = scene.shop.key("pages:read", owner="Ana & Co")
    for carried in (bearer(credential), ("-H", f"X-Api-Key: {credential}")):
        answer = scene.get(*carried)
        assert (answer.status, answer.body) == (200, PAGE)
        received = heard_by(scene.site)
        assert received["x-keybearer-key"] == key_id
        assert received["x-keybearer-project"] == scene.shop.project["id"]
        assert received["x-keybearer-permissions"] == "pages:read"
        assert received["x-keybearer-owner"] == "Ana%20%26%20Co"
        assert credential not in str(received)
    log = log_of(scene.proxy, f"/index.html 200 key={key_id}")
    assert f"GET /index.html 200 key={key_id} project={scene.shop.project['id']}" in log
    assert credential not in log + scene.proxy.output


def test_a_token_opens_the_site_until_it_is_revoked(scene: Scene[Envoy]) -> None:
    client_id, secret = scene.shop.client(grant_types=["client_credentials"])
    basic = ("--user", f"{client_id}:{secret}")
    url = scene.shop.node.url + "/oauth/token"
    answer = curl(url, *basic, "--data", "grant_type=client_credentials&scope=pages:read")
    token = re.search(r'"access_token":"([^"]+)"', answer.body)
    assert token is not None, answer.body
    assert scene.get(*bearer(token[1])).status == 200
    received = heard_by(scene.site)
    assert received["x-keybearer-client"] == client_id
    assert not received.get("x-keybearer-key")
    assert token[1] not in str(received)
    curl(scene.shop.node.url + "/oauth/revoke", *basic, "--data", f"token={token[1]}")
    assert scene.get(*bearer(token[1])).status == 401


def test_without_a_good_key_nothing_reaches_the_site(scene: Scene[Envoy]) -> None:
    _, credential = scene.shop.key("pages:read")
    wrong = credential[:-10] + ("A" if credential[-10] != "A" else "B") + credential[-9:]
    refused = {
        "no key": scene.get(),
        "wrong key": scene.get(*bearer(wrong)),
        "two keys": scene.get(*bearer(credential), "-H", f"X-Api-Key: {credential}"),
        "basic": scene.get("--user", f"key:{credential}"),
        "in the query": scene.get(path=f"/index.html?key={credential}"),
    }
    assert {name: answer.status for name, answer in refused.items()} == dict.fromkeys(refused, 401)
    assert refused["no key"].headers["www-authenticate"].startswith('Bearer scope="pages:read", resource_metadata="')
    assert refused["no key"].headers["content-type"] == "application/problem+json"
    assert not scene.site.requests
    assert credential not in log_of(scene.proxy, "/index.html 401") + scene.proxy.output + scene.shop.node.output


def test_a_missing_permission_and_a_used_up_limit(scene: Scene[Envoy]) -> None:
    _, credential = scene.shop.key("pages:write")
    answer = scene.get(*bearer(credential))
    assert answer.status == 403
    assert answer.headers["www-authenticate"].startswith('Bearer error="insufficient_scope", scope="pages:read", ')
    _, credential = scene.shop.key("pages:read", limits=[{"name": "requests", "limit": 2, "period_in": 3600}])
    answers = [scene.get(*bearer(credential)) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert 0 < int(answers[2].headers["retry-after"]) <= 1800
    assert len(scene.site.requests) == 2


def test_both_secrets_work_while_a_rotation_overlaps_and_none_after_a_revoke(scene: Scene[Envoy]) -> None:
    key_id, old = scene.shop.key("pages:read")
    new = scene.shop.call("POST", f"/v1/keys/{key_id}/rotate", {"grace_in": 600})["credential"]
    assert [scene.get(*bearer(secret)).status for secret in (old, new)] == [200, 200]
    scene.shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
    assert [scene.get(*bearer(secret)).status for secret in (old, new)] == [401, 401]


def test_what_a_client_claims_to_be_never_reaches_the_site(scene: Scene[Envoy]) -> None:
    key_id, credential = scene.shop.key("pages:read")
    fields = ("Key", "Project", "Kind", "Environment", "Permissions", "Identity", "Owner", "Status")
    fields += ("Token", "Client", "Subject", "User")

    def claims(*forms: str) -> list[str]:
        names = [form.format(field) for field in fields for form in forms]
        spellings = [spelling for name in names for spelling in (name, name.lower(), name.upper())]
        return [part for spelling in spellings for part in ("-H", f"{spelling}: forged")]

    dashed = claims("X-Keybearer-{}", "X.Keybearer.{}")
    for hop in ((), ("-H", "Connection: close, X-Keybearer-Key, X-Keybearer-Permissions")):
        scene.site.forget()
        answer = scene.get(*bearer(credential), *dashed, *hop)
        if answer.status != 200:  # Envoy may refuse a connection option that is none
            assert hop
            assert not scene.site.requests
            continue
        assert "forged" not in str(scene.site.last_headers)
        identity = {name: value for name, value in heard_by(scene.site).items() if "keybearer" in name}
        assert identity["x-keybearer-key"] == key_id
        assert identity["x-keybearer-permissions"] == "pages:read"
    assert scene.get(*dashed).status == 401
    scene.site.forget()
    for form in ("X_Keybearer_{}", "X-Keybearer_{}"):
        assert scene.get(*bearer(credential), *claims(form)).status == 400
    assert not scene.site.requests


def test_what_a_client_says_about_the_request_is_not_believed(scene: Scene[Envoy]) -> None:
    _, near = scene.shop.key("pages:read", restrictions={"paths": ["/guide/*"], "methods": ["GET"]})
    lies = {
        "X-Original-URI": "/guide/x",
        "X-Forwarded-Uri": "/guide/x",
        "X-Original-URL": "/guide/x",
        "X-Rewrite-URL": "/guide/x",
        "X-Forwarded-Method": "GET",
        "X-Original-Method": "GET",
        "X-HTTP-Method-Override": "DELETE",
        "X-HTTP-Method": "DELETE",
        "X-Method-Override": "DELETE",
    }
    lying = [part for name, value in lies.items() for part in ("-H", f"{name}: {value}")]
    assert scene.get(*bearer(near), *lying, path="/guide/a%20b.txt?x=%2F..%2f&y").status == 200
    assert scene.site.requests[-1][0] == "/guide/a%20b.txt?x=%2F..%2f&y"
    heard = {name.lower() for name, _ in scene.site.last_headers}
    assert not {name.lower() for name in lies} & heard
    assert scene.get(*bearer(near), *lying).status == 401
    assert scene.get(*bearer(near), *lying, "--data", "x", path="/guide/a%20b.txt").status == 401
    for path in ("/guide/../index.html", "/guide/%2e%2e/index.html", "//guide/../index.html"):
        assert scene.get(*bearer(near), "--path-as-is", path=path).status == 401, path
    assert scene.get(*bearer(near), "--path-as-is", path="/guide/..%2findex.html").status == 400
    _, elsewhere = scene.shop.key("pages:read", restrictions={"ip_networks": ["10.0.0.0/8"]})
    for lie in ("10.1.2.3", "10.1.2.3, 127.0.0.1"):
        assert scene.get(*bearer(elsewhere), "-H", f"X-Forwarded-For: {lie}").status == 401


def test_the_body_arrives_as_it_was_sent(scene: Scene[Envoy]) -> None:
    _, credential = scene.shop.key("pages:read")
    answer = scene.get(*bearer(credential), "--data-binary", "x" * 30_000, path="/form")
    assert (answer.status, len(answer.body)) == (200, 30_000)


def test_nobody_gets_in_while_keybearer_cannot_be_asked(scene: Scene[Envoy]) -> None:
    _, credential = scene.shop.key("pages:read")
    assert scene.get(*bearer(credential)).status == 200
    scene.shop.node.kill9()
    assert scene.get(*bearer(credential)).status == 503
    assert len(scene.site.requests) == 1
    scene.shop.node.restart()
    assert scene.get(*bearer(credential)).status == 200


@contextmanager
def variant(scene: Scene[Envoy], folder: Path, site_port: int, edit: Callable[[str], str]) -> Iterator[Envoy]:
    """Another Envoy with the same configuration, changed as an operator might, before a site of the test's own."""
    way = "grpc" if "envoy_grpc" in (scene.proxy.prefix / "envoy.yaml").read_text() else "http"
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
    assert heard_by(scene.site)["x-keybearer-key"] == key_id


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


@pytest.mark.parametrize("way", sorted(CONFIGURATIONS))
def test_the_configuration_names_its_places(way: str) -> None:
    assert re.findall(r"# \((\d)\)", CONFIGURATIONS[way].read_text()) == ["1", "2", "3", "4"]
