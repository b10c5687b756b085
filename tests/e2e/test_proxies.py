"""What every proxy of deploy/ must do in front of a real site: real programs, Keybearer decides, curl asks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.curl import bearer, curl
from tests.e2e.guarded import PAGE, Scene
from tests.e2e.proxied import Proxied, each, proxied

HOP = ("-H", "Connection: close, X-Keybearer-Key, X-Keybearer-Permissions")
CLAIMED = (
    *("Key", "Project", "Kind", "Environment", "Permissions", "Identity", "Owner", "Status"),
    *("Token", "Client", "Subject", "User"),
)


@pytest.fixture(scope="module", params=each())
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Proxied, Scene[Any]]]:
    """One of each for all of this module, for each proxy."""
    with proxied(request.param, tmp_path_factory) as running:
        yield request.param, running


@pytest.fixture
def proxy(servers: tuple[Proxied, Scene[Any]]) -> Proxied:
    """The row of the table."""
    return servers[0]


@pytest.fixture
def scene(servers: tuple[Proxied, Scene[Any]]) -> Scene[Any]:
    """The servers, with nothing remembered of the test before."""
    servers[1].site.forget()
    return servers[1]


def logs_of(scene: Scene[Any], expected: str) -> str:
    """Everything that the proxy logged, once that has the expected text: lines are written after the answer."""

    def text() -> str:
        return "".join(log.read_text(errors="replace") for log in sorted(scene.proxy.prefix.glob("*.log")))

    until = time.monotonic() + 5
    while expected not in text() and time.monotonic() < until:
        time.sleep(0.02)
    return text()


def test_a_key_opens_the_site_and_the_site_learns_whose_it_is(proxy: Proxied, scene: Scene[Any]) -> None:
    key_id, credential = scene.shop.key("pages:read", owner="Ana & Co")
    for carried in (bearer(credential), ("-H", f"X-Api-Key: {credential}")):
        answer = scene.get(*carried)
        assert (answer.status, answer.body) == (200, PAGE)
        received = scene.heard
        assert received["x-keybearer-key"] == key_id
        assert received["x-keybearer-project"] == scene.shop.project["id"]
        assert received["x-keybearer-permissions"] == "pages:read"
        assert received["x-keybearer-owner"] == "Ana%20%26%20Co"
        assert credential not in str(received)
    expected = proxy.logged.format(key_id=key_id)
    logs = logs_of(scene, expected)
    assert expected in logs
    assert credential not in logs


def test_a_token_opens_the_site_until_it_is_revoked(scene: Scene[Any]) -> None:
    client_id, secret = scene.shop.client(grant_types=["client_credentials"])
    basic = ("--user", f"{client_id}:{secret}")
    url = scene.shop.node.url + "/oauth/token"
    answer = curl(url, *basic, "--data", "grant_type=client_credentials&scope=pages:read")
    token = re.search(r'"access_token":"([^"]+)"', answer.body)
    assert token is not None, answer.body
    assert scene.get(*bearer(token[1])).status == 200
    received = scene.heard
    assert received["x-keybearer-client"] == client_id
    assert not received.get("x-keybearer-key")
    assert token[1] not in str(received)
    curl(scene.shop.node.url + "/oauth/revoke", *basic, "--data", f"token={token[1]}")
    assert scene.get(*bearer(token[1])).status == 401


def test_without_a_good_key_nothing_reaches_the_site(scene: Scene[Any]) -> None:
    _, credential = scene.shop.key("pages:read")
    wrong = credential[:-10] + ("A" if credential[-10] != "A" else "B") + credential[-9:]
    refused = {
        "no key": scene.get(),
        "wrong key": scene.get(*bearer(wrong)),
        "not a key": scene.get(*bearer("kb_sk_live_nobody")),
        "two keys": scene.get(*bearer(credential), "-H", f"X-Api-Key: {credential}"),
        "basic": scene.get("--user", f"key:{credential}"),
        "in the query": scene.get(path=f"/index.html?api_key={credential}"),
        "in the query too": scene.get(*bearer(credential), path=f"/index.html?key={credential}"),
    }
    assert {name: answer.status for name, answer in refused.items()} == dict.fromkeys(refused, 401)
    where = 'scope="pages:read", resource_metadata="http'
    assert refused["no key"].headers["www-authenticate"].startswith(f"Bearer {where}")
    assert refused["wrong key"].headers["www-authenticate"].startswith(f'Bearer error="invalid_token", {where}')
    assert refused["no key"].headers["content-type"] == "application/problem+json"
    assert not scene.site.requests
    # No log has the key that stood in the query.
    assert credential not in logs_of(scene, "401") + scene.shop.node.output


def test_a_key_without_the_permission_is_403_and_names_it(scene: Scene[Any]) -> None:
    _, credential = scene.shop.key("pages:write")
    answer = scene.get(*bearer(credential))
    assert answer.status == 403
    assert answer.headers["www-authenticate"].startswith('Bearer error="insufficient_scope", scope="pages:read", ')
    assert not scene.site.requests


def test_a_used_up_limit_becomes_429_with_the_time_to_wait(scene: Scene[Any]) -> None:
    _, credential = scene.shop.key("pages:read", limits=[{"name": "requests", "limit": 2, "period_in": 3600}])
    answers = [scene.get(*bearer(credential)) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert 0 < int(answers[2].headers["retry-after"]) <= 1800
    assert len(scene.site.requests) == 2


def test_both_secrets_work_while_a_rotation_overlaps_and_none_after_a_revoke(scene: Scene[Any]) -> None:
    key_id, old = scene.shop.key("pages:read")
    new = scene.shop.call("POST", f"/v1/keys/{key_id}/rotate", {"grace_in": 600})["credential"]
    assert [scene.get(*bearer(secret)).status for secret in (old, new)] == [200, 200]
    scene.shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
    assert [scene.get(*bearer(secret)).status for secret in (old, new)] == [401, 401]


@pytest.mark.parametrize("ending", ["revoke", "disable", "delete"])
def test_the_next_request_after_the_end_is_refused(scene: Scene[Any], ending: str) -> None:
    key_id, credential = scene.shop.key("pages:read")
    assert scene.get(*bearer(credential)).status == 200
    if ending == "delete":
        scene.shop.call("DELETE", f"/v1/keys/{key_id}")
    else:
        scene.shop.call("POST", f"/v1/keys/{key_id}/{ending}", {} if ending == "revoke" else None)
    assert scene.get(*bearer(credential)).status == 401
    assert len(scene.site.requests) == 1


@pytest.mark.parametrize("forms", [("X-Keybearer-{}", "X.Keybearer.{}"), ("X_Keybearer_{}", "X-Keybearer_{}")])
def test_what_a_client_claims_to_be_never_reaches_the_site(scene: Scene[Any], forms: tuple[str, ...]) -> None:
    key_id, credential = scene.shop.key("pages:read")
    names = [form.format(field) for field in CLAIMED for form in forms]
    claims = [
        part
        # Traefik hands all of them to Keybearer, which takes no more than a hundred.
        for name in dict.fromkeys(spelt for name in names for spelt in (name, name.lower()))
        for part in ("-H", f"{name}: forged")
    ]
    for sent in ((), claims, HOP, (*claims, *HOP)):
        scene.site.forget()
        answer = scene.get(*bearer(credential), *sent)
        if answer.status == 400:  # some proxies refuse what others take away
            assert sent in (claims, HOP, (*claims, *HOP))
            assert not scene.site.requests
            continue
        assert (answer.status, answer.body) == (200, PAGE)
        identity = {name: value for name, value in scene.heard.items() if "keybearer" in name}
        assert "forged" not in str(scene.site.last_headers)
        assert (identity["x-keybearer-key"], identity["x-keybearer-permissions"]) == (key_id, "pages:read")
    scene.site.forget()
    assert scene.get(*claims).status in (400, 401)
    assert not scene.site.requests


def test_what_a_client_says_about_the_request_is_not_believed(scene: Scene[Any]) -> None:
    _, near = scene.shop.key("pages:read", restrictions={"paths": ["/guide/*"], "methods": ["GET"]})
    lies = {
        "X-Original-URI": "/guide/x",
        "X-Forwarded-Uri": "/guide/x",
        "X-Original-URL": "/guide/x",
        "X-Rewrite-URL": "/guide/x",
        "X-Forwarded-Method": "DELETE",
        "X-Original-Method": "DELETE",
        "X-HTTP-Method-Override": "DELETE",
        "X-HTTP-Method": "DELETE",
        "X-Method-Override": "DELETE",
    }
    lying = [part for name, value in lies.items() for part in ("-H", f"{name}: {value}")]
    assert scene.get(*bearer(near), *lying, path="/guide/a%20b.txt?x=%2F..%2f&y").status == 200
    assert scene.site.requests[-1][0] == "/guide/a%20b.txt?x=%2F..%2f&y"
    heard = scene.heard
    assert not {name for name, value in lies.items() if heard.get(name.lower()) == value}
    scene.site.forget()
    as_wanted = [part.replace("DELETE", "GET") for part in lying]
    assert scene.get(*bearer(near), *as_wanted).status == 401
    assert scene.get(*bearer(near), *as_wanted, "--data", "x", path="/guide/a%20b.txt").status == 401
    for path in ("/guide/../index.html", "/guide/%2e%2e/index.html", "//guide/../index.html", "/guide/..%2findex.html"):
        assert scene.get(*bearer(near), "--path-as-is", path=path).status in (400, 401), path
    _, elsewhere = scene.shop.key("pages:read", restrictions={"ip_networks": ["10.0.0.0/8"]})
    for lie in ("10.1.2.3", "10.1.2.3, 127.0.0.1"):
        assert scene.get(*bearer(elsewhere), "-H", f"X-Forwarded-For: {lie}").status == 401
    assert not scene.site.requests


def test_the_body_arrives_as_it_was_sent(scene: Scene[Any]) -> None:
    _, credential = scene.shop.key("pages:read")
    answer = scene.get(*bearer(credential), "--data-binary", "x" * 30_000, path="/form")
    assert (answer.status, len(answer.body)) == (200, 30_000)
    assert scene.get(*bearer(credential), "--head").status == 200


def test_nobody_gets_in_while_keybearer_cannot_be_asked(proxy: Proxied, scene: Scene[Any]) -> None:
    _, credential = scene.shop.key("pages:read")
    assert scene.get(*bearer(credential)).status == 200
    scene.shop.node.kill9()
    assert scene.get(*bearer(credential)).status == proxy.while_down
    assert len(scene.site.requests) == 1
    scene.shop.node.restart()
    until = time.monotonic() + 15  # nginx tries a server that failed again after ten seconds
    while (status := scene.get(*bearer(credential)).status) != 200 and time.monotonic() < until:
        time.sleep(0.2)
    assert status == 200


@pytest.mark.parametrize("row", each())
def test_the_configuration_names_its_places(row: Proxied) -> None:
    """Operators are led through the lines that they have to change by numbers, each of which stands there."""
    numbers = re.findall(r"# \((\d)\)", row.configuration.read_text())
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert numbers
