"""A real nginx with the configuration of deploy/nginx in front of a real static site; Keybearer decides, curl asks."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.curl import bearer, curl
from tests.e2e.guarded import DEPLOY, PAGE, Scene, guarded_site
from tests.e2e.shop import Shop
from tests.support.authority import Authority
from tests.support.nginx import Nginx, find_nginx

CONFIGURATION = DEPLOY / "nginx/keybearer.conf"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene[Nginx]]:
    """One of each for all of this module."""
    program = find_nginx()
    if program is None:
        pytest.skip("nginx is not installed")
    home = tmp_path_factory.mktemp("nginx")
    prefix = home / "prefix"
    prefix.mkdir()
    with guarded_site(home, Nginx(program, prefix), CONFIGURATION, "/var/log/nginx/") as running:
        yield running


@pytest.fixture
def scene(servers: Scene[Nginx]) -> Scene[Nginx]:
    """The servers, with nothing remembered of the test before."""
    servers.site.forget()
    return servers


def log_of(server: Nginx, expected: str) -> str:
    """The log once it has the expected text: nginx writes a line after the client has got its answer."""
    log = server.prefix / "keybearer.log"
    for _ in range(200):
        if expected in log.read_text():
            break
        time.sleep(0.02)
    return log.read_text()


def test_a_key_opens_the_site_and_the_site_learns_whose_it_is(scene: Scene[Nginx]) -> None:
    key_id, credential = scene.shop.key("pages:read", owner="Ana & Co")
    for carried in (bearer(credential), ("-H", f"X-Api-Key: {credential}")):
        answer = scene.get(*carried)
        assert (answer.status, answer.body) == (200, PAGE)
        received = dict(scene.site.last_headers)
        assert received["X-Keybearer-Key"] == key_id
        assert received["X-Keybearer-Project"] == scene.shop.project["id"]
        assert received["X-Keybearer-Kind"] == "secret_key"
        assert received["X-Keybearer-Environment"] == "live"
        assert received["X-Keybearer-Permissions"] == "pages:read"
        assert received["X-Keybearer-Owner"] == "Ana%20%26%20Co"
        assert credential not in str(received)
    log = log_of(scene.proxy, key_id)
    assert f"GET /index.html 200 {len(PAGE)} key={key_id} project={scene.shop.project['id']}" in log
    assert credential not in log + scene.proxy.access_log


def test_the_bytes_of_the_path_and_the_body_arrive_as_they_were_sent(scene: Scene[Nginx]) -> None:
    _, credential = scene.shop.key("pages:read")
    answer = scene.get(*bearer(credential), path="/guide/a%20b.txt?x=%2F..%2f&y")
    assert (answer.status, answer.body) == (200, "A page in a folder.\n")
    assert scene.site.requests[-1][0] == "/guide/a%20b.txt?x=%2F..%2f&y"
    answer = scene.get(*bearer(credential), "--data-binary", "x" * 30_000, path="/form")
    assert (answer.status, len(answer.body)) == (200, 30_000)
    answer = scene.get(*bearer(credential), "-H", "Transfer-Encoding: chunked", "--data-binary", "y" * 999)
    assert (answer.status, answer.body) == (200, "y" * 999)
    assert scene.get(*bearer(credential), "--head").status == 200


def test_without_a_good_key_nothing_reaches_the_site(scene: Scene[Nginx]) -> None:
    _, credential = scene.shop.key("pages:read")
    wrong = credential[:-10] + ("A" if credential[-10] != "A" else "B") + credential[-9:]
    key_of_nobody = "kb_sk_live_nobody"
    refused = {
        "no key": scene.get(),
        "wrong key": scene.get(*bearer(wrong)),
        "not a key": scene.get(*bearer(key_of_nobody)),
        "two keys": scene.get(*bearer(credential), "-H", f"X-Api-Key: {credential}"),
        "basic": scene.get("--user", f"key:{credential}"),
        "in the query": scene.get(path=f"/index.html?api_key={credential}"),
        "in the query too": scene.get(*bearer(credential), path=f"/index.html?key={credential}"),
    }
    assert {name: answer.status for name, answer in refused.items()} == dict.fromkeys(refused, 401)
    assert len({answer.body for answer in refused.values()}) == 1
    where = 'scope="pages:read", resource_metadata="http'
    assert refused["no key"].headers["www-authenticate"].startswith(f"Bearer {where}")
    assert refused["wrong key"].headers["www-authenticate"].startswith(f'Bearer error="invalid_token", {where}')
    assert refused["no key"].headers["content-type"] == "application/problem+json"
    assert not scene.site.requests
    # Neither log has the key that stood in the query.
    assert credential not in log_of(scene.proxy, "/index.html 401") + scene.proxy.access_log
    assert credential not in scene.shop.node.output


def test_a_key_without_the_permission_is_403_and_names_it(scene: Scene[Nginx]) -> None:
    _, credential = scene.shop.key("pages:write")
    answer = scene.get(*bearer(credential))
    assert answer.status == 403
    assert answer.headers["www-authenticate"].startswith('Bearer error="insufficient_scope", scope="pages:read", ')
    assert not scene.site.requests


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


@pytest.mark.parametrize("ending", ["revoke", "disable", "delete"])
def test_the_next_request_after_the_end_is_refused(scene: Scene[Nginx], ending: str) -> None:
    key_id, credential = scene.shop.key("pages:read")
    assert scene.get(*bearer(credential)).status == 200
    if ending == "delete":
        scene.shop.call("DELETE", f"/v1/keys/{key_id}")
    else:
        scene.shop.call("POST", f"/v1/keys/{key_id}/{ending}", {} if ending == "revoke" else None)
    assert scene.get(*bearer(credential)).status == 401
    assert len(scene.site.requests) == 1


def test_what_a_client_claims_to_be_never_reaches_the_site(scene: Scene[Nginx]) -> None:
    key_id, credential = scene.shop.key("pages:read")
    fields: tuple[str, ...] = ("Key", "Project", "Kind", "Environment", "Permissions", "Identity", "Owner", "Status")
    fields += ("Token", "Client", "Subject", "User")
    spellings = [
        spelling
        for field in fields
        for name in (f"X-Keybearer-{field}", f"X_Keybearer_{field}", f"X.Keybearer.{field}", f"X-Keybearer_{field}")
        for spelling in (name, name.lower(), name.upper())
    ]
    claims = [part for name in spellings for part in ("-H", f"{name}: forged")]
    hop = ("-H", "Connection: close, X-Keybearer-Key, X-Keybearer-Permissions")
    answer = scene.get(*bearer(credential), *claims, *hop)
    assert (answer.status, answer.body) == (200, PAGE)
    received = scene.site.last_headers
    assert "forged" not in str(received)
    identity = [(name, value) for name, value in received if "keybearer" in name.lower()]
    assert ("X-Keybearer-Key", key_id) in identity
    assert len(identity) == len({name.lower() for name, _ in identity}) == 5
    assert dict(received)["X-Keybearer-Permissions"] == "pages:read"
    assert scene.get(*claims).status == 401


def test_what_a_client_says_about_the_request_is_not_believed(scene: Scene[Nginx]) -> None:
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
    assert scene.get(*bearer(near), path="/guide/a%20b.txt").status == 200
    assert scene.get(*bearer(near), *lying, path="/guide/a%20b.txt").status == 200
    heard = {name.lower() for name, _ in scene.site.last_headers}
    assert not {name.lower() for name in lies if "Override" in name or "URL" in name or "HTTP" in name} & heard
    assert scene.get(*bearer(near), *lying).status == 401
    assert scene.get(*bearer(near), *lying, "--data", "x", path="/guide/a%20b.txt").status == 401
    for path in ("/guide/../index.html", "/guide/%2e%2e/index.html", "/guide/..%2findex.html", "//guide/../index.html"):
        assert scene.get(*bearer(near), "--path-as-is", path=path).status == 401, path
    _, elsewhere = scene.shop.key("pages:read", restrictions={"ip_networks": ["10.0.0.0/8"]})
    for lie in ("10.1.2.3", "10.1.2.3, 127.0.0.1"):
        assert scene.get(*bearer(elsewhere), "-H", f"X-Forwarded-For: {lie}").status == 401
    _, here = scene.shop.key("pages:read", restrictions={"ip_networks": ["127.0.0.0/8"]})
    assert scene.get(*bearer(here), "-H", "X-Forwarded-For: 10.1.2.3").status == 200


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


def test_nobody_gets_in_while_keybearer_cannot_be_asked(scene: Scene[Nginx]) -> None:
    _, credential = scene.shop.key("pages:read")
    assert scene.get(*bearer(credential)).status == 200
    scene.shop.node.kill9()
    answer = scene.get(*bearer(credential))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert len(scene.site.requests) == 1
    scene.shop.node.restart()
    until = time.monotonic() + 15  # nginx tries a server that failed again after ten seconds
    while (status := scene.get(*bearer(credential)).status) != 200 and time.monotonic() < until:
        time.sleep(0.2)
    assert status == 200


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


def test_the_configuration_names_its_places() -> None:
    text = CONFIGURATION.read_text()
    assert re.findall(r"# \((\d)\)", text) == ["1", "2", "3", "4", "5"]
    for setting in ("proxy_pass_request_body off", 'Content-Length ""', "X-Original-URI $request_uri"):
        assert setting in text
