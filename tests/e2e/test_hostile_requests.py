"""The hostile requests through every real proxy with its configuration of deploy/, and what then reached the site.

The site is a bare socket that keeps what it got; a relay before Keybearer keeps what the proxy asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.e2e.guarded import DEPLOY, adapted, authority_for_guards, ports_of
from tests.e2e.shop import API, Shop
from tests.support import hostile_requests as hostile
from tests.support.caddy import Caddy, find_caddy
from tests.support.envoy import Envoy, find_envoy
from tests.support.hostile_sending import send, send_all
from tests.support.nginx import Nginx, find_nginx
from tests.support.program import Program
from tests.support.raw_upstream import RawUpstream
from tests.support.relay import Relay
from tests.support.traefik import Traefik, find_traefik

GUARDS: dict[str, tuple[Callable[[], str | None], type[Program], str, str]] = {
    "nginx": (find_nginx, Nginx, "nginx/keybearer.conf", "/var/log/nginx/"),
    "caddy": (find_caddy, Caddy, "caddy/keybearer.caddy", "/var/log/caddy/"),
    "envoy-grpc": (find_envoy, Envoy, "envoy/keybearer-grpc.yaml", "/var/log/envoy/"),
    "envoy-http": (find_envoy, Envoy, "envoy/keybearer-http.yaml", "/var/log/envoy/"),
    "traefik": (find_traefik, Traefik, "traefik/dynamic.yaml", ""),
}

ONE_CREDENTIAL = {"repeated-authorization-empty-good", "repeated-authorization-folded", "repeated-key-underscore"}
"""Where a proxy that joins lines, or leaves out what it does not know, is left with one credential."""
REFUSED = {b"400", b"401", b"403"}


@dataclass
class Scene:
    """One proxy between the hostile requests and the site."""

    name: str
    shop: Shop
    upstream: RawUpstream
    relays: tuple[Relay, Relay]
    proxy: Program

    @property
    def asked(self) -> bytes:
        """What the proxy asked Keybearer, over HTTP or gRPC."""
        return b"".join(relay.asked for relay in self.relays)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(f"hostile-{name}")) for name in sorted(GUARDS)],
)
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One of each for all of this module, for each proxy."""
    find, kind, configuration, log_folder = GUARDS[request.param]
    program = find()
    if program is None:
        pytest.skip(f"{kind.NAME} is not installed")
    home = tmp_path_factory.mktemp("hostile")
    prefix = home / "prefix"
    prefix.mkdir()
    node = authority_for_guards(home)
    upstream = RawUpstream()
    over_http, over_grpc = ports_of(node)
    relays = Relay(over_http), Relay(over_grpc)
    proxy = kind(program, prefix)
    if isinstance(proxy, Traefik):
        proxy.static = (DEPLOY / "traefik/static.yaml").read_text()
    ports = relays[0].port, relays[1].port
    try:
        text = adapted(DEPLOY / configuration, ports, upstream.port, log_folder)
        # Caddy answers for its own names only.
        proxy.start(text.replace("http://127.0.0.1:@PORT@ {", "http://site.example:@PORT@ {\n\tbind 127.0.0.1"))
        yield Scene(request.param, Shop(node, allow_publishable_in_query=True), upstream, relays, proxy)
    finally:
        proxy.stop()
        upstream.stop()
        for relay in relays:
            relay.stop()
        node.stop()


@pytest.fixture
def scene(servers: Scene) -> Scene:
    """The servers, with nothing remembered of the test before."""
    servers.upstream.forget()
    return servers


def test_nothing_that_a_client_claims_reaches_the_site(scene: Scene) -> None:
    key_id, credential = scene.shop.key("pages:read")
    answers = send_all(scene.proxy.port, hostile.ALL, credential)
    received = scene.upstream.received
    assert hostile.complaints(received, secret=credential) == []
    # Whoever came through is named by Keybearer, and by nobody else.
    assert {tuple(one.field("x-keybearer-key")) for one in received} == {(key_id.encode(),)}
    for name in ("claim-dash-as-is", "claim-dash-upper", "claim-twice"):
        assert answers[name].startswith(b"HTTP/1.1 200 "), name
    assert len(received) > 10
    # What was authorised is, byte for byte, what was forwarded.
    asked = scene.asked
    assert [one.target for one in received if one.target not in asked] == []


