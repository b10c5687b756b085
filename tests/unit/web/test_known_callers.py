"""Remembered service keys: whatever changes about one counts at the next request, and every use is counted."""

from __future__ import annotations

from typing import Any

import pytest

from keybearer.core.lifecycle import Change
from keybearer.services import keys, projects, rotation, usage
from keybearer.services.bootstrap import OWN_PROJECT_ID
from keybearer.wire.keys import CreateKey, RestrictionsSpec, RevokeKey, RotateKey, UpdateKey
from keybearer.wire.limits import RateLimitSpec
from keybearer.wire.records import CreateProject
from tests.support.embedded import Embedded

pytestmark = pytest.mark.anyio


async def service_key(world: Embedded, **settings: Any) -> tuple[str, str]:
    wanted = CreateKey(project_id=OWN_PROJECT_ID, name="guard", permissions=["keybearer:verify"], **settings)
    issued = await keys.create(world.authority, world.root, wanted)
    return issued.key.id, issued.credential


async def status_of(world: Embedded, key: str, **headers: str) -> int:
    async with world.http(key) as http:
        answer = await http.post("/v1/verify", json={"credential": world.root_key}, headers=headers)
    return answer.status_code


async def test_a_known_caller_ends_at_the_next_request(world: Embedded) -> None:
    key_id, key = await service_key(world)
    assert [await status_of(world, key) for _ in range(3)] == [200] * 3
    await keys.set_state(world.authority, world.root, key_id, Change.DISABLE)
    assert await status_of(world, key) == 401
    await keys.set_state(world.authority, world.root, key_id, Change.ENABLE)
    assert await status_of(world, key) == 200
    await keys.update(world.authority, world.root, key_id, UpdateKey(permissions=["keybearer:keys.read"]))
    assert await status_of(world, key) == 403
    await keys.update(world.authority, world.root, key_id, UpdateKey(permissions=["keybearer:verify"]))
    assert await status_of(world, key) == 200
    await keys.revoke(world.authority, world.root, key_id, RevokeKey())
    assert await status_of(world, key) == 401


async def test_an_old_secret_ends_with_its_grace(world: Embedded) -> None:
    key_id, key = await service_key(world)
    assert await status_of(world, key) == 200
    await rotation.rotate(world.authority, world.root, key_id, RotateKey(grace_in=60))
    assert await status_of(world, key) == 200
    world.clock.move(61)
    assert await status_of(world, key) == 401


@pytest.mark.parametrize(
    ("settings", "after"),
    [
        ({"limits": [RateLimitSpec("r", 2, 3600)]}, 429),
        ({"expires_in": 60}, 401),
        ({"restrictions": RestrictionsSpec(ip_networks=["192.0.2.0/24"])}, 200),
    ],
)
async def test_what_time_or_use_can_end_is_checked_each_time(
    world: Embedded, settings: dict[str, Any], after: int
) -> None:
    _, key = await service_key(world, **settings)
    assert [await status_of(world, key) for _ in range(2)] == [200] * 2
    world.clock.move(61)
    assert await status_of(world, key) == after


async def test_a_second_credential_is_refused_however_well_the_first_is_known(world: Embedded) -> None:
    _, key = await service_key(world)
    assert await status_of(world, key) == 200
    assert await status_of(world, key, **{"x-api-key": "another"}) == 401


async def test_every_use_of_a_known_caller_is_counted(world: Embedded) -> None:
    key_id, key = await service_key(world)
    for _ in range(5):
        assert await status_of(world, key) == 200
    await world.recorder.flush()
    world.clock.move(60)  # a report ends before the running minute
    report = await usage.report(world.authority, world.root, group_by=("hour",), filters={"key_id": key_id})
    assert report.total == 5


async def test_keys_of_other_projects_do_not_verify(world: Embedded) -> None:
    project = await projects.create(world.authority, world.root, CreateProject(name="P"))
    issued = await keys.create(world.authority, world.root, CreateKey(project_id=project.id, name="K"))
    assert [await status_of(world, issued.credential) for _ in range(2)] == [401, 401]
