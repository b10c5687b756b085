"""Attempts to get more power, more budget or more time than was given, through the front door.

Spec: SECURITY-BAR 25; OWASP API1, API3, API5, API6; DESIGN §10 ("a key cannot create or widen keys unless it was given
that permission").
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from keybearer.core.lifecycle import UNDELETE_IN
from keybearer.services import identities, keys, plans, projects
from keybearer.wire.keys import CreateKey
from keybearer.wire.limits import RateLimitSpec
from keybearer.wire.records import CreateIdentity, CreatePlan
from tests.support.embedded import Embedded
from tests.support.requests import Scene

pytestmark = pytest.mark.anyio

POWERS = ("keybearer:admin", "*", "keybearer:*", "keybearer:keys.write", "keybearer:verify", "keybearer:delegate")
MONTH = 30 * 24 * 3600


async def issue(world: Embedded, project: str, *permissions: str, **settings: Any) -> tuple[str, str]:
    body = CreateKey(project, "k", permissions=list(permissions), **settings)
    issued = await keys.create(world.authority, world.root, body)
    return issued.key.id, issued.credential


async def attempt(world: Embedded, credential: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
    async with world.http(credential) as http:
        return await http.request(method, path, json=body, headers=headers)


async def test_who_may_write_keys_gets_no_power_out_of_it(world: Embedded) -> None:
    """By creating, importing, widening, rotating, re-enabling or undeleting; not even the power the caller has."""
    own = world.authority.own_project_id
    _, writer = await issue(world, own, "keybearer:keys.write", "keybearer:keys.import", "keybearer:keys.read")
    plain_id, _ = await issue(world, own)
    admin_id, _ = await issue(world, own, "keybearer:admin")
    gone_id, gone = await issue(world, own, "keybearer:admin")
    await attempt(world, world.root_key, "DELETE", f"/v1/keys/{gone_id}")
    off_id, off = await issue(world, own, "keybearer:admin")
    await attempt(world, world.root_key, "POST", f"/v1/keys/{off_id}/disable")
    head = await world.store.head()
    for power in POWERS:
        new = {"project_id": own, "name": "n", "permissions": [power]}
        assert (await attempt(world, writer, "POST", "/v1/keys", new)).status_code in (400, 403), power
        answer = await attempt(world, writer, "PATCH", f"/v1/keys/{plain_id}", {"permissions": [power]})
        assert answer.status_code in (400, 403), power
        line = {**new, "secret": {"scheme": "raw", "value": "legacy-key-1234"}}
        async with world.http(writer) as http:
            headers = {"content-type": "application/x-ndjson"}
            report = await http.post("/v1/keys/import", content=json.dumps(line), headers=headers)
        assert json.loads(report.content.splitlines()[-1])["imported"] == 0
    for path in (f"/v1/keys/{admin_id}/rotate", f"/v1/keys/{gone_id}/undelete", f"/v1/keys/{off_id}/enable"):
        answer = await attempt(world, writer, "POST", path)
        assert answer.status_code == 403, path
        assert answer.json()["missing"] == ["keybearer:admin"]
    for change in ({"name": "x"}, {"expires_at": None}, {"permissions": []}, {"limits": []}):
        assert (await attempt(world, writer, "PATCH", f"/v1/keys/{admin_id}", change)).status_code == 403
    assert await world.store.head() == head
    for credential in (gone, off):
        assert not (await world.verify(credential))["valid"]


async def test_who_may_delegate_hands_on_what_they_hold_and_no_more(world: Embedded) -> None:
    own = world.authority.own_project_id
    _, some = await issue(world, own, "keybearer:keys.write", "keybearer:delegate", "keybearer:verify")
    for power in ("keybearer:verify", "keybearer:keys.write", "keybearer:delegate"):
        new = {"project_id": own, "name": "n", "permissions": [power]}
        assert (await attempt(world, some, "POST", "/v1/keys", new)).status_code == 201
    for power in ("keybearer:admin", "*", "keybearer:*", "keybearer:keys.read", "keybearer:keys.*"):
        new = {"project_id": own, "name": "n", "permissions": [power]}
        assert (await attempt(world, some, "POST", "/v1/keys", new)).status_code in (400, 403), power


async def test_a_projects_key_stays_in_its_project_whatever_it_holds(world: Embedded) -> None:
    mine, theirs = await Scene.of(world, 1), await Scene.of(world, 2)
    await projects.enable_api(world.authority, world.root, mine.project, world.authority.own_api_id)
    _, admin = await issue(world, mine.project, "keybearer:admin")
    own = world.authority.own_project_id
    for project in (theirs.project, own):
        for body in ({"project_id": project, "name": "n"}, {"project_id": project, "name": "n", "permissions": ["*"]}):
            assert (await attempt(world, admin, "POST", "/v1/keys", body)).status_code == 404
        body = {"project_id": project, "external_id": "me"}
        assert (await attempt(world, admin, "POST", "/v1/identities", body)).status_code == 404
    new = {"project_id": mine.project, "name": "n"}
    for more in ({"identity_id": theirs.identity}, {"plan_id": theirs.plan}, {"restrictions": {"apis": [theirs.api]}}):
        assert (await attempt(world, admin, "POST", "/v1/keys", {**new, **more})).status_code == 400, more
        assert (await attempt(world, admin, "PATCH", f"/v1/keys/{mine.key}", more)).status_code == 400, more
    for path, body in (
        (f"/v1/projects/{mine.project}", {"plan_id": None}),
        (f"/v1/projects/{mine.project}", {"enabled_apis": [theirs.api]}),
        (f"/v1/plans/{mine.plan}", {"limits": []}),
        (f"/v1/apis/{mine.api}", {"allow_publishable_in_query": True}),
    ):
        assert (await attempt(world, admin, "PATCH", path, body)).status_code == 403, path
    issued = await attempt(world, admin, "POST", "/v1/keys", {**new, "permissions": ["keybearer:admin"]})
    assert issued.status_code == 201  # within its own project it is an administrator
    child = issued.json()["credential"]
    assert (await attempt(world, child, "GET", f"/v1/keys/{theirs.key}")).status_code == 404
    assert (await attempt(world, child, "GET", "/v1/events")).status_code == 403


@pytest.mark.parametrize(
    "restrictions",
    [
        {},
        {"methods": ["GET"]},
        {"paths": ["/x/*"]},
        {"ip_networks": ["0.0.0.0/0"]},
        {"ip_networks": ["::/0"]},
        {"ip_networks": ["0.0.0.0/1", "128.0.0.0/1"]},
        {"ip_networks": ["0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/1"]},
        {"ip_networks": ["::/1", "8000::/1"]},
        {"ip_networks": ["::ffff:0.0.0.0/96"]},
        {"origins": ["*"]},
        {"origins": ["https://*"]},
        {"origins": ["https://*.com"]},
        {"origins": ["null"]},
        {"referrers": ["*"]},
        {"referrers": ["https://*/x"]},
        {"ios_bundle_ids": ["*"]},
    ],
    ids=json.dumps,
)
async def test_a_publishable_key_is_always_tied_to_something(world: Embedded, restrictions: dict[str, Any]) -> None:
    scene = await Scene.of(world, 1)
    settings = {"project_id": scene.project, "name": "web", "kind": "publishable_key"}
    good = await attempt(
        world, world.root_key, "POST", "/v1/keys", {**settings, "restrictions": {"origins": ["https://a.example"]}}
    )
    assert good.status_code == 201
    head = await world.store.head()
    answer = await attempt(world, world.root_key, "POST", "/v1/keys", {**settings, "restrictions": restrictions})
    assert answer.status_code == 400
    path = f"/v1/keys/{good.json()['key']['id']}"
    answer = await attempt(world, world.root_key, "PATCH", path, {"restrictions": restrictions})
    assert answer.status_code == 400
    assert await world.store.head() == head


async def test_what_was_deleted_comes_back_within_thirty_days_only(world: Embedded) -> None:
    scene = await Scene.of(world, 1)
    key_id, credential = await issue(world, scene.project)
    revoked_id, revoked = await issue(world, scene.project)
    await attempt(world, world.root_key, "POST", f"/v1/keys/{revoked_id}/revoke", {})
    for one in (key_id, revoked_id):
        assert (await attempt(world, world.root_key, "DELETE", f"/v1/keys/{one}")).status_code == 200
    assert (await world.verify(credential))["code"] == "NOT_FOUND"
    world.clock.move(UNDELETE_IN / 1_000_000 - 1)
    for one in (key_id, revoked_id):
        assert (await attempt(world, world.root_key, "POST", f"/v1/keys/{one}/undelete")).status_code == 200
    assert (await world.verify(credential))["valid"]
    assert (await world.verify(revoked))["code"] == "REVOKED"  # what was revoked comes back revoked
    assert (await attempt(world, world.root_key, "DELETE", f"/v1/keys/{key_id}")).status_code == 200
    world.clock.move(UNDELETE_IN / 1_000_000)
    assert (await attempt(world, world.root_key, "POST", f"/v1/keys/{key_id}/undelete")).status_code == 409
    assert (await world.verify(credential))["code"] == "NOT_FOUND"


async def test_nobody_below_an_administrator_can_lock_administrators_out(world: Embedded) -> None:
    """By a plan whose limits would hold for the whole authority."""
    own, api = world.authority.own_project_id, world.authority.own_api_id
    tiny = await plans.create(world.authority, world.root, CreatePlan("Tiny", limits=[RateLimitSpec("r", 1, MONTH)]))
    _, writer = await issue(world, own, "keybearer:apis.write", "keybearer:projects.write", "keybearer:plans.write")
    for reference in (api, "urn:keybearer:api"):
        for change in (
            {"default_plan_id": tiny.id},
            {"accepts": ["publishable_key"]},
            {"permissions": []},
            {"allow_publishable_in_query": True},
            {"key_header": "x-other"},
        ):
            answer = await attempt(world, writer, "PATCH", f"/v1/apis/{reference}", change)
            assert answer.status_code in (403, 409), change
        assert (await attempt(world, writer, "DELETE", f"/v1/apis/{reference}")).status_code in (403, 409)
    for change in ({"plan_id": tiny.id}, {"enabled_apis": []}, {"brand": "x1"}):
        answer = await attempt(world, writer, "PATCH", f"/v1/projects/{own}", change)
        assert answer.status_code in (403, 409), change
    assert [(await world.verify(world.root_key))["valid"] for _ in range(3)] == [True] * 3
    answer = await attempt(world, world.root_key, "PATCH", f"/v1/projects/{own}", {"plan_id": tiny.id})
    assert answer.status_code == 200  # an administrator may


async def test_identities_and_plans_count_as_they_are_now(world: Embedded) -> None:
    """Not as they were when the key was made, cached or last used."""
    scene = await Scene.of(world, 1)
    body = CreateIdentity(scene.project, "customer", limits=[RateLimitSpec("all", 1, MONTH)])
    shared = await identities.create(world.authority, world.root, body)
    made = [await issue(world, scene.project, identity_id=shared.id) for _ in range(2)]
    assert [(await world.verify(credential))["valid"] for _, credential in made] == [True, False]
    path = f"/v1/identities/{shared.id}"
    assert (await attempt(world, world.root_key, "POST", f"{path}/disable")).status_code == 200
    assert (await world.verify(made[0][1]))["code"] == "OWNER_DISABLED"
    assert (await attempt(world, world.root_key, "DELETE", path)).status_code == 200
    assert (await world.verify(made[0][1]))["code"] == "OWNER_DISABLED"
    _, free = await issue(world, scene.project)
    used = {"limits": [{"name": "p", "limit": 1, "period_in": MONTH}]}
    assert (await attempt(world, world.root_key, "PATCH", f"/v1/plans/{scene.plan}", used)).status_code == 200
    assert [(await world.verify(free))["valid"] for _ in range(2)] == [True, False]
    assert (await attempt(world, world.root_key, "DELETE", f"/v1/plans/{scene.plan}")).status_code == 409


async def test_an_idempotency_key_gives_nothing_to_anybody_else(world: Embedded) -> None:
    """Nor to its own caller once the permission is gone, nor for another path, query or body."""
    own = world.authority.own_project_id
    one_id, one = await issue(world, own, "keybearer:keys.write")
    _, other = await issue(world, own, "keybearer:keys.write")
    body = {"project_id": own, "name": "n"}
    first = await attempt(world, one, "POST", "/v1/keys", body, **{"idempotency-key": "same"})
    assert first.status_code == 201
    theirs = await attempt(world, other, "POST", "/v1/keys", body, **{"idempotency-key": "same"})
    assert theirs.json()["credential"] != first.json()["credential"]
    again = await attempt(world, one, "POST", "/v1/keys", body, **{"idempotency-key": "same"})
    assert again.json() == first.json()
    for wrong in ({**body, "name": "m"}, {**body, "permissions": ["keybearer:admin"]}):
        answer = await attempt(world, one, "POST", "/v1/keys", wrong, **{"idempotency-key": "same"})
        assert answer.status_code == 422
        assert "credential" not in answer.json()
    assert (await attempt(world, world.root_key, "PATCH", f"/v1/keys/{one_id}", {"permissions": []})).status_code == 200
    late = await attempt(world, one, "POST", "/v1/keys", body, **{"idempotency-key": "same"})
    assert late.status_code == 403
    assert first.json()["credential"] not in late.text


@pytest.mark.anyio
async def test_who_may_register_clients_hands_on_no_power_of_their_own(world: Embedded) -> None:
    """A client that acts for itself has the scopes that it was given: a key would make an administrator of it."""
    own = world.authority.own_project_id
    _, plain = await issue(world, own, "keybearer:clients.write", "keybearer:keys.read")
    _, handing = await issue(world, own, "keybearer:clients.write", "keybearer:keys.read", "keybearer:delegate")
    new = {"project_id": own, "name": "c", "grant_types": ["client_credentials"]}
    async with world.http(plain) as http, world.http(handing) as other, world.http() as root:
        for scope in ("keybearer:admin", "keybearer:keys.read", "keybearer:keys.write"):
            assert (await http.post("/v1/clients", json={**new, "scopes": [scope]})).status_code == 403, scope
        made = (await http.post("/v1/clients", json=new)).json()["client"]["id"]
        assert (await http.patch(f"/v1/clients/{made}", json={"scopes": ["keybearer:admin"]})).status_code == 403
        assert (await other.post("/v1/clients", json={**new, "scopes": ["keybearer:keys.read"]})).status_code == 201
        assert (await other.post("/v1/clients", json={**new, "scopes": ["keybearer:keys.write"]})).status_code == 403
        # A client with power is not taken over, by a new secret or by keys of one's own, nor brought back.
        strong = (await root.post("/v1/clients", json={**new, "scopes": ["keybearer:admin"]})).json()["client"]["id"]
        keys_of_mine = {"keys": [{"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}]}
        for change in (
            {"token_endpoint_auth_method": "private_key_jwt", "jwks": keys_of_mine},
            {"jwks_uri": "https://mine.example/keys"},
            {"redirect_uris": ["https://mine.example/"], "grant_types": ["authorization_code"]},
            {"scopes": []},
            {"name": "x"},
        ):
            answer = await http.patch(f"/v1/clients/{strong}", json=change)
            assert (answer.status_code, answer.json()["missing"]) == (403, ["keybearer:admin"]), change
        assert (await http.post(f"/v1/clients/{strong}/rotate", json={})).status_code == 403
        assert (await root.post(f"/v1/clients/{strong}/disable")).status_code == 200
        assert (await http.post(f"/v1/clients/{strong}/enable")).status_code == 403


async def test_who_may_write_routes_gets_no_upstream_secret_out_of_it(world: Embedded) -> None:
    """A secret that is injected can be read by whoever runs the upstream: that takes the power over secrets, too."""
    own = world.authority.own_project_id
    _, writer = await issue(world, own, "keybearer:routes.write", "keybearer:routes.read")
    _, both = await issue(world, own, "keybearer:routes.write", "keybearer:secrets.write")
    route = {"name": "r", "upstream": "https://evil.example", "public": True}
    inject = {"inject": [{"secret": "s", "place": "bearer"}]}
    assert (await attempt(world, writer, "POST", "/v1/routes", route | inject)).status_code == 403
    made = await attempt(world, both, "POST", "/v1/routes", {**route, "upstream": "https://good.example"} | inject)
    assert made.status_code == 201
    path = f"/v1/routes/{made.json()['id']}"
    for change in ({"upstream": "https://evil.example"}, {"inject": []}, {"path": "/x"}):
        assert (await attempt(world, writer, "PATCH", path, change)).status_code == 403, change
    plain = await attempt(world, writer, "POST", "/v1/routes", {**route, "name": "p", "path": "/p"})
    assert plain.status_code == 201
    assert (await attempt(world, writer, "PATCH", f"/v1/routes/{plain.json()['id']}", inject)).status_code == 403


@pytest.mark.parametrize(
    "inject",
    [
        [{"secret": "s", "place": "bearer"}, {"secret": "t", "place": "header", "name": "Authorization"}],
        [{"secret": "s", "place": "header", "name": "X-Key"}, {"secret": "t", "place": "header", "name": "x-key"}],
    ],
    ids=["authorization", "case"],
)
async def test_two_secrets_never_stand_in_one_place(world: Embedded, inject: list[dict[str, str]]) -> None:
    route = {"name": "r", "upstream": "https://u.example", "public": True, "inject": inject}
    assert (await attempt(world, world.root_key, "POST", "/v1/routes", route)).status_code == 400
