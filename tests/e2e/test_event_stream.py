"""The event stream of a real node: dense, repaired after a gap, honest about its age, ended in time, bounded."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.shop import API, Shop
from tests.support.authority import Authority
from tests.support.event_stream import Notice, following


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    home: Path = tmp_path_factory.mktemp("events")
    environment = {"KEYBEARER_FAILURES_PER_MINUTE": "0", "KEYBEARER_MAX_EVENT_STREAMS": "3"}
    node = Authority(home / "data", home / "logs", environment=environment)
    node.init()
    node.start()
    yield Shop(node)
    node.stop()


def service_key(shop: Shop, *permissions: str) -> tuple[str, str]:
    own = shop.call("GET", "/v1/whoami")["project_id"]
    issued = shop.call(
        "POST", "/v1/keys", {"project_id": own, "name": "guard", "permissions": [f"keybearer:{p}" for p in permissions]}
    )
    return issued["key"]["id"], issued["credential"]


def until(notices: Iterator[Notice], kind: str) -> list[Notice]:
    found = []
    for notice in notices:
        found.append(notice)
        if notice.type == kind:
            return found
    raise AssertionError(f"the stream ended before {kind}: {found}")


def test_events_come_in_order_and_heartbeats_vouch_for_them(shop: Shop) -> None:
    with following(f"{shop.node.url}/v1/events", shop.node.root_key) as notices:
        first = next(notices)
        assert first.type == "reset"
        key_id, _ = shop.key("pages:read")
        shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
        asked = time.monotonic()
        seen = [one for one in until(notices, "key.revoke") if one.type != "heartbeat"]
        assert [one.id for one in seen] == list(range(first.data["head"] + 1, first.data["head"] + 1 + len(seen)))
        assert {one.data["subject"] for one in seen} == {key_id}
        assert seen[-1].at - asked < 1.0
        beats = [one for one in islice(notices, 6) if one.type == "heartbeat"]
        assert beats[-1].data["head"] == seen[-1].id
        assert all(0 <= beat.data["age"] < 900 for beat in beats)
        clocks = [beat.data["clock"] for beat in beats]
        assert clocks == sorted(clocks)
        assert clocks[-1] - clocks[0] < 2000


def test_who_was_away_gets_what_was_missed_and_nothing_twice(shop: Shop) -> None:
    with following(f"{shop.node.url}/v1/events", shop.node.root_key) as notices:
        head = next(notices).data["head"]
    ids = [shop.key("pages:read")[0] for _ in range(3)]
    for way in (
        {"url": f"?after={head}"},
        {"last_event_id": str(head)},
        {"url": "?after=0", "last_event_id": str(head)},
    ):
        query = way.pop("url", "")
        with following(f"{shop.node.url}/v1/events{query}", shop.node.root_key, **way) as notices:
            missed = [one for one in until(notices, "heartbeat") if one.type == "key.create"]
        assert [one.data["subject"] for one in missed] == ids
        assert missed[0].id is not None
        assert missed[0].id > head


def test_who_knows_more_than_there_is_starts_over(shop: Shop) -> None:
    with following(f"{shop.node.url}/v1/events?after=999999", shop.node.root_key) as notices:
        first, second = next(notices), next(notices)
    assert first.type == "reset"
    assert second.type == "heartbeat"
    assert second.data["head"] == first.data["head"] < 999999


def test_the_plain_page_is_still_there(shop: Shop) -> None:
    page = shop.call("GET", "/v1/events?after=0&limit=2")
    assert [item["seq"] for item in page["items"]] == [1, 2]


def test_only_followers_of_the_own_project_may_read_and_no_longer_than_their_key_lives(shop: Shop) -> None:
    _, other = service_key(shop, "verify")
    _, foreign = shop.key("pages:read")
    key_id, key = service_key(shop, "events.read")
    fields = {"accept": "text/event-stream"}
    for credential, status in ((other, 403), (foreign, 401), ("nothing", 401)):
        answer = shop.send("GET", "/v1/events", headers=fields | {"authorization": f"Bearer {credential}"})
        assert answer.status_code == status, answer.text
    with following(f"{shop.node.url}/v1/events", key) as notices:
        next(notices)
        shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
        assert [one.type for one in notices][-1] != "reset"  # it ends, and does not time out


@pytest.mark.parametrize("query", ["?after=x", "?after=-1", "?limit=3", "?after=1&after=2"])
def test_what_cannot_be_meant_is_refused(shop: Shop, query: str) -> None:
    assert shop.send("GET", f"/v1/events{query}", headers={"accept": "text/event-stream"}).status_code == 400


def test_there_are_only_so_many_streams(shop: Shop) -> None:
    url = f"{shop.node.url}/v1/events"
    with following(url, shop.node.root_key) as one, following(url, shop.node.root_key) as two:
        with following(url, shop.node.root_key) as three:
            for notices in (one, two, three):
                next(notices)
            answer = shop.send("GET", "/v1/events", headers={"accept": "text/event-stream"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        end = time.monotonic() + 5
        while shop.node.is_running and time.monotonic() < end:  # the place of who has gone is free again
            try:
                with following(url, shop.node.root_key) as again:
                    assert next(again).type == "reset"
                    return
            except AssertionError:
                time.sleep(0.1)
        raise AssertionError("the place did not become free")


def test_an_end_of_the_node_ends_the_streams_at_once(tmp_path: Path) -> None:
    node = Authority(tmp_path / "data", tmp_path / "logs")
    node.init()
    node.start()
    with following(f"{node.url}/v1/events", node.root_key) as notices:
        next(notices)
        began = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began < 3
        assert all(notice.type == "heartbeat" for notice in notices)


# What a guard may remember.


def ask(shop: Shop, credential: str, key: str | None = None, **more: Any) -> Any:
    body = {"credential": credential, "api": API, "remember": True, **more}
    headers = {"authorization": f"Bearer {key or shop.node.root_key}"}
    return shop.send("POST", "/v1/verify", body, headers=headers)


def test_a_yes_says_what_may_be_remembered_and_nothing_secret(shop: Shop) -> None:
    key_id, credential = shop.key(
        "pages:read", restrictions={"methods": ["GET"]}, limits=[{"name": "all", "limit": 60, "period_in": 60}]
    )
    answer = ask(shop, credential, method="GET").json()
    standing = answer["standing"]
    assert standing["seq"] == shop.call("GET", "/v1/events")["head"]
    assert set(standing["depends_on"]) == {key_id, shop.project["id"], shop.api["id"]}
    assert standing["restrictions"]["methods"] == ["GET"]
    assert [limit["name"] for limit in standing["limits"]] == ["all"]
    assert not standing.get("ask")
    assert credential not in json.dumps(answer)
    assert "digest" not in json.dumps(answer)
    # Without the wish, and with a no, there is none.
    assert "standing" not in shop.verify(credential, method="GET")
    assert "standing" not in ask(shop, credential, method="POST").json()


def test_what_is_counted_durably_or_imported_is_asked_about_each_time(shop: Shop) -> None:
    _, credited = shop.key("pages:read", credits={"balance": 5})
    assert ask(shop, credited).json()["standing"]["ask"] is True
    secret = "an-old-key-of-another-system"
    line = {
        "project_id": shop.project["id"],
        "name": "old",
        "permissions": ["pages:read"],
        "secret": {"scheme": "sha256", "value": hashlib.sha256(secret.encode()).hexdigest()},
    }
    with httpx.Client(trust_env=False, timeout=30) as client:
        headers = {"authorization": f"Bearer {shop.node.root_key}", "content-type": "application/x-ndjson"}
        url = f"{shop.node.url}/v1/keys/import"
        assert client.post(url, content=json.dumps(line), headers=headers).is_success
    answer = ask(shop, secret).json()
    assert answer["valid"]
    assert "standing" not in answer


def test_only_those_who_may_follow_may_remember(shop: Shop) -> None:
    _, credential = shop.key("pages:read")
    _, verifier = service_key(shop, "verify")
    _, follower = service_key(shop, "verify", "events.read")
    refused = ask(shop, credential, verifier)
    assert (refused.status_code, refused.json()["missing"]) == (403, ["keybearer:events.read"])
    assert ask(shop, credential, follower).json()["standing"]
