"""Families of refresh tokens: one generation after the other, whoever else tries, and revoked together."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from keybearer.core.errors import Conflict, InvalidInput, NotFound
from keybearer.core.instant import Instant
from keybearer.core.lifecycle import revoke_family
from keybearer.core.tokens import TokenFamily
from keybearer.ports import UnitOfWork
from tests.contract.making import NOW, Engine, days
from tests.contract.making_tokens import family

pytestmark = pytest.mark.anyio

LINKS = ("client_id", "user_id", "grant_id", "session_id", "key_id")


async def add(store: Any, *families: TokenFamily) -> None:
    async def work(unit: UnitOfWork) -> None:
        for one in families:
            await unit.add_family(one)

    await store.transact(work)


async def test_every_field_of_a_family_is_kept(store: Any) -> None:
    full = family(
        2,
        subject="pairwise",
        key_id="key_0001",
        generation=7,
        resources=("api_0001",),
        authorization_details=({"type": "payment", "n": [1, {"x": None}]},),
        previous_digest=b"\0\xff" * 16,
        sealed_successor=b"sealed\0",
        key_thumbprint="thumb",
        certificate_thumbprint="print",
        authenticated_at=NOW,
        amr=("pwd", "otp"),
        acr="2",
        nonce="ü",
        claims={"id_token": {"email": None}},
        revoked_at=days(1),
    )
    bare = family(3, user_id=None, grant_id=None, session_id=None, subject="client_0001", scopes=())
    await add(store, family(), full, bare)
    for one in (family(), full, bare):
        assert await store.get_family(one.id) == one
        assert await store.transact(lambda unit, one=one: unit.get_family(one.id)) == one


@pytest.mark.parametrize("odd", ["https://app.example/client", "client_", "_", "client__x", "client_client_x", "ü"])
async def test_ids_of_any_form_come_back(store: Any, odd: str) -> None:
    odd_one = family(1, id="rt_" + odd, client_id=odd, user_id=odd, grant_id=odd, session_id=odd, key_id=odd)
    other = family(2, client_id="client_" + odd, user_id="user_" + odd, grant_id=None, session_id="sess_" + odd)
    await add(store, odd_one, other)
    assert await store.get_family(odd_one.id) == odd_one
    assert await store.get_family(other.id) == other
    for column in LINKS:
        found = await store.transact(lambda unit, column=column: unit.revoke_families(column, odd, NOW))
        assert found == ((odd_one.id,) if column == LINKS[0] else ())
    assert (await store.get_family(other.id)).revoked_at is None


async def test_a_family_that_is_not_there_is_not_found(store: Any) -> None:
    with pytest.raises(NotFound):
        await store.get_family("rt_nothing")
    with pytest.raises(NotFound):
        await store.transact(lambda unit: unit.get_family("rt_nothing"))
    with pytest.raises(Conflict):
        await store.transact(lambda unit: unit.update_family(family(9, generation=2), generation=1))
    with pytest.raises(InvalidInput):
        await store.get_family("nul\0")


async def test_an_id_is_given_once(store: Any) -> None:
    await add(store, family())
    with pytest.raises(Conflict):
        await add(store, family(digest=b"another"))
    assert (await store.get_family("rt_0001")).digest == family().digest


@pytest.mark.parametrize("bad", [{"acr": "\ud800"}, {"claims": {"n": 2**64}}, {"client_id": "nul\0"}])
async def test_what_cannot_be_stored_is_refused(store: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await add(store, family(**bad))
    with pytest.raises(NotFound):
        await store.get_family("rt_0001")


async def test_a_rotation_needs_the_generation_before(store: Any) -> None:
    await add(store, family())
    second = replace(family(), generation=2, digest=b"2" * 32, rotated_at=days(1))
    await store.transact(lambda unit: unit.update_family(second, generation=1))
    with pytest.raises(Conflict):
        await store.transact(lambda unit: unit.update_family(replace(second, digest=b"3" * 32), generation=1))
    assert await store.get_family("rt_0001") == second


async def test_of_many_rotations_at_once_one_succeeds(engine: Engine) -> None:
    nodes = [await engine.open() for _ in range(1 if engine.name == "memory" else 2)]
    await add(nodes[0], family())

    async def rotate(number: int) -> bool:
        async def work(unit: UnitOfWork) -> None:
            before = await unit.get_family("rt_0001")
            after = replace(before, generation=before.generation + 1, digest=bytes([number]) * 32)
            if before.generation != 1:
                raise Conflict("rotated already")
            await unit.update_family(after, generation=1)
            unit.emit("token.refresh", "rt_0001")

        try:
            await nodes[number % len(nodes)].transact(work)
        except Conflict:
            return False
        return True

    won = await asyncio.gather(*(rotate(number) for number in range(50)))
    assert won.count(True) == 1
    after = await nodes[0].get_family("rt_0001")
    assert (after.generation, after.digest) == (2, bytes([won.index(True)]) * 32)
    assert len(await nodes[0].events(0)) == 1


async def test_of_many_blind_updates_at_once_one_succeeds(engine: Engine) -> None:
    store = await engine.open()
    await add(store, family())

    async def rotate(number: int) -> bool:
        after = replace(family(), generation=2, digest=bytes([number]) * 32)
        try:
            await store.transact(lambda unit: unit.update_family(after, generation=1))
        except Conflict:
            return False
        return True

    won = await asyncio.gather(*(rotate(number) for number in range(50)))
    assert won.count(True) == 1
    assert (await store.get_family("rt_0001")).digest == bytes([won.index(True)]) * 32


@pytest.mark.parametrize("column", LINKS)
async def test_families_are_revoked_by_what_they_came_from(store: Any, column: str) -> None:
    mine = [family(number, **{column: "mine"}) for number in (1, 2)]
    others = [family(3, **{column: "other"}), family(4, **{} if column == "client_id" else {column: None})]
    before = revoke_family(family(5, **{column: "mine"}), days(-1))
    await add(store, *mine, *others, before)
    assert await store.transact(lambda unit: unit.revoke_families(column, "mine", days(1))) == ("rt_0001", "rt_0002")
    for one in mine:
        assert await store.get_family(one.id) == revoke_family(one, days(1))
    for one in (*others, before):
        assert await store.get_family(one.id) == one
    assert await store.transact(lambda unit: unit.revoke_families(column, "mine", days(2))) == ()


@pytest.mark.parametrize("column", ["id", "body", "generation = 1 OR user_id", ""])
async def test_families_are_revoked_by_nothing_else(store: Any, column: str) -> None:
    await add(store, family())
    with pytest.raises(InvalidInput):
        await store.transact(lambda unit: unit.revoke_families(column, "1", NOW))


async def test_a_revocation_and_a_rotation_at_once_end_revoked(engine: Engine) -> None:
    """Whichever comes first: a rotation that read the family before the revocation must not write it alive again."""
    store = await engine.open()
    await add(store, *(family(number) for number in range(1, 21)))

    async def rotate(number: int) -> None:
        async def work(unit: UnitOfWork) -> None:
            before = await unit.get_family(f"rt_{number:04}")
            if before.revoked_at is None:
                after = replace(before, generation=2, digest=b"n" * 32)
                await unit.update_family(after, generation=1)

        await store.transact(work)

    async def revoke() -> None:
        await store.transact(lambda unit: unit.revoke_families("user_id", "user_0001", days(1)))

    await asyncio.gather(*(rotate(number) for number in range(1, 11)), revoke(), *(rotate(n) for n in range(11, 21)))
    for number in range(1, 21):
        assert (await store.get_family(f"rt_{number:04}")).revoked_at == days(1)


def test_a_family_is_over_by_age_or_by_idleness() -> None:
    one = family(idle_in=10, rotated_at=Instant(NOW), expires_at=Instant(NOW + 100))
    assert not one.is_over(Instant(NOW + 9))
    assert one.is_over(Instant(NOW + 10))
    assert replace(one, rotated_at=Instant(NOW + 95)).is_over(Instant(NOW + 100))
    assert not replace(one, rotated_at=Instant(NOW + 95)).is_over(Instant(NOW + 99))
