"""What the digital identity guidelines ask of a verifier of passwords and of sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from keybearer.core.errors import InvalidInput
from keybearer.services import account, attempts, sessions, users
from keybearer.services.sign_in import Done, SignInRefused
from keybearer.wire.users import CreateUser
from tests.support.embedded import Embedded, embedded
from tests.support.people import (
    PASSWORD,
    SHORT_PASSWORD,
    add_totp,
    attempt,
    factors_of,
    make_user,
    sign_in,
    signed_in,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(anyio_backend: str) -> AsyncIterator[Embedded]:
    async with embedded() as running:
        yield running


@pytest.mark.spec("NIST SP 800-63B-4", "3.1.1.2", "SHALL")
async def test_a_password_alone_has_fifteen_characters_and_beside_another_factor_eight(world: Embedded) -> None:
    with pytest.raises(InvalidInput):
        await make_user(world, password="quartz lantern"[:14])
    await make_user(world)
    done = await sign_in(world)
    await add_totp(world, done)
    with pytest.raises(InvalidInput):
        await account.change_password(world.authority, signed_in(done), PASSWORD, SHORT_PASSWORD[:7])
    await account.change_password(world.authority, signed_in(done), PASSWORD, SHORT_PASSWORD)


@pytest.mark.spec("NIST SP 800-63B-4", "3.1.1.2", "SHOULD")
@pytest.mark.parametrize(
    "password", ["x1 " * 21 + "quartz", "Ω≈ç√∫˜µ≤ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🦊🐻", "only small letters here", "1029 3847 5665 7483 9201"]
)
async def test_long_passwords_of_any_characters_are_taken_without_rules(world: Embedded, password: str) -> None:
    await make_user(world, password=password)
    assert isinstance(await attempt(world, password=password), Done)
    with pytest.raises(SignInRefused):
        await attempt(world, password=password[:-1])


@pytest.mark.spec("NIST SP 800-63B-4", "3.1.1.2", "SHALL")
async def test_a_password_is_compared_with_a_blocklist_and_the_reason_is_told(world: Embedded) -> None:
    with pytest.raises(InvalidInput) as refused:
        await users.create(world.authority, world.root, CreateUser("a@example.com", password="1qaz2wsx3edc4rfv"))
    assert "tried first" in str(refused.value)


@pytest.mark.spec("NIST SP 800-63B-4", "3.1.1.2", "SHALL NOT")
async def test_a_password_is_good_for_as_long_as_nobody_changes_it(world: Embedded) -> None:
    await make_user(world)
    world.clock.move(10 * 365 * 86_400)
    assert isinstance(await attempt(world), Done)


@pytest.mark.spec("NIST SP 800-63B-4", "3.1.1.2", "SHALL")
async def test_passwords_are_salted_and_hashed_memory_hard(world: Embedded) -> None:
    one = await factors_of(world, await make_user(world, "a@example.com"))
    two = await factors_of(world, await make_user(world, "b@example.com"))
    assert one.password_hash != two.password_hash
    assert one.password_hash.startswith("$argon2id$")


@pytest.mark.spec("NIST SP 800-63B-4", "3.2.2", "SHALL")
async def test_no_more_than_a_hundred_failures_in_a_row(world: Embedded) -> None:
    user = await make_user(world)
    taken = [await attempts.take(world.authority, user, user.email, "") for _ in range(101)]
    assert [chance.is_open for chance in taken] == [True] * 100 + [False]


@pytest.mark.spec("NIST SP 800-63B-4", "5.2", "SHALL")
async def test_a_session_ends_by_its_age_and_by_lying_idle() -> None:
    async with embedded(session_in=7200, session_idle_in=1800) as world:
        await make_user(world)
        idle, used = (await sign_in(world)).secret.reveal(), (await sign_in(world)).secret.reveal()
        for _ in range(5):
            assert await sessions.find(world.authority, used) is not None
            world.clock.move(1500)
        assert await sessions.find(world.authority, idle) is None
        assert await sessions.find(world.authority, used) is None
