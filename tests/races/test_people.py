"""The same code, link, guess and address used by many at once, on engines that two nodes can share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keybearer.core.errors import Conflict
from keybearer.core.users import Factors
from keybearer.services import attempts, mail_links, sessions, users
from keybearer.services.mail_links import LinkRefused
from keybearer.services.sign_in import Done, SignInRefused, Visit, with_totp
from keybearer.stores.postgresql import PostgresqlStore
from keybearer.stores.sqlite import SqliteStore
from keybearer.wire.users import CreateUser
from tests.support.embedded import Embedded, embedded
from tests.support.people import (
    OTHER_PASSWORD,
    add_totp,
    code_of,
    factors_of,
    give_mailbox,
    make_user,
    sign_in,
    ticket_of,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Embedded]:
    if request.param == "sqlite":
        make_store: Any = partial(SqliteStore, tmp_path / "keybearer.db")
    else:
        make_store = partial(PostgresqlStore, request.getfixturevalue("postgresql_url"))
    async with embedded(make_store=make_store) as running:
        yield running


async def together(*works: Any) -> list[Any]:
    return await asyncio.gather(*works, return_exceptions=True)


async def test_of_150_guesses_at_once_100_are_looked_at(world: Embedded) -> None:
    user = await make_user(world)
    taken = await together(*(attempts.take(world.authority, user, user.email, "") for _ in range(150)))
    assert [one for one in taken if isinstance(one, Exception)] == []
    assert sum(chance.is_open for chance in taken) == attempts.MAX_FAILURES
    assert (await factors_of(world, user)).failures == attempts.MAX_FAILURES


async def test_unknown_addresses_are_counted_at_once_too(world: Embedded) -> None:
    taken = await together(*(attempts.take(world.authority, None, "nobody@example.com", "") for _ in range(50)))
    assert all(isinstance(one, attempts.Chance) and not one.is_open for one in taken), taken


async def test_sign_ins_from_one_known_browser_at_once_do_not_block_each_other(world: Embedded) -> None:
    await make_user(world)
    device = (await sign_in(world)).device
    assert device is not None
    done = await together(*(sign_in(world, device=device.reveal()) for _ in range(8)))
    assert [one for one in done if not isinstance(one, Done)] == []
    assert len({one.session.id for one in done}) == 8


async def test_a_code_signs_in_once(world: Embedded) -> None:
    await make_user(world)
    secret, _ = await add_totp(world, await sign_in(world))
    tickets = [await ticket_of(world) for _ in range(20)]
    code = code_of(world, secret)
    done = await together(*(with_totp(world.authority, ticket, code, Visit()) for ticket in tickets))
    assert sum(isinstance(one, Done) for one in done) == 1
    assert sum(isinstance(one, SignInRefused) for one in done) == 19


async def test_a_link_works_once(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    user = await make_user(world)
    mail_links.request_reset(world.authority, user.email, None)
    await world.authority.outbox.settled()
    link = mailbox.link()
    done = await together(
        *(mail_links.reset_password(world.authority, link, f"{OTHER_PASSWORD} {number}") for number in range(20))
    )
    assert sum(one is None for one in done) == 1
    assert sum(isinstance(one, LinkRefused) for one in done) == 19


async def test_an_address_is_one_users(world: Embedded) -> None:
    made = await together(
        *(users.create(world.authority, world.root, CreateUser("ada@example.com")) for _ in range(10))
    )
    assert sum(isinstance(one, Conflict) for one in made) == 9
    winner = next(one for one in made if not isinstance(one, Exception))
    factors = await world.store.get(Factors, winner.id.replace("user_", "fac_"))
    assert factors.user_id == winner.id


async def test_a_session_that_is_ended_is_not_revived_by_being_seen(world: Embedded) -> None:
    await make_user(world)
    done = await sign_in(world)
    world.clock.move(3600)
    cookie = done.secret.reveal()
    await together(
        *(sessions.find(world.authority, cookie) for _ in range(10)),
        sessions.end_one(world.authority, world.root, done.session.id),
        *(sessions.find(world.authority, cookie) for _ in range(10)),
    )
    assert await sessions.find(world.authority, cookie) is None
