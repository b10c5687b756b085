"""A store that fails in the middle: what was not certainly kept is never called done, and nobody is let in for it.

Spec: SECURITY-BAR, fosite CVE-2020-15222 (a storage fault on revoke answered 200), APISIX CVE-2022-29266 (a fault that
opens), "a cancelled or timed-out commit is unknown, never success"; ASVS 16.5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from keybearer.core.errors import Unavailable
from keybearer.services import keys
from keybearer.web.asgi import OPERATIONS
from keybearer.web.operation import Operation
from keybearer.wire.keys import CreateKey
from keybearer.wire.limits import CreditsSpec
from tests.support.embedded import Embedded
from tests.support.requests import BY_ID, Scene

pytestmark = pytest.mark.anyio

CHANGING = [operation for operation in OPERATIONS if operation.changes]
SECRET = "the-database-said-secret-things"


def before_it(work: Callable[..., Any]) -> Callable[..., Any]:
    """The store cannot even begin."""

    async def failing(*arguments: Any, **more: Any) -> Any:
        raise Unavailable("The database cannot answer.", detail=SECRET)

    return failing


def after_it(work: Callable[..., Any]) -> Callable[..., Any]:
    """The store does the work, and the word about it is lost: the outcome is unknown."""

    async def failing(*arguments: Any, **more: Any) -> Any:
        await work(*arguments, **more)
        raise Unavailable("It is not known whether the change was kept.", detail=SECRET)

    return failing


def surprised(work: Callable[..., Any]) -> Callable[..., Any]:
    """The store breaks in a way that nobody thought of."""

    async def failing(*arguments: Any, **more: Any) -> Any:
        raise RuntimeError(SECRET)

    return failing


@contextmanager
def broken(world: Embedded, how: Callable[..., Any], *names: str) -> Iterator[None]:
    """These methods of the store fail meanwhile."""
    store: Any = world.store
    whole = {name: getattr(store, name) for name in names}
    for name, work in whole.items():
        setattr(store, name, how(work))
    try:
        yield
    finally:
        for name in names:
            delattr(store, name)


@pytest.mark.parametrize("how", [before_it, after_it, surprised])
@pytest.mark.parametrize("operation", CHANGING, ids=lambda operation: operation.operation_id)
async def test_a_change_that_is_not_certain_is_never_answered_2xx(
    world: Embedded, operation: Operation, how: Callable[..., Any]
) -> None:
    scene = await Scene.of(world, 1)
    path, body = await scene.request(operation)
    head = await world.store.head()
    async with world.http() as http:
        with broken(world, how, "transact", "refund"):
            answer = await http.request(operation.method, path, json=body, headers={"idempotency-key": "once"})
            assert answer.status_code == (500 if how is surprised else 503), answer.text
            assert SECRET not in answer.text
            assert "credential" not in answer.json()
        if how is not after_it:
            assert await world.store.head() == head
        # The same request, as a client repeats it: done now, and known to have been done where it was.
        answer = await http.request(operation.method, path, json=body, headers={"idempotency-key": "once"})
        assert answer.is_success, answer.text
        is_known = operation.operation_id not in ("refund", "leaks.check")  # those change nothing when they come again
        assert ("idempotency-replayed" in answer.headers) is (how is after_it and is_known)


@pytest.mark.parametrize("how", [before_it, after_it, surprised])
async def test_burning_a_key_is_not_confirmed_when_it_is_not_certain(world: Embedded, how: Callable[..., Any]) -> None:
    issued = await keys.create(world.authority, world.root, CreateKey(world.authority.own_project_id, "k"))
    async with world.http(issued.credential) as http:
        with broken(world, how, "transact"):
            for body in (None, {"reason": "leaked"}, {"wait": True}):
                answer = await http.post("/v1/revoke-mine", json=body) if body else await http.post("/v1/revoke-mine")
                assert answer.status_code == (500 if how is surprised else 503)
                assert SECRET not in answer.text
        assert (await http.post("/v1/revoke-mine")).status_code == 200
    assert (await world.verify(issued.credential))["code"] == "REVOKED"


@pytest.mark.parametrize("how", [before_it, after_it, surprised])
async def test_a_charge_that_is_not_certain_lets_nobody_in(world: Embedded, how: Callable[..., Any]) -> None:
    scene = await Scene.of(world, 1)
    issued = await keys.create(world.authority, world.root, CreateKey(scene.project, "k", credits=CreditsSpec(10)))
    async with world.http() as http:
        with broken(world, how, "charge"):
            for request_id in (None, "one"):
                body = {"credential": issued.credential, **({"request_id": request_id} if request_id else {})}
                answer = await http.post("/v1/verify", json=body)
                assert answer.status_code == (500 if how is surprised else 503)
                assert "valid" not in answer.json()
                assert SECRET not in answer.text
    again = await world.verify(issued.credential, request_id="one")
    assert (again["valid"], again.get("replayed", False)) == (True, how is after_it)


@pytest.mark.parametrize("how", [before_it, surprised])
async def test_when_nothing_can_be_read_nobody_is_let_in(
    world: Embedded, how: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await keys.create(world.authority, world.root, CreateKey(world.authority.own_project_id, "k"))
    assert (await world.verify(issued.credential))["valid"]
    names = ("events", "head", "find", "find_foreign", "page", "get", "transact", "foreign_schemes")

    def fails(*arguments: Any, **more: Any) -> Any:
        raise Unavailable("The database cannot answer.") if how is before_it else RuntimeError(SECRET)

    async with world.http() as http:
        with broken(world, how, *names):
            for name in ("events_now", "head_now", "find_now", "find_foreign_now"):
                monkeypatch.setattr(world.store, name, fails)
            monkeypatch.setattr(world.authority.records, "_fresh_until", 0)
            for path, body in (("/v1/verify", {"credential": issued.credential}), ("/v1/keys", {"name": "x"})):
                answer = await http.post(path, json=body)
                assert answer.status_code == (503 if how is before_it else 500), answer.text
                assert SECRET not in answer.text
            monkeypatch.undo()
        assert (await http.post("/v1/verify", json={"credential": issued.credential})).json()["valid"]


async def test_a_request_that_is_cancelled_midway_is_whole_or_not_at_all(world: Embedded) -> None:
    scene = await Scene.of(world, 1)
    operation = BY_ID["keys.create"]
    path, body = await scene.request(operation)
    whole = world.store.transact
    begun = asyncio.Event()

    async def slow(work: Any) -> Any:
        begun.set()
        await asyncio.sleep(0.05)
        return await whole(work)

    store: Any = world.store
    store.transact = slow
    head, entries = await world.store.head(), len(await world.audit())
    try:
        async with world.http() as http:
            for _ in range(5):
                begun.clear()
                asked = asyncio.create_task(http.request(operation.method, path, json=body))
                await begun.wait()
                asked.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asked
    finally:
        del store.transact
    assert await world.store.head() - head == len(await world.audit()) - entries
    async with world.http() as http:
        assert (await http.get("/v1/audit/verification")).json()["intact"]
