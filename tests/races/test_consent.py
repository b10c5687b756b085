"""Consents raced: whatever happens at once, a user has one grant per client, and a pushed request one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from keybearer.core.authorization_request import Parameters, parameters_of
from keybearer.core.grants import Grant
from keybearer.core.oauth_error import InvalidRequestUri
from keybearer.ports import Query
from keybearer.services import authorize, consent, pushed_requests
from keybearer.services.authorize import Answered, Step
from keybearer.stores.postgresql import PostgresqlStore
from keybearer.stores.sqlite import SqliteStore
from tests.support.authorizing import asking, make_api, make_client
from tests.support.embedded import Embedded, embedded
from tests.support.people import make_user, sign_in, signed_in

AT_ONCE = 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Embedded]:
    make_store = {
        "memory": lambda: None,
        "sqlite": lambda: partial(SqliteStore, tmp_path / "keybearer.db"),
        "postgresql": lambda: partial(PostgresqlStore, request.getfixturevalue("postgresql_url")),
    }[request.param]()
    async with embedded(make_store=make_store) as running:
        yield running


@pytest.mark.anyio
async def test_consents_at_once_make_one_grant_with_all_of_them(world: Embedded) -> None:
    client = await make_client(world, await make_api(world))
    await make_user(world)
    browsers = [signed_in(await sign_in(world)) for _ in range(4)]

    async def agree(number: int) -> Step:
        who, scope = browsers[number % 4], ("openid", "orders:read", "orders:write")[number % 3]
        asked = await authorize.understand(world.authority, client, _parameters(asking(client, scope=scope)))
        begun_at, uri = who.session.authenticated_at, asked.target.redirect_uri
        seen = consent.view(client, asked.apis, asked.scopes, asked.details, redirect_uri=uri).fingerprint
        return await authorize.agree(
            world.authority, world.root, asked, who, begun_at, frozenset(), seen=seen, chosen=False
        )

    steps = await asyncio.gather(*(agree(number) for number in range(AT_ONCE)))
    assert all(isinstance(step, Answered) for step in steps)
    [grant] = await world.store.page(Grant, Query({"client_id": client.id}))
    assert set(grant.scopes) == {"openid", "orders:read", "orders:write"}


@pytest.mark.anyio
async def test_a_pushed_request_is_answered_once_whatever_comes_at_once(world: Embedded) -> None:
    client = await make_client(world, await make_api(world), is_first_party=True)
    await make_user(world)
    who = signed_in(await sign_in(world))
    uri = await pushed_requests.push(world.authority, client, _parameters(asking(client)))

    async def bring() -> bool:
        try:
            pushed = await pushed_requests.find(world.authority, client.id, uri, begun=True)
            asked = await authorize.understand(world.authority, client, pushed.parameters, pushed.id)
            step = await authorize.proceed(
                world.authority, world.root, asked, who, who.session.authenticated_at, chosen=False
            )
        except InvalidRequestUri:
            return False
        return isinstance(step, Answered)

    assert sum(await asyncio.gather(*(bring() for _ in range(AT_ONCE)))) == 1


def _parameters(url: str) -> Parameters:
    return parameters_of(parse_qsl(url.partition("?")[2]))
