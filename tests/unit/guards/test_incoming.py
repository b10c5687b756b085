"""What a guard reads of a request: nothing that another server could read differently."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from keybearer.core import credential
from keybearer.core.errors import Code, Rejected
from keybearer.core.instant import Instant
from keybearer.core.records import AndroidApp, Api
from keybearer.guards.doors import Doors
from keybearer.guards.incoming import MAX_HEADER, MAX_URL, Incoming, Read, read
from keybearer.guards.metrics import Metrics
from keybearer.guards.rule import Rule
from keybearer.http.client_address import TrustedProxies

KEY = credential.mint("kb_sk_live", "0" * 16).reveal().encode()
API = Api(id="api_1", identifier="https://a.example", name="a", created_at=Instant(0), updated_at=Instant(0))


def look(*headers: tuple[bytes, bytes], **more: Any) -> Read:
    fields = [(b"authorization", b"Bearer " + KEY), (b"host", b"site.example"), *headers]
    request = {"method": "GET", "path": "/pages/1", "query": "", "peer": "192.0.2.1", **more}
    return read(Incoming(headers=fields, **request), API, TrustedProxies(()))


def test_where_a_request_came_from() -> None:
    found = look(
        (b"origin", b"https://shop.example"),
        (b"referer", b"https://shop.example/a"),
        (b"x-android-package", b"com.example.app"),
        (b"x-android-cert", b"AB:" * 31 + b"AB"),
        (b"x-ios-bundle-identifier", b"com.example.ios"),
        (b"x-forwarded-for", b"198.51.100.1"),  # nobody's word is believed
    ).where
    assert str(found.client_ip) == "192.0.2.1"
    assert (found.origin, found.referrer) == ("https://shop.example", "https://shop.example/a")
    assert found.android_app == AndroidApp("com.example.app", "ab" * 32)
    assert (found.ios_bundle_id, found.method, found.path) == ("com.example.ios", "GET", "/pages/1")


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ([(b"x-http-method-override", b"DELETE")], {}),
        ([(b"x-original-url", b"/admin")], {}),
        ([], {"path": "*"}),
        ([], {"path": "/" + "a" * MAX_URL}),
        ([], {"method": "A" * 21}),
    ],
    ids=["method", "target", "no path", "long path", "long method"],
)
def test_what_is_not_certain_is_not_stated(headers: list[tuple[bytes, bytes]], more: dict[str, Any]) -> None:
    found = look(*headers, **more).where
    assert found.method is None or found.path is None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer " + KEY)],
        [(b"x-api-key", KEY)],
        [(b"x_api_key", KEY)],
        [(b"x.api.key", KEY)],
        [(b"dpop", b"a"), (b"dpop", b"b")],
        [(b"origin", b"https://a.example"), (b"origin", b"https://b.example")],
        [(b"host", b"other.example")],
    ],
    ids=["twice", "two places", "underscore", "dot", "two proofs", "two origins", "two hosts"],
)
def test_what_could_be_read_in_two_ways_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Rejected) as refused:
        look(*headers)
    assert refused.value.code is Code.MALFORMED


def test_headers_that_no_authority_would_take_are_left_out() -> None:
    found = look((b"origin", b"h" * (MAX_HEADER + 1)), (b"x-android-package", b"a"), (b"x-android-cert", b"zz")).where
    assert found.origin is None
    assert found.android_app is None


@pytest.mark.parametrize("place", ["pages", "GET pages", ""])
def test_a_place_begins_with_a_slash(place: str) -> None:
    with pytest.raises(ValueError, match="no place"):
        Doors(None, {place: "a:b"}, ())


def test_the_first_rule_that_fits_holds() -> None:
    careful = Rule(["a:read", "a:list"])
    doors = Doors(["a:any"], {"GET /a/*": careful, "/a/*": "a:write"}, ("GET /open",))
    assert doors.rule_for("GET", "/a/1") is careful
    assert careful.expression == "a:read and a:list"
    assert [doors.rule_for(method, path) for method, path in (("GET", "/open"),)] == [None]
    texts = [doors.rule_for(method, path) for method, path in (("PUT", "/a/1"), ("POST", "/open"))]
    assert [rule.expression for rule in texts if rule is not None] == ["a:write", "a:any"]


def test_counters_can_be_shown_to_prometheus() -> None:
    metrics, registry = Metrics(), CollectorRegistry()
    metrics.register(registry)
    for _ in range(3):
        metrics.local.add()
    assert dict(metrics)["local"] == 3
    assert b'keybearer_guard_total{outcome="local"} 3.0' in generate_latest(registry)
