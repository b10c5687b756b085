"""The machine's clock is put forward and back by an hour and by a day: nothing that has expired is accepted again,
nothing that was paid is charged twice, no limit is renewed, nothing crashes.

Spec: SECURITY-BAR, reliability figures ("clock jumps of an hour and a day, both ways").
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from keybearer.clock import SystemClock
from keybearer.core.quota import CalendarUnit
from keybearer.services import keys, rotation
from keybearer.wire.keys import CreateKey, RevokeKey, RotateKey
from keybearer.wire.limits import CreditsSpec, QuotaSpec, RateLimitSpec, RefillSpec
from tests.support.embedded import START, Embedded, embedded
from tests.support.requests import Scene

pytestmark = pytest.mark.anyio

HOUR, DAY = 3600, 24 * 3600
JUMPS = ((HOUR, -HOUR), (-HOUR, HOUR), (DAY, -DAY), (-DAY, DAY), (-DAY, -DAY), (DAY, DAY))


@dataclass
class Machine:
    """A machine whose wall clock somebody sets, while the monotonic one goes on."""

    wall: int = START * 1000
    monotonic: int = 1

    def wall_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        self.monotonic += 1
        return self.monotonic

    def run(self, seconds: float) -> None:
        self.wall += int(seconds * 1e9)
        self.monotonic += int(seconds * 1e9)

    def jump(self, seconds: int) -> None:
        self.wall += seconds * 1_000_000_000


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
async def world(machine: Machine, anyio_backend: str) -> AsyncIterator[Embedded]:
    async with embedded(clock=SystemClock(machine.wall_ns, machine.monotonic_ns)) as running:
        yield running


async def made(world: Embedded, scene: Scene, **settings: object) -> tuple[str, str]:
    issued = await keys.create(world.authority, world.root, CreateKey(scene.project, "k", **settings))  # type: ignore[arg-type]
    return issued.key.id, issued.credential


@pytest.mark.parametrize("jumps", JUMPS, ids=str)
async def test_what_has_expired_stays_expired(world: Embedded, machine: Machine, jumps: tuple[int, ...]) -> None:
    scene = await Scene.of(world, 1)
    _, short = await made(world, scene, expires_in=60)
    rotated_id, old = await made(world, scene)
    await rotation.rotate(world.authority, world.root, rotated_id, RotateKey(grace_in=60))
    revoked_id, revoked = await made(world, scene)
    await keys.revoke(world.authority, world.root, revoked_id, RevokeKey())
    assert (await world.verify(short))["valid"]
    assert (await world.verify(old))["valid"]
    machine.run(61)
    for step in (0, *jumps):
        machine.jump(step)
        assert (await world.verify(short))["code"] == "EXPIRED"
        assert (await world.verify(old))["code"] == "EXPIRED"
        assert (await world.verify(revoked))["code"] == "REVOKED"
        assert (await world.verify(world.root_key))["valid"]
        machine.run(1)


@pytest.mark.parametrize("jumps", JUMPS, ids=str)
async def test_a_clock_put_back_gives_nobody_more_time(
    world: Embedded, machine: Machine, jumps: tuple[int, ...]
) -> None:
    scene = await Scene.of(world, 1)
    _, short = await made(world, scene, expires_in=60)
    for step in jumps:
        machine.jump(step)
    machine.run(61)
    assert (await world.verify(short))["code"] == "EXPIRED"


@pytest.mark.parametrize("jumps", JUMPS, ids=str)
async def test_budgets_are_not_renewed_by_going_back(world: Embedded, machine: Machine, jumps: tuple[int, ...]) -> None:
    scene = await Scene.of(world, 1)
    _, limited = await made(world, scene, limits=[RateLimitSpec("r", 3, 30 * DAY)])
    quota = QuotaSpec("q", 3, CalendarUnit.YEAR)
    _, quotaed = await made(world, scene, quotas=[quota])
    prepaid_id, prepaid = await made(world, scene, credits=CreditsSpec(3, RefillSpec(3, CalendarUnit.YEAR)))
    for credential in (limited, quotaed, prepaid):
        assert [(await world.verify(credential))["valid"] for _ in range(4)] == [True] * 3 + [False]
    for step in jumps:
        machine.jump(step)
        for credential in (limited, quotaed, prepaid):
            assert not (await world.verify(credential))["valid"]
        await world.recorder.flush()
    view = await keys.get(world.authority, world.root, prepaid_id)
    assert view.credits is not None
    assert (view.credits.spent, view.credits.balance) == (3, 0)


@pytest.mark.parametrize("jumps", JUMPS, ids=str)
async def test_a_request_is_charged_once_over_jumps(world: Embedded, machine: Machine, jumps: tuple[int, ...]) -> None:
    scene = await Scene.of(world, 1)
    key_id, prepaid = await made(world, scene, credits=CreditsSpec(10))
    assert (await world.verify(prepaid, request_id="once"))["valid"]
    for step in jumps:
        machine.jump(step)
        assert (await world.verify(prepaid, request_id="once"))["replayed"]
    view = await keys.get(world.authority, world.root, key_id)
    assert view.credits is not None
    assert view.credits.spent == 1


@pytest.mark.parametrize("jumps", JUMPS, ids=str)
async def test_the_api_and_the_logs_go_on(world: Embedded, machine: Machine, jumps: tuple[int, ...]) -> None:
    scene = await Scene.of(world, 1)
    async with world.http() as http:
        for number, step in enumerate(jumps):
            machine.jump(step)
            answer = await http.post("/v1/keys", json={"project_id": scene.project, "name": f"k{number}"})
            assert answer.status_code == 201
            for path in ("/v1/keys", "/v1/audit", "/v1/usage", "/v1/audit/verification", "/readyz"):
                assert (await http.get(path)).status_code == 200
    times = [entry.draft.at for entry in await world.audit()]
    assert times == sorted(times)
    await world.recorder.flush(final=True)