def test_two_credentials_open_nothing(scene: Scene) -> None:
    _, credential = scene.shop.key("pages:read")
    answers = send_all(scene.proxy.port, hostile.REPEATED, credential)
    received = {one.target.rpartition(b"/")[2].decode() for one in scene.upstream.received}
    assert received <= ONE_CREDENTIAL
    assert {
        answer.split(b" ")[1] for name, answer in answers.items() if answer and name not in ONE_CREDENTIAL
    } <= REFUSED


def test_a_key_in_another_header_of_the_api_does_not_reach_the_site(scene: Scene) -> None:
    _, credential = scene.shop.key("pages:read")
    api = f"/v1/apis/{scene.shop.api['id']}"
    scene.shop.call("PATCH", api, {"key_header": "X-Auth-Token"})
    try:
        raw = hostile.request("token", b"X-Auth-Token: " + credential.encode(), authorized=False)
        status = send(scene.proxy.port, raw).split(b" ")[1]
    finally:
        scene.shop.call("PATCH", api, {"key_header": "X-Api-Key"})
    # Envoy hands on over HTTP what its configuration lists, and this stands in none of ours.
    assert status == (b"401" if scene.name == "envoy-http" else b"200")
    assert hostile.complaints(scene.upstream.received, secret=credential) == []


def token_of(shop: Shop) -> bytes:
    """An access token for the site."""
    client_id, secret = shop.client(grant_types=["client_credentials"], token_endpoint_auth_method="client_secret_post")
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, "resource": API}
    answer = httpx.post(f"{shop.node.url}/oauth/token", data=form, trust_env=False)
    return bytes(answer.json()["access_token"].encode())


def test_a_page_of_another_site_opens_no_websocket_with_the_cookie_of_its_visitor(scene: Scene) -> None:
    """Some proxies take ``Upgrade`` away when they ask. Spec: CWE-1385."""
    handshake = (
        *(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
        *(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Cookie: __Host-token=" + token_of(scene.shop)),
    )
    api = f"/v1/apis/{scene.shop.api['id']}"
    scene.shop.call("PATCH", api, {"token_cookie": "__Host-token"})
    try:
        statuses = [
            send(scene.proxy.port, hostile.request("socket", *handshake, *said, authorized=False)).split(b" ")[1]
            for said in (
                (b"Sec-Fetch-Site: cross-site", b"Origin: https://evil.example"),
                (b"Sec-Fetch-Site: same-origin",),
            )
        ]
    finally:
        scene.shop.call("PATCH", api, {"token_cookie": ""})
    assert statuses[0] == b"403"
    assert statuses[1] == b"200"  # the site here speaks no WebSocket
    assert len(scene.upstream.received) == 1


def test_a_key_for_one_path_opens_no_other(scene: Scene) -> None:
    _, near = scene.shop.key("pages:read", restrictions={"paths": ["/open/*"]})
    answer = send(scene.proxy.port, hostile.request("x", target=b"/open/x").replace(hostile.CREDENTIAL, near.encode()))
    assert answer.startswith(b"HTTP/1.1 200 ")
    send_all(scene.proxy.port, hostile.PATHS, near)
    strange = [one.target for one in scene.upstream.received if re.fullmatch(rb"(?:/[a-z0-9-]+)+", one.target) is None]
    assert strange == []
    assert [one.target for one in scene.upstream.received if not one.target.startswith(hostile.OPEN)] == []


def test_without_a_credential_nothing_comes_through(scene: Scene) -> None:
    send_all(scene.proxy.port, hostile.ALL, "kb_sk_live_nobody")
    assert [(one.method, one.target) for one in scene.upstream.received] == []


def test_while_keybearer_cannot_be_asked_nobody_passes(scene: Scene) -> None:
    """The policy of every file in deploy/."""
    _, credential = scene.shop.key("pages:read")
    scene.shop.node.kill9()
    answers = send_all(scene.proxy.port, (*hostile.IDENTITY_CLAIMS, *hostile.SMUGGLING), credential)
    assert [(one.method, one.target) for one in scene.upstream.received] == []
    assert answers["claim-dash-as-is"].split(b" ")[1] in (b"500", b"502", b"503")
    scene.shop.node.restart()
