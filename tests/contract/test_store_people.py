"""Users, their factors and links, sessions, clients, grants, signing keys and providers: records like the others."""

import asyncio
from typing import Any

import pytest

from keybearer.core.clients import Client
from keybearer.core.errors import Conflict, InvalidInput
from keybearer.core.grants import Grant
from keybearer.core.lifecycle import Change, change, touch
from keybearer.core.records import CreditPolicy, Project, Record
from keybearer.core.routes import Route
from keybearer.core.sessions import Session
from keybearer.core.signing_keys import SigningKey
from keybearer.core.upstream_secrets import UpstreamSecret
from keybearer.core.upstreams import Upstream
from keybearer.core.users import Factors, Link, User
from keybearer.ports import Query, UnitOfWork
from tests.contract.making import NOW, Engine, days, grant, insert, project
from tests.contract.making_tokens import (
    client,
    consent,
    factors,
    link,
    route,
    session,
    signing_key,
    upstream,
    upstream_secret,
    user,
)

pytestmark = pytest.mark.anyio

ALL = (
    user(),
    factors(),
    link(),
    project(),
    client(),
    consent(),
    session(),
    signing_key(),
    upstream(),
    route(),
    upstream_secret(),
)


async def test_what_is_inserted_comes_back_equal(store: Any) -> None:
    await insert(store, *ALL)
    for record in ALL:
        assert await store.get(type(record), record.id) == record
        assert await store.page(type(record), Query()) == (record,)


@pytest.mark.parametrize(
    "clash",
    [
        user(2, email="user1@example.com"),
        factors(2, user_id="user_0001"),
        link(2, subject="s1"),
        consent(2),
        user(),
        signing_key(),
    ],
)
async def test_what_is_unique_clashes(store: Any, clash: Record) -> None:
    await insert(store, *ALL)
    with pytest.raises(Conflict):
        await insert(store, clash)


async def test_what_is_alike_in_part_does_not_clash(store: Any) -> None:
    await insert(store, *ALL, user(2), client(2))
    await insert(store, link(2), link(3, subject="s1", issuer="https://other"), factors(2, user_id="user_0002"))
    await insert(store, consent(2, client_id="client_0002"), consent(3, user_id="user_0002"), upstream(2))


@pytest.mark.parametrize("how", [Change.REVOKE, Change.DELETE])
async def test_a_grant_that_is_over_makes_room_for_another_and_cannot_come_back(store: Any, how: Change) -> None:
    await insert(store, *ALL)

    async def end(unit: UnitOfWork) -> None:
        await unit.update(change(await unit.get(Grant, "grant_0001"), how, NOW))

    await store.transact(end)
    await insert(store, consent(2))
    with pytest.raises(Conflict):
        await insert(store, consent(3))

    async def undelete(unit: UnitOfWork) -> None:
        await unit.update(change(await unit.get(Grant, "grant_0001"), Change.UNDELETE, NOW))

    with pytest.raises(Conflict):
        await store.transact(undelete)
    assert (await store.get(Grant, "grant_0002")).state == "enabled"


async def test_of_many_consents_at_once_one_is_in_force(engine: Engine) -> None:
    nodes = [await engine.open() for _ in range(1 if engine.name == "memory" else 2)]
    await insert(nodes[0], user(), project(), client())

    async def agree(number: int) -> bool:
        try:
            await insert(nodes[number % len(nodes)], consent(number))
        except Conflict:
            return False
        return True

    assert (await asyncio.gather(*(agree(number) for number in range(1, 51)))).count(True) == 1
    assert len(await nodes[0].page(Grant, Query({"user_id": "user_0001"}))) == 1


@pytest.mark.parametrize(
    "orphan", [factors(), link(), session(), client(), consent()], ids=lambda record: type(record).__name__
)
async def test_nothing_refers_to_what_is_not_there(store: Any, orphan: Record) -> None:
    with pytest.raises(Conflict):
        await insert(store, orphan)


