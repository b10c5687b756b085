"""What nginx does in its own way with the configuration of deploy/nginx; ``test_proxies.py`` has what all must do."""

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.curl import bearer, curl
from tests.e2e.guarded import DEPLOY, Scene
from tests.e2e.proxied import each, proxied
from tests.e2e.shop import Shop
from tests.support.authority import Authority
from tests.support.nginx import Nginx

CONFIGURATION = DEPLOY / "nginx/keybearer.conf"


@pytest.fixture(scope="module", params=each("nginx"))
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene[Nginx]]:
    """One of each for all of this module."""
    with proxied(request.param, tmp_path_factory) as running:
        yield running


@pytest.fixture
def scene(servers: Scene[Nginx]) -> Scene[Nginx]:
    """The servers, with nothing remembered of the test before."""
    servers.site.forget()
    return servers


def test_a_body_of_unknown_length_arrives_whole(scene: Scene[Nginx]) -> None:
    _, credential = scene.shop.key("pages:read")
    answer = scene.get(*bearer(credential), "-H", "Transfer-Encoding: chunked", "--data-binary", "y" * 999)
    assert (answer.status, answer.body) == (200, "y" * 999)


def test_the_limit_becomes_429_with_the_time_to_wait(scene: Scene[Nginx]) -> None:
    limit = {"name": "requests", "limit": 3, "period_in": 3600}
    _, credential = scene.shop.key("pages:read", limits=[limit])
    answers = [scene.get(*bearer(credential)) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers[:3]] == ["r=2", "r=1", "r=0"]
    assert 0 < int(answers[3].headers["retry-after"]) <= 1200
    assert '"status":429' in answers[3].body
    assert len(scene.site.requests) == 3
    _, other = scene.shop.key("pages:read")
    assert scene.get(*bearer(other)).status == 200


def test_both_secrets_work_while_a_rotation_overlaps(scene: Scene[Nginx]) -> None:
    key_id, old = scene.shop.key("pages:read", limits=[{"name": "requests", "limit": 4, "period_in": 3600}])
    new = scene.shop.call("POST", f"/v1/keys/{key_id}/rotate", {"grace_in": 600})["credential"]
    assert [scene.get(*bearer(secret)).status for secret in (old, new, old)] == [200, 200, 200]
    assert {dict(headers)["X-Keybearer-Key"] for _, headers in scene.site.requests} == {key_id}
    scene.shop.call("POST", f"/v1/keys/{key_id}/versions/1/revoke", {})
    assert [scene.get(*bearer(secret)).status for secret in (old, new)] == [401, 200]
    # One record, one budget: the two secrets together had the four requests.
    assert scene.get(*bearer(new)).status == 429


def test_no_client_reaches_the_question_itself(scene: Scene[Nginx]) -> None:
    _, credential = scene.shop.key("pages:read")
    for path in ("/_keybearer", "/_keybearer?x", "//_keybearer", "/%5fkeybearer"):
        assert scene.get(*bearer(credential), path=path).status == 404, path


def test_a_publishable_key_works_from_its_own_pages_only(scene: Scene[Nginx]) -> None:
    origins = {"origins": ["https://shop.example", "https://*.shop.example"]}
    _, credential = scene.shop.key("pages:read", kind="publishable_key", restrictions=origins)
    by_origin = {
        "https://shop.example": 200,
        "https://www.shop.example": 200,
        "https://shop.example.evil.example": 401,
        "https://evilshop.example": 401,
        "http://shop.example": 401,
        "null": 401,
    }
    for origin, status in by_origin.items():
        assert scene.get(*bearer(credential), "-H", f"Origin: {origin}").status == status, origin
    assert scene.get(*bearer(credential)).status == 401

    _, credential = scene.shop.key(
        "pages:read", kind="publishable_key", restrictions={"referrers": ["https://shop.example/app/*"]}
    )
    for referrer, status in {"https://shop.example/app/page": 200, "https://shop.example/": 401}.items():
        assert scene.get("-e", referrer, path=f"/index.html?key={credential}").status == status, referrer
    _, secret = scene.shop.key("pages:read")
    assert scene.get(path=f"/index.html?key={secret}").status == 401


def test_only_a_trusted_proxy_may_ask(authority: Callable[..., Authority]) -> None:
    shop = Shop(authority(environment={"KEYBEARER_TRUSTED_PROXIES": ""}))
    _, credential = shop.key("pages:read")
    answer = curl(f"{shop.node.url}/forward-auth/nginx", *bearer(credential), "-H", "X-Original-URI: /")
    assert answer.status == 403


def test_connections_to_keybearer_and_the_site_are_kept(scene: Scene[Nginx]) -> None:
    _, credential = scene.shop.key("pages:read")
    urls = [scene.proxy.url + "/index.html"] * 30
    subprocess.run(
        ["curl", "-sS", "--max-time", "20", "--noproxy", "*", *bearer(credential), *urls],
        check=True,
        capture_output=True,
        timeout=30,
    )
    assert len(scene.site.requests) == 30
    assert scene.site.connections <= 3


def test_the_configuration_asks_without_the_body() -> None:
    text = CONFIGURATION.read_text()
    for setting in ("proxy_pass_request_body off", 'Content-Length ""', "X-Original-URI $request_uri"):
        assert setting in text
