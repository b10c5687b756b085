"""Works that share a commit: each hears what it would have heard alone, and leaves what it would have left."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from keybearer.core.audit_chain import GENESIS, AuditDraft, first_break
from keybearer.core.errors import Conflict, InvalidInput, NotFound
from keybearer.core.records import ApiKey, Project
from keybearer.ports import Query, UnitOfWork
from tests.contract.making import AUDIT_KEY, NOW, insert, key, project

pytestmark = pytest.mark.anyio


async def add(unit: UnitOfWork, number: int, **changes: Any) -> None:
    record = key(number, **changes)
    unit.emit("key.create", record.id)
    unit.audit(AuditDraft(NOW, "test", "key.create", record.id))
    await unit.insert(record)


async def plainly(unit: UnitOfWork, number: int) -> str:
    await add(unit, number)
    return "added"


async def with_tags(unit: UnitOfWork, number: int) -> str:
    await add(unit, number, tags=("red", "blue"))
    return "added"


async def and_read_it(unit: UnitOfWork, number: int) -> str:
    await add(unit, number)
    assert (await unit.get(ApiKey, f"key_{number:04}")).id == f"key_{number:04}"
    return "added"


async def and_raise(unit: UnitOfWork, number: int) -> str:
    await add(unit, number)
    raise ZeroDivisionError


async def change_something_and_raise(unit: UnitOfWork, number: int) -> str:
    await unit.add_foreign_scheme(f"scheme-{number}")
    await add(unit, number)
    raise ZeroDivisionError


async def for_a_missing_project(unit: UnitOfWork, number: int) -> str:
    await add(unit, number, project_id="proj_9999")
    return "added"


async def with_unstorable_text(unit: UnitOfWork, number: int) -> str:
    unit.emit("key.create", "\0")
    await unit.insert(key(number))
    return "added"


async def or_instead(unit: UnitOfWork, number: int) -> str:
    """What is not there yet is added under another number."""
    try:
        await unit.insert(key(number))
    except Conflict:
        await unit.insert(key(number + 5000))
        unit.emit("key.create", f"key_{number + 5000:04}")
        unit.audit(AuditDraft(NOW, "test", "key.create", f"key_{number + 5000:04}"))
        return "added instead"
    unit.emit("key.create", f"key_{number:04}")
    unit.audit(AuditDraft(NOW, "test", "key.create", f"key_{number:04}"))
    return "added"


async def with_its_project(unit: UnitOfWork, number: int) -> str:
    await unit.insert(project(number))
    await add(unit, number, project_id=f"proj_{number:04}")
    return "added"


WORKS = (
    *(plainly, plainly, plainly, plainly, with_tags, and_read_it, and_raise, change_something_and_raise),
    *(for_a_missing_project, with_unstorable_text, or_instead, with_its_project),
)
EXPECTED: dict[Any, set[Any]] = {
    plainly: {"added", Conflict},
    with_tags: {"added", Conflict},
    and_read_it: {"added", Conflict},
    and_raise: {ZeroDivisionError, Conflict},
    change_something_and_raise: {ZeroDivisionError, Conflict},
    for_a_missing_project: {Conflict},
    with_unstorable_text: {InvalidInput, Conflict},
    or_instead: {"added", "added instead"},
    with_its_project: {"added", Conflict},
}


@pytest.mark.parametrize("seed", range(12))
async def test_every_work_hears_what_it_would_have_heard_alone(store: Any, seed: int) -> None:
    rng = random.Random(seed)
    await insert(store, project())
    # Half of the seeds have no clash, so that works also share a commit that is never run again.
    numbers = [rng.randrange(100, 130) if seed % 2 else 100 + n for n in range(40)]
    tried = [(rng.choice(WORKS if seed % 3 else WORKS[:6]), number) for number in numbers]

    async def run(work: Any, number: int) -> Any:
        try:
            return await store.transact(lambda unit: work(unit, number))
        except (Conflict, InvalidInput, ZeroDivisionError) as error:
            return type(error)

    heard = await asyncio.gather(*(run(work, number) for work, number in tried))
    added: Counter[str] = Counter()
    for (work, number), outcome in zip(tried, heard, strict=True):
        assert outcome in EXPECTED[work], (work, outcome)
        if outcome in ("added", "added instead"):
            added[f"key_{number if outcome == 'added' else number + 5000:04}"] += 1
    assert set(added.values()) <= {1}, "of works that clash, one succeeds"
    stored = await store.page(ApiKey, Query(limit=1000))
    assert sorted(record.id for record in stored) == sorted(added)
    for work, number in tried:
        if work in (and_raise, change_something_and_raise, for_a_missing_project, with_unstorable_text):
            continue
        if work is not with_its_project:
            assert f"key_{number:04}" in added, "a clash needs somebody to clash with"
    assert await store.foreign_schemes() == frozenset()
    events = (await store.events(0))[1:]
    assert [event.seq for event in events] == list(range(2, 2 + len(added)))
    assert sorted(event.subject for event in events) == sorted(added)
    entries = await store.audit_page(0, 1000)
    assert first_break(AUDIT_KEY, GENESIS, 1, list(entries)) is None
    assert sorted(entry.draft.target for entry in entries) == sorted(added)
    tagged = {record.id for record in await store.page(ApiKey, Query({"tag": "red"}, limit=1000))}
    assert tagged == {record.id for record in stored if "red" in record.tags}


async def test_a_work_sees_what_works_before_it_added(store: Any) -> None:
    await insert(store, project())

    async def count() -> int:
        async def work(unit: UnitOfWork) -> int:
            return len(await unit.page(ApiKey, Query()))

        return int(await store.transact(work))

    async def create(number: int) -> int:
        await insert(store, key(number))
        return await count()

    seen = await asyncio.gather(*(create(number) for number in range(30)))
    assert max(seen) == 30
    assert min(seen) >= 1


async def test_a_change_finds_the_key_that_the_work_before_it_added(store: Any) -> None:
    await insert(store, project())
    await asyncio.gather(*(insert(store, key(number)) for number in range(20)))
    with pytest.raises(NotFound):
        await store.transact(lambda unit: unit.get(Project, "proj_0002"))

    async def in_one(number: int) -> None:
        async def work(unit: UnitOfWork) -> None:
            await unit.insert(key(number))
            (found,) = [one for one in await unit.page(ApiKey, Query(limit=1000)) if one.id == f"key_{number:04}"]
            assert found.name == "server"

        await store.transact(work)

    await asyncio.gather(*(in_one(number) for number in range(100, 120)))
    assert len(await store.page(ApiKey, Query(limit=1000))) == 40
