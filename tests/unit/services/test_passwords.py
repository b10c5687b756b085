"""Hashes of passwords: ours, those of other systems, and that no other thread or answer waits for them."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import bcrypt
import pytest
from argon2 import PasswordHasher, Type

from keybearer.core.errors import InvalidInput
from keybearer.services.passwords import Passwords, check_choice, is_outdated, problem_of_hash
from keybearer.settings import Settings

PASSWORD = "quartz lantern övertüre 41"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_hash_is_argon2id_with_19_mib_and_salted() -> None:
    pool = Passwords(2)
    one, two = await asyncio.gather(pool.hash(PASSWORD), pool.hash(PASSWORD))
    assert one != two
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert not is_outdated(one)
    assert await pool.matches(one, PASSWORD)
    for wrong in (PASSWORD[:-1], PASSWORD + " ", PASSWORD.upper(), "", PASSWORD + "x" * 2000, "\ud800"):
        assert not await pool.matches(one, wrong)
    assert not await pool.matches("", "nobody has this password"), "not even the one of the decoy"
    pool.close()


@pytest.mark.anyio
async def test_no_character_of_a_long_password_is_lost() -> None:
    pool = Passwords(1)
    long = "".join(chr(0x4E00 + number) for number in range(1024))
    encoded = await pool.hash(long)
    assert await pool.matches(encoded, long)
    assert not await pool.matches(encoded, long[:-1] + "x")
    pool.close()


@pytest.mark.anyio
async def test_the_event_loop_goes_on_while_passwords_are_hashed() -> None:
    pool = Passwords(2)
    hashing = asyncio.gather(*(pool.hash(PASSWORD) for _ in range(8)))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    await hashing
    assert turns > 100
    pool.close()


def django(digest: str = "sha256") -> str:
    derived = hashlib.pbkdf2_hmac(digest, PASSWORD.encode(), b"salt", 1000)
    return f"pbkdf2_{digest}$1000$salt${base64.b64encode(derived).decode()}"


FOREIGN = {
    "bcrypt": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(),
    "django": django(),
    "django sha512": django("sha512"),
    "argon2i": PasswordHasher(1, 1024, 1, type=Type.I).hash(PASSWORD),
    "argon2id of other strength": PasswordHasher(1, 1024, 1).hash(PASSWORD),
}


@pytest.mark.anyio
@pytest.mark.parametrize("encoded", FOREIGN.values(), ids=FOREIGN)
async def test_hashes_of_other_systems_are_checked_and_outdated(encoded: str) -> None:
    pool = Passwords(1)
    assert problem_of_hash(encoded) is None
    assert is_outdated(encoded)
    assert await pool.matches(encoded, PASSWORD)
    assert not await pool.matches(encoded, PASSWORD + "x")
    assert not await pool.matches(encoded, encoded), "a stored hash is no password"
    pool.close()


@pytest.mark.anyio
async def test_a_long_password_of_a_bcrypt_system_still_opens() -> None:
    pool = Passwords(1)
    long = "0123456789" * 12
    encoded = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()
    assert await pool.matches(encoded, long)
    pool.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "encoded", ["plain", "$argon2id$", "$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA", "$2b$12$short", "md5$x"]
)
async def test_what_is_no_hash_matches_nothing(encoded: str) -> None:
    pool = Passwords(1)
    assert problem_of_hash(encoded) is not None
    assert not await pool.matches(encoded, encoded)
    pool.close()


def test_a_refusal_names_the_field_and_never_the_password() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_choice(Settings(), "hunter2 hunter2", has_second_factor=False, field="new")
    assert refused.value.problems[0].field == "new"
    assert "hunter2" not in str(refused.value)