@pytest.mark.parametrize(
    ("kind", "where", "found"),
    [
        (User, {"email": "user2@example.com"}, ["user_0002"]),
        (Factors, {"user_id": "user_0001"}, ["fac_0001"]),
        (Link, {"issuer": "https://idp", "subject": "s1"}, ["lnk_0001"]),
        (Link, {"user_id": "user_0002"}, []),
        (Session, {"user_id": "user_0001"}, ["sess_0001"]),
        (Client, {"project_id": "proj_0001", "origin": "managed", "name": "App"}, ["client_0001", "client_0002"]),
        (Client, {"origin": "registered"}, []),
        (Grant, {"client_id": "client_0001", "user_id": "user_0001", "project_id": "proj_0001"}, ["grant_0001"]),
        (Grant, {"state": "revoked"}, []),
        (SigningKey, {"state": "enabled"}, ["sig_0001"]),
        (Upstream, {"issuer": "https://idp.example"}, ["idp_0001"]),
        (Route, {"name": "maps"}, ["rte_0001"]),
        (UpstreamSecret, {"name": "maps-key"}, ["sec_0001"]),
    ],
)
async def test_records_are_found_by_their_fields(store: Any, kind: Any, where: Any, found: list[str]) -> None:
    await insert(store, *ALL, user(2), client(2))
    assert [record.id for record in await store.page(kind, Query(where))] == found


@pytest.mark.parametrize("kind", [User, Factors, Session, Client, Grant, SigningKey, Upstream, Route, UpstreamSecret])
async def test_no_other_field_can_be_searched(store: Any, kind: Any) -> None:
    with pytest.raises(InvalidInput):
        await store.page(kind, Query({"body": "x"}))


async def test_changes_reach_the_columns(store: Any) -> None:
    await insert(store, *ALL)

    async def work(unit: UnitOfWork) -> None:
        await unit.update(touch(await unit.get(User, "user_0001"), NOW, email="new@example.com"))

    await store.transact(work)
    assert await store.page(User, Query({"email": "user1@example.com"})) == ()
    assert len(await store.page(User, Query({"email": "new@example.com"}))) == 1
    await insert(store, user(2, email="user1@example.com"))


async def test_what_others_refer_to_is_not_forgotten(store: Any) -> None:
    await insert(store, *ALL)

    async def delete(unit: UnitOfWork) -> None:
        for kind, record_id in ((User, "user_0001"), (Client, "client_0001"), (Project, "proj_0001")):
            await unit.update(change(await unit.get(kind, record_id), Change.DELETE, NOW))

    await store.transact(delete)
    for kind, record_id in ((User, "user_0001"), (Client, "client_0001"), (Project, "proj_0001")):
        with pytest.raises(Conflict):
            await store.transact(lambda unit, kind=kind, record_id=record_id: unit.forget(kind, record_id))


async def test_what_belongs_to_a_forgotten_record_goes_with_it(store: Any) -> None:
    await insert(store, *ALL, user(2), session(2, user_id="user_0002"), client(2), consent(2, client_id="client_0002"))
    for owner in ("client:client_0001", "client:client_0002"):
        await grant(store, owner, 5, CreditPolicy())

    async def delete(unit: UnitOfWork) -> None:
        await unit.update(change(await unit.get(User, "user_0001"), Change.DELETE, NOW))
        await unit.update(change(await unit.get(Client, "client_0001"), Change.DELETE, NOW))

    await store.transact(delete)
    await store.sweep(days(29.9))
    assert len(await store.page(Factors, Query())) == 1
    await store.sweep(days(30.1))
    for kind in (Factors, Link, Grant):
        assert await store.page(kind, Query()) == (), kind
    assert [one.id for one in await store.page(User, Query())] == ["user_0002"]
    assert [one.id for one in await store.page(Client, Query())] == ["client_0002"]
    assert await store.page(User, Query({"state": "deleted"})) == ()
    assert [one.owner for one in await store.balances(["client:client_0001", "client:client_0002"])] == [
        "client:client_0002"
    ]
