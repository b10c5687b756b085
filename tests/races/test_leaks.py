"""The same leak reported by many scanners at once, to two processes: one incident, one revocation, one message."""

from collections import Counter
from typing import Any

from tests.races.conftest import Pair
from tests.races.test_changes import all_at_once


def test_many_scanners_open_one_incident(pair: Pair) -> None:
    project = pair.shop.project["id"]
    hook = pair.shop.call("POST", "/v1/webhooks", {"project_id": project, "name": "p", "url": "https://pager.invalid/"})
    leaked = [pair.shop.key("pages:read") for _ in range(3)]

    def finding(credential: str, line: int) -> dict[str, Any]:
        return {"credential": credential, "source": {"kind": "log", "name": "access.log", "line": line}}

    body = {"findings": [finding(credential, 1) for _, credential in leaked], "act": True}
    answers = all_at_once(pair, 8, "POST", "/v1/leaks/check", body)
    assert {answer.status_code for answer in answers} == {200}
    found = [[one["incident_id"] for one in answer.json()["findings"]] for answer in answers]
    assert all(ids == found[0] for ids in found)
    incidents = pair.shop.call("GET", "/v1/incidents")["items"]
    assert Counter(one["key_id"] for one in incidents) == Counter(key_id for key_id, _ in leaked)
    assert {(one["sighted"], one["action"]) for one in incidents} == {(1, "revoked")}
    for key_id, _ in leaked:
        entries = pair.shop.call("GET", "/v1/audit", params={"target": key_id})["items"]
        assert Counter(entry["action"] for entry in entries)["key.revoke"] == 1
    messages = pair.shop.call("GET", f"/v1/webhooks/{hook['webhook']['id']}/deliveries")["items"]
    assert Counter(one["event"] for one in messages) == {"incident.opened": 3}
