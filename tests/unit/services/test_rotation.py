"""Rotation: overlap, early ends, and budgets that are never doubled."""

import pytest

from keybearer.core.errors import Conflict
from keybearer.core.records import ApiKey
from keybearer.ports import KeyUse, UsageBatch
from keybearer.services import keys, rotation, sweeper
from keybearer.services.usage_recorder import Outdated
from keybearer.wire.keys import CreateKey, IssuedKey, RevokeKey, RotateKey
from keybearer.wire.limits import CreditsSpec, RateLimitSpec
from tests.support.embedded import Embedded

pytestmark = pytest.mark.anyio


async def issue(world: Embedded, **settings: object) -> IssuedKey:
    body = CreateKey(project_id=world.authority.own_project_id, name="k", **settings)  # type: ignore[arg-type]
    return await keys.create(world.authority, world.root, body)


async def rotate(world: Embedded, key_id: str, **asked: object) -> IssuedKey:
    return await rotation.rotate(world.authority, world.root, key_id, RotateKey(**asked))  # type: ignore[arg-type]


async def code(world: Embedded, text: str) -> str:
    return str((await world.verify(text))["code"])


async def test_the_old_secret_works_on_for_the_grace_only(world: Embedded) -> None:
    first = await issue(world)
    second = await rotate(world, first.key.id, grace_in=60)
    assert second.key.id == first.key.id
    assert [await code(world, text) for text in (first.credential, second.credential)] == ["VALID", "VALID"]
    world.clock.move(60)
    assert [await code(world, text) for text in (first.credential, second.credential)] == ["EXPIRED", "VALID"]


async def test_no_grace_ends_the_old_secret_at_once(world: Embedded) -> None:
    first = await issue(world)
    await rotate(world, first.key.id, grace_in=0)
    assert await code(world, first.credential) == "EXPIRED"


async def test_the_grace_never_outlives_the_keys_own_expiry(world: Embedded) -> None:
    first = await issue(world, expires_in=100)
    second = await rotate(world, first.key.id, grace_in=10_000, expires_at=None)
    world.clock.move(100)
    assert [await code(world, text) for text in (first.credential, second.credential)] == ["EXPIRED", "VALID"]


async def test_limits_and_credits_are_shared_by_all_secrets(world: Embedded) -> None:
    """Unkey: rotation copied the remaining credits, so the budget doubled."""
    first = await issue(world, limits=[RateLimitSpec("r", 3, 3600)], credits=CreditsSpec(100))
    assert await code(world, first.credential) == "VALID"
    second = await rotate(world, first.key.id)
    assert await code(world, second.credential) == "VALID"
    assert await code(world, first.credential) == "VALID"
    assert await code(world, second.credential) == "RATE_LIMITED"
    balances = await world.store.balances([f"key:{first.key.id}"])
    assert (balances[0].balance, balances[0].spent) == (97, 3)


async def test_five_secrets_work_at_most(world: Embedded) -> None:
    first = await issue(world)
    for _ in range(4):
        await rotate(world, first.key.id)
    with pytest.raises(Conflict, match="grace_in"):
        await rotate(world, first.key.id)
    last = await rotate(world, first.key.id, grace_in=0)
    assert sum(version.state in ("active", "retiring") for version in last.key.versions) == 1


async def test_the_record_stays_small_however_often_it_is_rotated(world: Embedded) -> None:
    first = await issue(world)
    for _ in range(30):
        last = await rotate(world, first.key.id, grace_in=0)
    assert len(last.key.versions) == rotation.MAX_KEPT
    assert last.key.versions[-1].number == 31
    assert await code(world, last.credential) == "VALID"


async def test_one_secret_can_be_revoked_but_not_the_last(world: Embedded) -> None:
    first = await issue(world)
    key_id = first.key.id
    with pytest.raises(Conflict, match="revoke the key"):
        await rotation.revoke_one(world.authority, world.root, key_id, 1, RevokeKey())
    second = await rotate(world, key_id)
    await rotation.revoke_one(world.authority, world.root, key_id, 1, RevokeKey())
    await rotation.revoke_one(world.authority, world.root, key_id, 1, RevokeKey())
    assert [await code(world, text) for text in (first.credential, second.credential)] == ["REVOKED", "VALID"]
    with pytest.raises(Conflict):
        await rotation.revoke_one(world.authority, world.root, key_id, 2, RevokeKey())


async def test_an_expired_key_rotates_only_with_a_new_expiry(world: Embedded) -> None:
    first = await issue(world, expires_in=10)
    world.clock.move(10)
    with pytest.raises(Conflict, match="expires_at"):
        await rotate(world, first.key.id)
    second = await rotate(world, first.key.id, expires_at=None)
    assert [await code(world, text) for text in (first.credential, second.credential)] == ["EXPIRED", "VALID"]


async def test_a_quiet_secret_retires_early_and_a_used_one_does_not(world: Embedded) -> None:
    first = await issue(world)
    second = await rotate(world, first.key.id, grace_in=86_400, quiet_in=600)
    world.clock.move(500)
    await world.store.add_usage(UsageBatch(uses=(KeyUse(first.key.id, 1, world.clock.now()),)))
    world.clock.move(300)
    assert await sweeper.retire_quiet(world.authority) == 0
    assert await code(world, first.credential) == "VALID"
    world.clock.move(400)
    assert await sweeper.retire_quiet(world.authority) == 1
    assert [await code(world, text) for text in (first.credential, second.credential)] == ["EXPIRED", "VALID"]


async def test_rehashing_never_revives_what_was_revoked_meanwhile(world: Embedded) -> None:
    first = await issue(world)
    record = await world.store.find(first.key.id)
    assert record is not None
    seen = record.key.versions[0]
    await rotate(world, first.key.id)
    await rotation.revoke_one(world.authority, world.root, first.key.id, 1, RevokeKey())
    outdated = Outdated(record, seen, b"d" * 32)
    assert await sweeper.rehash(world.authority, outdated)
    stored = (await world.store.get(ApiKey, first.key.id)).versions[0]
    assert stored.digest == b"d" * 32
    assert stored.revoked_at is not None
    assert not await sweeper.rehash(world.authority, outdated), "the digest is no longer the one that was seen"
