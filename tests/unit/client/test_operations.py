"""What each operation sends, described once and carried out by either driver."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from keybearer.client import AsyncKeybearer, Call, Found, Keybearer, LeakSource, calls
from keybearer.client.call import seconds
from keybearer.core.incidents import SourceKind
from keybearer.core.leaks import Measure
from keybearer.core.quota import CalendarUnit
from keybearer.core.secret import Secret
from keybearer.wire.keys import RestrictionsSpec
from keybearer.wire.limits import CreditsSpec, QuotaSpec, RateLimitSpec
from keybearer.wire.records import PermissionSpec
from keybearer.wire.users import LinkSpec
from tests.support import answers
from tests.support.answers import KEY, KEY_VIEW, URL, Recorder

UNTIL = datetime(2027, 1, 1, tzinfo=UTC)

OPERATIONS: list[tuple[Call[Any], str, str, object, object]] = [
    (calls.apis.get("api_1"), "GET", "/v1/apis/api_1", None, answers.API),
    (calls.apis.get("a/../b?c"), "GET", "/v1/apis/a%2F..%2Fb%3Fc", None, answers.API),
    (calls.projects.enable("proj_1"), "POST", "/v1/projects/proj_1/enable", None, answers.PROJECT),
    (calls.plans.disable("plan_1"), "POST", "/v1/plans/plan_1/disable", None, answers.PLAN),
    (calls.identities.delete("idn_1"), "DELETE", "/v1/identities/idn_1", None, answers.IDENTITY),
    (calls.keys.undelete("key_1"), "POST", "/v1/keys/key_1/undelete", None, KEY_VIEW),
    (
        calls.apis.create(identifier="urn:x", name="X", permissions=[PermissionSpec("a:read")]),
        "POST",
        "/v1/apis",
        {"identifier": "urn:x", "name": "X", "permissions": [{"name": "a:read"}]},
        answers.API,
    ),
    (
        calls.apis.update("api_1", default_plan_id=None),
        "PATCH",
        "/v1/apis/api_1",
        {"default_plan_id": None},
        answers.API,
    ),
    (
        calls.projects.create(name="Shop", brand="shop", enabled_apis=["api_1"]),
        "POST",
        "/v1/projects",
        {"name": "Shop", "brand": "shop", "enabled_apis": ["api_1"]},
        answers.PROJECT,
    ),
    (calls.projects.update("p", metadata={}), "PATCH", "/v1/projects/p", {"metadata": {}}, answers.PROJECT),
    (
        calls.projects.enable_api("p", "https://orders.example/v1"),
        "PUT",
        "/v1/projects/p/apis/https%3A%2F%2Forders.example%2Fv1",
        None,
        answers.PROJECT,
    ),
    (calls.projects.disable_api("p", "api_1"), "DELETE", "/v1/projects/p/apis/api_1", None, answers.PROJECT),
    (
        calls.plans.create(name="Free", quotas=[QuotaSpec("calls", 5, CalendarUnit.MONTH)]),
        "POST",
        "/v1/plans",
        {"name": "Free", "quotas": [{"name": "calls", "limit": 5, "per": "month", "automatic": True}]},
        answers.PLAN,
    ),
    (calls.plans.update("p", limits=[]), "PATCH", "/v1/plans/p", {"limits": []}, answers.PLAN),
    (
        calls.identities.create(project_id="p", external_id="7", credits=CreditsSpec(5)),
        "POST",
        "/v1/identities",
        {"project_id": "p", "external_id": "7", "credits": {"balance": 5, "refill": None}},
        answers.IDENTITY,
    ),
    (calls.identities.update("i", credits=None), "PATCH", "/v1/identities/i", {"credits": None}, answers.IDENTITY),
    (calls.identities.set_credits("i", add=3), "PUT", "/v1/identities/i/credits", {"add": 3}, answers.CREDITS),
    (
        calls.users.create(email="ada@example.com", password=Secret("a long one"), links=[LinkSpec("crm", "4711")]),
        "POST",
        "/v1/users",
        {"email": "ada@example.com", "password": "a long one", "links": [{"issuer": "crm", "subject": "4711"}]},
        answers.USER,
    ),
    (
        calls.upstreams.create(name="E", issuer="https://e.example", client_id="c", client_secret=Secret("s")),
        "POST",
        "/v1/upstreams",
        {
            "name": "E",
            "issuer": "https://e.example",
            "client_id": "c",
            "client_secret": "s",
        },
        answers.UPSTREAM,
    ),
    (
        calls.upstreams.update("i", client_secret=None, scopes=["openid"]),
        "PATCH",
        "/v1/upstreams/i",
        {"client_secret": None, "scopes": ["openid"]},
        answers.UPSTREAM,
    ),
    (
        calls.leaks.check([Found(Secret("s"), LeakSource(SourceKind.LOG, "a.log", 7))], act=True),
        "POST",
        "/v1/leaks/check",
        {
            "findings": [
                {
                    "credential": "s",
                    "source": {
                        "kind": "log",
                        "name": "a.log",
                        "line": 7,
                        "column": None,
                        "at": None,
                        "client_ip": None,
                        "commit": None,
                    },
                }
            ],
            "act": True,
        },
        {"findings": [{"state": "unknown"}]},
    ),
    (
        calls.leaks.set_policy("p", measures={"live.secret_key": Measure.ROTATE}, grace_in=timedelta(hours=1)),
        "PATCH",
        "/v1/leaks/policies/p",
        {"measures": {"live.secret_key": "rotate"}, "grace_in": 3600},
        answers.LEAK_POLICY,
    ),
    (calls.leaks.policy("p"), "GET", "/v1/leaks/policies/p", None, answers.LEAK_POLICY),
    (calls.leaks.urls(start="-7d"), "GET", "/v1/leaks/urls?start=-7d", None, answers.URL_REPORT),
    (calls.incidents.get("i"), "GET", "/v1/incidents/i", None, answers.INCIDENT),
    (calls.incidents.resolve("i", note="n"), "POST", "/v1/incidents/i/resolve", {"note": "n"}, answers.INCIDENT),
    (
        calls.webhooks.create(project_id="p", name="n", url="https://h.example", events=["ping"]),
        "POST",
        "/v1/webhooks",
        {"project_id": "p", "name": "n", "url": "https://h.example", "events": ["ping"]},
        answers.ISSUED_WEBHOOK,
    ),
    (calls.webhooks.rotate("h", grace_in=0), "POST", "/v1/webhooks/h/rotate", {"grace_in": 0}, answers.ISSUED_WEBHOOK),
    (calls.webhooks.redeliver("h", "m"), "POST", "/v1/webhooks/h/deliveries/m/redeliver", None, answers.DELIVERY),
    (calls.users.update("u", permissions=[]), "PATCH", "/v1/users/u", {"permissions": []}, answers.USER),
    (calls.users.disable("u"), "POST", "/v1/users/u/disable", None, answers.USER),
    (calls.users.factors("u"), "GET", "/v1/users/u/factors", None, answers.FACTORS),
    (calls.users.set_password("u", "p"), "PUT", "/v1/users/u/password", {"password": "p"}, answers.FACTORS),
    (calls.users.reset_second_factor("u"), "POST", "/v1/users/u/reset-second-factor", None, answers.FACTORS),
    (
        calls.users.send_link("u", "password_reset"),
        "POST",
        "/v1/users/u/send-link",
        {"kind": "password_reset"},
        answers.SENT,
    ),
    (
        calls.users.add_link("u", issuer="crm", subject="4711"),
        "POST",
        "/v1/users/u/links",
        {"issuer": "crm", "subject": "4711"},
        answers.LINK,
    ),
    (calls.users.remove_link("u", "lnk_1"), "DELETE", "/v1/users/u/links/lnk_1", None, answers.LINK),
    (calls.users.end_sessions("u"), "POST", "/v1/users/u/end-sessions", None, {"ended": 2}),
    (calls.sessions.get("s"), "GET", "/v1/sessions/s", None, answers.SESSION),
    (calls.sessions.end("s"), "POST", "/v1/sessions/s/end", None, answers.SESSION),
    (
        calls.keys.create(
            project_id="p",
            name="web",
            kind="publishable_key",
            environment="test",
            restrictions=RestrictionsSpec(origins=["https://a.example"]),
            limits=[RateLimitSpec("requests", 5, 60)],
            expires_in=timedelta(days=1),
            expires_at=UNTIL,
        ),
        "POST",
        "/v1/keys",
        {
            "project_id": "p",
            "name": "web",
            "kind": "publishable_key",
            "environment": "test",
            "restrictions": {
                "ip_networks": [],
                "origins": ["https://a.example"],
                "referrers": [],
                "android_apps": [],
                "ios_bundle_ids": [],
                "apis": [],
                "methods": [],
                "paths": [],
            },
            "limits": [{"name": "requests", "limit": 5, "period_in": 60, "burst": None, "automatic": True}],
            "expires_in": 86400,
            "expires_at": "2027-01-01T00:00:00Z",
        },
        answers.ISSUED,
    ),
    (calls.keys.update("k", owner=None, name="n"), "PATCH", "/v1/keys/k", {"owner": None, "name": "n"}, KEY_VIEW),
    (
        calls.keys.rotate("k", grace_in=0, quiet_in=timedelta(minutes=5), expires_at=None),
        "POST",
        "/v1/keys/k/rotate",
        {"grace_in": 0, "quiet_in": 300, "expires_at": None},
        answers.ISSUED,
    ),
    (calls.keys.revoke("k", wait=True), "POST", "/v1/keys/k/revoke", {"wait": True}, KEY_VIEW),
    (calls.keys.revoke_version("k", 2, reason="r"), "POST", "/v1/keys/k/versions/2/revoke", {"reason": "r"}, KEY_VIEW),
    (calls.keys.set_credits("k", balance=0), "PUT", "/v1/keys/k/credits", {"balance": 0}, answers.CREDITS),
    (
        calls.verify(KEY, permissions="a or b", limits={"heavy": 3}, credits=0, accept=["secret_key"]),
        "POST",
        "/v1/verify",
        {
            "credential": KEY,
            "permissions": "a or b",
            "limits": [{"name": "heavy", "cost": 3}],
            "credits": {"cost": 0},
            "accept": ["secret_key"],
        },
        answers.YES,
    ),
    (calls.refund("k", "r"), "POST", "/v1/refund", {"key_id": "k", "request_id": "r"}, {"refunded": True}),
    (calls.whoami(), "GET", "/v1/whoami", None, answers.WHOAMI),
    (calls.revoke_mine(), "POST", "/v1/revoke-mine", {}, {"id": "k", "revoked": True}),
    (calls.usage(), "GET", "/v1/usage", None, answers.USAGE),
    (
        calls.usage(start=UNTIL, end="now", group_by=["day", "code"], key_id="k", limit=5),
        "GET",
        "/v1/usage?start=2027-01-01T00%3A00%3A00%2B00%3A00&end=now&group_by=day%2Ccode&key_id=k&limit=5",
        None,
        answers.USAGE,
    ),
    (calls.audit.verify(expected="3:ab"), "GET", "/v1/audit/verification?expected=3%3Aab", None, answers.CHAIN),
    (calls.events(after=4), "GET", "/v1/events?after=4", None, {"head": 4, "items": []}),
]


@pytest.mark.parametrize(("call", "method", "target", "body", "answer"), OPERATIONS, ids=lambda value: str(value)[:50])
def test_what_is_sent(call: Call[Any], method: str, target: str, body: object, answer: object) -> None:
    recorder = Recorder(answer)
    with Keybearer(URL + "/", KEY, transport=httpx.MockTransport(recorder)) as client:
        value = client.send(call)
    request = recorder.request
    assert (request.method, request.url.raw_path.decode()) == (method, target)
    assert (json.loads(request.content) if request.content else None) == body
    assert ("content-type" in request.headers) is (body is not None)

    async def again() -> object:
        async with AsyncKeybearer(URL, KEY, transport=httpx.MockTransport(recorder)) as asynchronous:
            return await asynchronous.send(call)

    assert repr(asyncio.run(again())) == repr(value)
    assert recorder.requests[0].content == recorder.requests[1].content
    assert recorder.requests[0].url == recorder.requests[1].url


def test_every_operation_is_blocking_and_awaitable() -> None:
    recorder = Recorder(KEY_VIEW)
    client = Keybearer(URL, KEY, transport=httpx.MockTransport(recorder))
    asynchronous = AsyncKeybearer(URL, KEY, transport=httpx.MockTransport(recorder))
    found = client.keys.get("key_1")
    assert asyncio.run(asynchronous.keys.get("key_1")) == found


def test_operations_are_documented() -> None:
    for resource in (calls, calls.apis, calls.projects, calls.plans, calls.identities, calls.keys, calls.audit):
        for name in dir(type(resource)):
            if not name.startswith("_"):
                assert getattr(resource, name).__doc__, name


@pytest.mark.parametrize("id", ["", ".", ".."])
def test_ids_that_would_name_another_path_are_refused(id: str) -> None:  # noqa: A002
    with pytest.raises(ValueError, match="id"):
        calls.keys.get(id)


def test_one_text_is_no_list_of_texts() -> None:
    for wrong in (
        lambda: calls.keys.create(project_id="p", name="n", permissions="orders:read"),
        lambda: calls.keys.create(project_id="p", name="n", tags="a"),
        lambda: calls.keys.update("k", permissions="orders:read"),
        lambda: calls.projects.create(name="n", enabled_apis="api_1"),
        lambda: calls.verify(KEY, tags="a"),
        lambda: calls.usage(group_by="code"),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="a list is expected"):
            wrong()


def test_lists_walk_all_pages() -> None:
    pages = [
        {"items": [{**KEY_VIEW, "id": "key_1"}, {**KEY_VIEW, "id": "key_2"}], "next_cursor": "c+/1"},
        {"items": [], "next_cursor": "c2"},
        {"items": [{**KEY_VIEW, "id": "key_3"}], "next_cursor": None},
    ]

    def check(recorder: Recorder) -> None:
        assert [request.url.params.get("cursor") for request in recorder.requests] == [None, "c+/1", "c2"]
        assert all(request.url.params["tag"] == "a&b" for request in recorder.requests)
        assert all(request.url.params["limit"] == "2" for request in recorder.requests)

    recorder = Recorder(*pages)
    client = Keybearer(URL, KEY, transport=httpx.MockTransport(recorder))
    assert [key.id for key in client.keys.list(tag="a&b", page_size=2)] == ["key_1", "key_2", "key_3"]
    check(recorder)

    async def walk(recorder: Recorder) -> list[str]:
        async with AsyncKeybearer(URL, KEY, transport=httpx.MockTransport(recorder)) as asynchronous:
            return [key.id async for key in asynchronous.keys.list(tag="a&b", page_size=2)]

    recorder = Recorder(*pages)
    assert asyncio.run(walk(recorder)) == ["key_1", "key_2", "key_3"]
    check(recorder)


LISTS: list[tuple[Callable[[Keybearer], Any], str, object]] = [
    (lambda c: c.apis.list(identifier="urn:x"), "/v1/apis?identifier=urn%3Ax", answers.API),
    (lambda c: c.projects.list(plan_id="p"), "/v1/projects?plan_id=p", answers.PROJECT),
    (lambda c: c.plans.list(state="deleted"), "/v1/plans?state=deleted", answers.PLAN),
    (lambda c: c.identities.list(external_id="7"), "/v1/identities?external_id=7", answers.IDENTITY),
    (
        lambda c: c.keys.list(kind="secret_key", environment="live"),
        "/v1/keys?kind=secret_key&environment=live",
        KEY_VIEW,
    ),
    (lambda c: c.audit.list(action="key.revoke"), "/v1/audit?action=key.revoke", answers.ENTRY),
]


@pytest.mark.parametrize(("ask", "target", "item"), LISTS, ids=[target for _, target, _ in LISTS])
def test_list_filters(ask: Callable[[Keybearer], Any], target: str, item: object) -> None:
    recorder = Recorder({"items": [item], "next_cursor": None})
    assert len(list(ask(Keybearer(URL, KEY, transport=httpx.MockTransport(recorder))))) == 1
    assert recorder.request.url.raw_path.decode() == target


def test_durations_round_up_and_instants_need_a_zone() -> None:
    assert seconds(timedelta(seconds=1, milliseconds=1)) == 2
    assert seconds(timedelta(hours=1)) == 3600
    with pytest.raises(ValueError, match="time zone"):
        calls.usage(start=datetime(2027, 1, 1))  # noqa: DTZ001
