"""Artefacts: one use each, of their own kind only, and kept until they expire so that a second use is seen."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from keybearer.core.artefacts import ArtefactKind
from keybearer.core.errors import Conflict, InvalidInput, NotFound
from keybearer.core.instant import MINUTE, Instant
from keybearer.core.lifecycle import use_up
from keybearer.ports import UnitOfWork
from tests.contract.making import NOW, Engine, days
from tests.contract.making_tokens import artefact

pytestmark = pytest.mark.anyio

CODE = ArtefactKind.AUTHORIZATION_CODE


async def test_what_is_stored_comes_back_equal(store: Any) -> None:
    full = artefact(body=b'{"x":"\xc3\xbc"}\0', attempts=3, used_at=Instant(NOW + 5), subject="ü")
    await store.transact(lambda unit: unit.add_artefact(full))
    assert await store.get_artefact(CODE, "a1") == full
    assert await store.transact(lambda unit: unit.get_artefact(CODE, "a1")) == full


async def test_no_artefact_passes_for_another_kind(store: Any) -> None:
    for kind in ArtefactKind:
        await store.transact(lambda unit, kind=kind: unit.add_artefact(artefact(kind=kind, subject=kind.value)))
    for kind in ArtefactKind:
        assert (await store.get_artefact(kind, "a1")).subject == kind.value
    assert await store.transact(lambda unit: unit.remove_artefacts(CODE, CODE.value)) == 1
    with pytest.raises(NotFound):
        await store.get_artefact(CODE, "a1")
    for kind in set(ArtefactKind) - {CODE}:
        assert (await store.get_artefact(kind, "a1")).kind is kind


async def test_an_id_is_taken_even_by_what_is_used_or_expired(store: Any) -> None:
    await store.transact(lambda unit: unit.add_artefact(artefact(expires_at=NOW, used_at=NOW)))
    with pytest.raises(Conflict):
        await store.transact(lambda unit: unit.add_artefact(artefact(expires_at=days(9))))
    assert (await store.get_artefact(CODE, "a1")).expires_at == NOW, "time is not looked at either"


async def test_what_is_not_there_is_not_found(store: Any) -> None:
    with pytest.raises(NotFound):
        await store.get_artefact(CODE, "nothing")
    with pytest.raises(NotFound):
        await store.transact(lambda unit: unit.get_artefact(CODE, "nothing"))
    with pytest.raises(NotFound):
        await store.transact(lambda unit: unit.update_artefact(artefact("nothing")))
    with pytest.raises(InvalidInput):
        await store.transact(lambda unit: unit.add_artefact(artefact("nul\0")))


async def test_attempts_are_counted(store: Any) -> None:
    await store.transact(lambda unit: unit.add_artefact(artefact()))

    async def work(unit: UnitOfWork) -> None:
        before = await unit.get_artefact(CODE, "a1")
        await unit.update_artefact(replace(before, attempts=before.attempts + 1))

    await asyncio.gather(*(store.transact(work) for _ in range(20)))
    assert await store.get_artefact(CODE, "a1") == artefact(attempts=20)


async def test_of_many_uses_at_once_one_succeeds(engine: Engine) -> None:
    nodes = [await engine.open() for _ in range(1 if engine.name == "memory" else 2)]
    await nodes[0].transact(lambda unit: unit.add_artefact(artefact()))

    async def use(number: int) -> bool:
        async def work(unit: UnitOfWork) -> None:
            used = use_up(await unit.get_artefact(CODE, "a1"), Instant(NOW + 1 + number))
            await unit.update_artefact(used)
            unit.emit("code.use", "a1")

        try:
            await nodes[number % len(nodes)].transact(work)
        except Conflict:
            return False
        return True

    won = await asyncio.gather(*(use(number) for number in range(50)))
    assert won.count(True) == 1
    assert (await nodes[0].get_artefact(CODE, "a1")).used_at == NOW + 1 + won.index(True)
    assert len(await nodes[0].events(0)) == 1


async def test_of_many_who_bring_one_id_at_once_one_is_first(engine: Engine) -> None:
    nodes = [await engine.open() for _ in range(1 if engine.name == "memory" else 2)]
    proof = artefact("jti", kind=ArtefactKind.PROOF_ID, digest=b"", pepper_id="", subject="")

    async def bring(number: int) -> bool:
        async def work(unit: UnitOfWork) -> None:
            await unit.add_artefact(proof)
            unit.emit("proof.seen", str(number))

        try:
            await nodes[number % len(nodes)].transact(work)
        except Conflict:
            return False
        return True

    won = await asyncio.gather(*(bring(number) for number in range(50)))
    assert won.count(True) == 1
    assert [event.subject for event in await nodes[0].events(0)] == [str(won.index(True))]


async def test_a_used_code_is_seen_to_be_used_after_a_restart(engine: Engine) -> None:
    if engine.name == "memory":
        pytest.skip("memory forgets")
    store = await engine.open()

    async def use(unit: UnitOfWork) -> None:
        await unit.update_artefact(use_up(await unit.get_artefact(CODE, "a1"), NOW))

    await store.transact(lambda unit: unit.add_artefact(artefact()))
    await store.transact(use)
    await store.close()
    again = await engine.open()
    with pytest.raises(Conflict, match="already"):
        await again.transact(use)


async def test_only_what_belongs_to_the_subject_is_removed(store: Any) -> None:
    async def work(unit: UnitOfWork) -> None:
        await unit.add_artefact(artefact("a1"))
        await unit.add_artefact(artefact("a2"))
        await unit.add_artefact(artefact("a3", subject="user_0002"))
        await unit.add_artefact(artefact("a4", subject=""))
        assert await unit.remove_artefacts(CODE, "") == 0
        assert await unit.remove_artefacts(CODE, "user_0001") == 2

    await store.transact(work)
    assert [(await store.get_artefact(CODE, one)).id for one in ("a3", "a4")] == ["a3", "a4"]


async def test_a_use_after_the_end_is_refused() -> None:
    assert use_up(artefact(), Instant(NOW + MINUTE - 1)).used_at == NOW + MINUTE - 1
    with pytest.raises(Conflict, match="over"):
        use_up(artefact(), Instant(NOW + MINUTE))
