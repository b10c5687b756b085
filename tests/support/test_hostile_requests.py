"""The hostile requests are told apart, and what a careless guard lets through is found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import hostile_requests as hostile
from tests.support.hostile_sending import send, send_all
from tests.support.raw_upstream import RawUpstream


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    server = RawUpstream()
    yield server
    server.stop()


def test_the_names_are_unique_and_every_request_says_its_own() -> None:
    names = [case.name for case in hostile.ALL]
    assert len(names) == len(set(names)) > 120
    for case in hostile.ALL:
        assert case.name.encode() in case.raw or case.name.startswith("path-"), case.name


def test_an_honest_request_has_nothing_to_complain_about(upstream: RawUpstream) -> None:
    honest = hostile.request("honest", b"Content-Length: 3", b"X-Keybearer-Key: key_1", body=b"abc")
    assert send(upstream.port, honest).endswith(b"ok")
    (received,) = upstream.received
    assert (received.target, received.body, received.field("x-keybearer-key")) == (
        b"/hostile/honest",
        b"abc",
        [b"key_1"],
    )
    assert hostile.complaints(upstream.received) == []


def test_what_no_guard_stands_before_is_complained_about(upstream: RawUpstream) -> None:
    """Sent straight to the upstream, every claim, every hop and every second credential is seen there."""
    for group in (hostile.IDENTITY_CLAIMS, hostile.HOP_BY_HOP, hostile.SMUGGLING):
        upstream.forget()
        send_all(upstream.port, group, "a-secret")
        found = "\n".join(hostile.complaints(upstream.received))
        # By the letter of RFC 9112 these are one request and its body, or none at all.
        by_the_letter = {"claim-encoded", "smuggle-te-underscore", "smuggle-get-body", "smuggle-bare-lf"}
        silent = [
            case.name
            for case in group
            if case.name not in found and b"/smuggled/" + case.name[8:].encode() not in found.encode()
        ]
        assert not set(silent) - by_the_letter, silent
    upstream.forget()
    send_all(upstream.port, hostile.REPEATED, "a-secret")
    assert len(hostile.complaints(upstream.received, secret="a-secret")) >= len(hostile.REPEATED)
