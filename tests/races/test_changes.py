"""The same change asked for by many at once: rotations, repeated creations, changes that contradict each other."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.races.conftest import Pair


def all_at_once(pair: Pair, count: int, method: str, path: str, body: Any, **more: Any) -> list[httpx.Response]:
    """The same management call from many threads, spread over both processes."""

    def one(number: int) -> httpx.Response:
        found: httpx.Response = pair.shop.send(method, path, body, at=pair.nodes[number % len(pair.nodes)], **more)
        return found

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_rotations_at_once_leave_one_line_of_secrets(pair: Pair) -> None:
    key_id, first = pair.shop.key("pages:read")
    answers = all_at_once(pair, 4, "POST", f"/v1/keys/{key_id}/rotate", {"grace_in": 600})
    assert {answer.status_code for answer in answers} <= {200, 201, 409}
    issued = [answer.json()["credential"] for answer in answers if answer.is_success]
    assert issued
    assert len(set(issued)) == len(issued)
    versions = pair.shop.call("GET", f"/v1/keys/{key_id}")["versions"]
    assert len({version["number"] for version in versions}) == len(versions)
    assert Counter(version["state"] for version in versions)["active"] == 1
    # Whoever was given a secret can use it: all of them lie within the overlap.
    answered = [pair.shop.verify(credential) for credential in (first, *issued)]
    assert [answer["code"] for answer in answered] == ["VALID"] * len(answered)
    assert len({answer["credential"]["version"] for answer in answered}) == len(answered)


def test_a_repeated_creation_makes_one_key(pair: Pair) -> None:
    body = {"project_id": pair.shop.project["id"], "name": "made once"}
    answers = all_at_once(pair, 12, "POST", "/v1/keys", body, headers={"idempotency-key": "create-1"})
    assert {answer.status_code for answer in answers} <= {201, 409}
    made = [answer.json() for answer in answers if answer.status_code == 201]
    assert made
    assert len({answer["credential"] for answer in made}) == 1
    later = pair.shop.call("POST", "/v1/keys", body, headers={"idempotency-key": "create-1"})
    assert later == made[0]
    names = [key["name"] for key in pair.shop.call("GET", "/v1/keys", params={"limit": 200})["items"]]
    assert names.count("made once") == 1
    other = pair.shop.send("POST", "/v1/keys", body | {"name": "other"}, headers={"idempotency-key": "create-1"})
    assert other.status_code == 422


def test_one_identifier_is_registered_once(pair: Pair) -> None:
    body = {"identifier": "https://once.example", "name": "Once"}
    answers = all_at_once(pair, 12, "POST", "/v1/apis", body)
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 11}


def test_revoke_wins_over_whatever_comes_at_the_same_moment(pair: Pair) -> None:
    for _ in range(3):
        key_id, credential = pair.shop.key("pages:read")
        path = f"/v1/keys/{key_id}"
        calls = [("enable", None), ("disable", None), ("rotate", {"grace_in": 600}), ("revoke", {}), ("enable", None)]
        with ThreadPoolExecutor(len(calls)) as pool:
            asked = [pool.submit(pair.shop.send, "POST", f"{path}/{verb}", body) for verb, body in calls]
            answers = [answer.result() for answer in asked]
        assert answers[3].status_code == 200
        assert {answer.status_code for answer in answers} <= {200, 201, 409}
        assert pair.shop.call("GET", path)["state"] == "revoked"
        secrets = [credential, *(a.json()["credential"] for a in answers if a.is_success and "credential" in a.json())]
        for secret in secrets:
            codes = pair.ask(secret, 10)
            if len(pair.nodes) == 1:
                assert codes == ["REVOKED"] * 10


def test_the_audit_log_is_whole_after_many_writers(pair: Pair) -> None:
    answers = all_at_once(pair, 16, "POST", "/v1/projects", {"name": "one of many"})
    assert {answer.status_code for answer in answers} == {201}
    found = pair.shop.call("GET", "/v1/audit/verification")
    assert found["intact"], found
    events = pair.shop.call("GET", "/v1/events")
    assert [item["seq"] for item in events["items"]] == list(range(1, events["head"] + 1))
