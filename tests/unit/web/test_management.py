"""The management API at its edge: bodies, headers, problems, idempotency, health."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from keybearer.core.errors import Unavailable
from keybearer.core.records import Api, Plan
from keybearer.ports import Query
from keybearer.services import keys
from keybearer.wire.keys import CreateKey, RestrictionsSpec
from tests.support.embedded import Embedded

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json"}


async def post(world: Embedded, body: bytes, path: str = "/v1/plans", **headers: str) -> Any:
    async with world.http() as http:
        return await http.post(path, content=body, headers=JSON | headers)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'{"name":"a"}x', "body"),
        (b'{"name":"\xff"}', "body"),
        (b'\xef\xbb\xbf{"name":"a"}', "body"),
        (b'{"name":NaN}', "body"),
        (b"{}", "name"),
        (b'{"name":1}', "name"),
        (b'{"name":""}', "name"),
        (b'{"name":"a","surprise":1}', "surprise"),
        (b'{"name":"a","name":"b"}', "name"),
        (b'{"name":"a","limits":[{"name":"r","limit":1,"period_in":1,"limit":2}]}', "limit"),
        (b'{"name":"a","limits":[{"name":"r","limit":0,"period_in":1}]}', "limits[0].limit"),
        (b'{"name":"a","limits":[{"name":"R!","limit":1,"period_in":1}]}', "limits[0].name"),
        (b'{"name":"a","limits":[{"name":"r","limit":1,"period_in":1,"x":1}]}', "limits[0].x"),
        (b'{"name":"a\\u0000"}', "name"),
        (b'{"name":"a\\u001b[31m"}', "name"),
        (b'{"name":"a","metadata":{"k":"\\u0000"}}', "metadata.k"),
        (b'{"name":"a","metadata":{"k":"' + b"x" * 17_000 + b'"}}', "metadata"),
        (b'{"name":"a","metadata":{"k":' + b"[" * 10 + b"]" * 10 + b"}}", "metadata"),
        (b'{"name":"a","metadata":{"k":' + b"[" * 30_000 + b"]" * 30_000 + b"}}", "body"),
        (b'{"name":"a","metadata":{"k":' + b"9" * 5000 + b"}}", "body"),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else value,
)
async def test_bad_bodies_name_the_field_and_write_nothing(world: Embedded, body: bytes, field: str) -> None:
    answer = await post(world, body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == field
    assert await world.store.page(Plan, Query()) == ()


async def test_media_types_and_sizes(world: Embedded) -> None:
    wrong = await post(world, b'{"name":"a"}', **{"content-type": "application/x-www-form-urlencoded"})
    assert wrong.status_code == 415
    large = await post(world, b'{"name":"' + b"a" * 70_000 + b'"}')
    assert large.status_code == 413

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    async with world.http() as http:
        chunked = await http.post("/v1/plans", content=chunks(), headers=JSON)
    assert chunked.status_code == 413


async def test_every_answer_is_marked(world: Embedded) -> None:
    async with world.http() as http:
        answers = [
            await http.get(path) for path in ("/v1/plans", "/nowhere", "/healthz", "/openapi.json", "/v1/whoami")
        ]
        answers.append(await http.delete("/v1/plans"))
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"]
    assert answers[1].json()["status"] == 404
    assert answers[-1].status_code == 405
    assert {"GET", "POST"} <= set(answers[-1].headers["allow"].split(", "))


async def test_a_clients_request_id_is_not_believed(world: Embedded) -> None:
    async with world.http() as http:
        answer = await http.get("/v1/plans", headers={"x-request-id": "a\tb"})
    assert answer.headers["x-request-id"] != "a\tb"


async def test_one_credential_a_request(world: Embedded) -> None:
    async with world.http("") as http:
        assert (await http.get("/v1/plans", headers={"x-api-key": world.root_key})).status_code == 200
        both = {"x-api-key": world.root_key, "authorization": f"Bearer {world.root_key}"}
        assert (await http.get("/v1/plans", headers=both)).status_code == 401
        twice = [("authorization", f"Bearer {world.root_key}")] * 2
        assert (await http.get("/v1/plans", headers=twice)).status_code == 401
        in_query = await http.get("/v1/plans", params={"api_key": world.root_key})
        assert in_query.status_code in (400, 401)
        assert world.root_key not in in_query.text
        bare = await http.get("/v1/plans")
        assert bare.headers["www-authenticate"] == "Bearer"


async def test_unknown_and_repeated_query_parameters(world: Embedded) -> None:
    async with world.http() as http:
        for query in ("surprise=1", "limit=1&limit=2", "name=%ff", "name=a%00b"):
            answer = await http.get(f"/v1/plans?{query}")
            assert answer.status_code == 400, query


async def test_an_unexpected_fault_tells_nothing(world: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(world.store, "page", fail)
    async with world.http() as http:
        answer = await http.get("/v1/plans")
    assert answer.status_code == 500
    assert "swordfish" not in answer.text
    assert answer.json()["instance"] == answer.headers["x-request-id"]


async def test_a_lost_database_is_503_and_denies(world: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("gone", detail="connection refused at 10.1.2.3")

    for name in ("transact", "head", "events"):
        monkeypatch.setattr(world.store, name, fail)
    async with world.http() as http:
        answer = await http.post("/v1/plans", json={"name": "a"})
        ready = await http.get("/readyz")
        alive = await http.get("/healthz")
    assert (answer.status_code, ready.status_code, alive.status_code) == (503, 503, 200)
    assert answer.headers["retry-after"]
    assert "10.1.2.3" not in answer.text


# Idempotency


async def test_the_same_request_again_is_done_once(world: Embedded) -> None:
    body = {"project_id": world.authority.own_project_id, "name": "k"}
    async with world.http() as http:
        first = await http.post("/v1/keys", json=body, headers={"idempotency-key": "one"})
        again = await http.post("/v1/keys", json=body, headers={"idempotency-key": "one"})
        other = await http.post("/v1/keys", json={**body, "name": "x"}, headers={"idempotency-key": "one"})
        elsewhere = await http.post("/v1/plans", json={"name": "x"}, headers={"idempotency-key": "one"})
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == elsewhere.status_code == 422


async def test_what_is_remembered_is_sealed_and_bound_to_its_caller(world: Embedded) -> None:
    body = {"project_id": world.authority.own_project_id, "name": "k", "permissions": ["keybearer:admin"]}
    async with world.http() as http:
        issued = (await http.post("/v1/keys", json=body, headers={"idempotency-key": "one"})).json()
    root = issued["key"]["created_by"]
    remembered = await world.store.recall(root, "one")
    assert remembered is not None
    assert issued["credential"].encode() not in remembered.sealed
    async with world.http(issued["credential"]) as http:
        mine = await http.post("/v1/keys", json=body, headers={"idempotency-key": "one"})
    assert mine.status_code == 201
    assert mine.json()["credential"] != issued["credential"]


async def test_a_refused_request_is_not_remembered(world: Embedded) -> None:
    async with world.http() as http:
        for _ in range(2):
            answer = await http.post("/v1/plans", json={"name": ""}, headers={"idempotency-key": "one"})
            assert answer.status_code == 400
        answer = await http.post("/v1/plans", json={"name": "a"}, headers={"idempotency-key": "one"})
        assert answer.status_code == 201


@pytest.mark.parametrize("key", ["", "a" * 129, "a\tb"])
async def test_senseless_idempotency_keys(world: Embedded, key: str) -> None:
    async with world.http() as http:
        answer = await http.post("/v1/plans", json={"name": "a"}, headers={"idempotency-key": key})
    assert answer.status_code == 400


# Paths


async def test_an_api_is_found_by_its_identifier(world: Embedded) -> None:
    identifier = "https://orders.example.com/v1/enable"
    async with world.http() as http:
        made = (await http.post("/v1/apis", json={"identifier": identifier, "name": "O"})).json()
        quoted = "https%3A%2F%2Forders.example.com%2Fv1%2Fenable"
        project = (await http.post("/v1/projects", json={"name": "p"})).json()
        enabled = await http.put(f"/v1/projects/{project['id']}/apis/{quoted}")
        assert enabled.json()["enabled_apis"] == [made["id"]]
        disabled = await http.delete(f"/v1/projects/{project['id']}/apis/{made['id']}")
        assert disabled.json()["enabled_apis"] == []
    assert (await world.store.get(Api, made["id"])).identifier == identifier


@pytest.mark.parametrize("path", ["%00", "%ff", "..", "a" * 5000, "' OR 1=1 --", "%E2%80%AE", "key_0"])
async def test_ids_of_nothing(world: Embedded, path: str) -> None:
    async with world.http() as http:
        answer = await http.get(f"/v1/keys/{path}")
    assert answer.status_code in (400, 404), answer.text


# The holder


async def test_whoami_shows_limits_and_holds_to_where_the_key_may_be_used(world: Embedded) -> None:
    body = CreateKey(
        world.authority.own_project_id, "k", restrictions=RestrictionsSpec(ip_networks=["192.0.2.0/24"], paths=["/x"])
    )
    issued = await keys.create(world.authority, world.root, body)
    async with world.http(issued.credential) as http:
        answer = await http.get("/v1/whoami")
    assert answer.status_code == 200, answer.text
    assert answer.json()["limits"] == []
    async with world.http(issued.credential, client=("198.51.100.1", 1)) as http:
        assert (await http.get("/v1/whoami")).status_code == 401


# Import


async def test_an_import_streams_its_report(world: Embedded) -> None:
    line = {"project_id": world.authority.own_project_id, "name": "o", "secret": {"scheme": "raw", "value": "legacy-1"}}
    content = json.dumps(line).encode() + b"\n\n" + b'{"name": 1}'
    headers = {"content-type": "application/x-ndjson"}
    async with world.http() as http:
        answer = await http.post("/v1/keys/import", content=content, headers=headers)
        unknown = await http.post("/v1/keys/import?dry=1", content=content, headers=headers)
        wrong = await http.post("/v1/keys/import", json=line)
    reports = [msgspec.json.decode(part) for part in answer.content.splitlines()]
    assert reports[-1]["type"] == "report"
    assert (reports[-1]["lines"], reports[-1]["imported"], reports[-1]["refused_count"]) == (2, 0, 1)
    assert reports[-1]["refused"][0]["line"] == 3
    assert (unknown.status_code, wrong.status_code) == (400, 415)
