"""The hostile requests against the gateway: what reaches its upstream was authorised as it is, and claims nothing.

Spec: RFC 9112 §6.3, §7.1, §11.2; Oathkeeper GHSA-w9mr-28mw-j8hg, Caddy CVE-2026-30851, Traefik CVE-2026-39858,
oauth2-proxy CVE-2025-64484, Envoy CVE-2019-9901 and CVE-2021-32777, Traefik CVE-2026-48020, h11 CVE-2025-43859.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.e2e.shop import API, Shop
from tests.support import hostile_requests as hostile
from tests.support.authority import Authority
from tests.support.hostile_sending import send_all
from tests.support.ports import free_port
from tests.support.raw_upstream import RawUpstream, Received

ROUTES = """
[[routes]]
name = "site"
upstream = "http://127.0.0.1:{port}"
api = "{api}"
"""


class Scene(NamedTuple):
    """What was answered to each request, by its name, and what the upstream received."""

    answers: dict[str, bytes]
    received: list[Received]
    credential: str


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home, upstream, port = tmp_path_factory.mktemp("hostile"), RawUpstream(), free_port()
    file = home / "routes.toml"
    file.write_text(ROUTES.format(port=upstream.port, api=API))
    settings = {
        "KEYBEARER_GATEWAY_PORT": str(port),
        "KEYBEARER_GATEWAY_ROUTES": str(file),
        "KEYBEARER_FAILURES_PER_MINUTE": "0",
    }
    node = Authority(home / "data", home / "logs", environment=settings)
    node.init()
    node.start()
    try:
        _, credential = Shop(node, allow_publishable_in_query=True).key("pages:read")
        answers = send_all(port, hostile.ALL, credential)
        yield Scene(answers, upstream.received, credential)
    finally:
        node.stop()
        upstream.stop()


def test_no_claim_no_credential_and_nothing_ambiguous_reaches_the_upstream(scene: Scene) -> None:
    assert scene.received
    assert hostile.complaints(scene.received, secret=scene.credential) == []


def test_honest_requests_among_them_are_answered(scene: Scene) -> None:
    served = {case.name for case in hostile.ALL if scene.answers[case.name].startswith(b"HTTP/1.1 200")}
    assert {case.name for case in hostile.ALL if case.plain} <= served


def test_everything_that_is_not_served_is_refused_as_a_fault_of_the_client(scene: Scene) -> None:
    statuses = {name: answer[9:12] for name, answer in scene.answers.items() if answer}
    assert {
        name: status for name, status in statuses.items() if status[:1] not in (b"2", b"4") and status != b"501"
    } == {}


def test_the_target_that_was_authorised_is_the_one_that_is_forwarded(scene: Scene) -> None:
    sent = {re.sub(rb"^https?://[^/?#]*", b"", case.raw.split(b" ")[1]) for case in hostile.ALL}
    assert {one.target for one in scene.received} <= sent
