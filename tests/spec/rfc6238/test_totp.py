"""Time-based codes, by the vectors of the specification (of which six digits are used) and by its rules."""

from __future__ import annotations

import base64

import pytest

from keybearer.core.instant import Instant
from keybearer.core.users import Factors, Totp
from keybearer.keyring import FileKeyring, new_document
from keybearer.services.sealing import seal
from keybearer.services.second_factor import STEP_IN, accept_totp

KEYRING = FileKeyring(new_document(), "test")
VECTORS = {
    59: "94287082",
    1111111109: "07081804",
    1111111111: "14050471",
    1234567890: "89005924",
    2000000000: "69279037",
    20000000000: "65353130",
}
"""Seconds since the epoch, and the code of eight digits for SHA-1. Appendix B."""


def factors(user_id: str = "user_1") -> Factors:
    sealed = seal(KEYRING, "totp", base64.b32encode(b"12345678901234567890"), user_id.encode())
    at = Instant(0)
    return Factors(id="fac_1", created_at=at, updated_at=at, user_id=user_id, totp=Totp(sealed, at, at))


def at(seconds: int) -> Instant:
    return Instant(seconds * 1_000_000)


@pytest.mark.spec("RFC 6238", "Appendix B", "vectors")
@pytest.mark.parametrize("seconds", VECTORS)
def test_the_vectors(seconds: int) -> None:
    code = VECTORS[seconds][-6:]
    assert accept_totp(KEYRING, factors(), code, at(seconds)) is not None
    wrong = code[:-1] + str((int(code[-1]) + 1) % 10)
    assert accept_totp(KEYRING, factors(), wrong, at(seconds)) is None
    assert accept_totp(KEYRING, factors(), code[1:], at(seconds)) is None
    assert accept_totp(KEYRING, factors(), VECTORS[seconds], at(seconds)) is None


@pytest.mark.spec("RFC 6238", "5.2", "MUST NOT")
def test_a_code_that_was_accepted_is_not_accepted_again() -> None:
    before = factors()
    used = accept_totp(KEYRING, before, "287082", at(59))
    assert used is not None
    assert used.last_step == 1
    after = Factors(id="fac_1", created_at=at(0), updated_at=at(0), user_id="user_1", totp=used)
    assert accept_totp(KEYRING, after, "287082", at(59)) is None


@pytest.mark.spec("RFC 6238", "5.2", "RECOMMENDED")
def test_a_step_is_thirty_seconds_and_a_code_lives_no_longer() -> None:
    assert STEP_IN == 30_000_000
    for seconds in (30, 59):
        assert accept_totp(KEYRING, factors(), "287082", at(seconds)) is not None
    for seconds in (29, 60, 89):
        assert accept_totp(KEYRING, factors(), "287082", at(seconds)) is None


@pytest.mark.spec("RFC 6238", "5.1", "RECOMMENDED")
def test_the_secret_is_stored_sealed_and_bound_to_its_user() -> None:
    mine = factors()
    assert mine.totp is not None
    assert b"12345678901234567890" not in mine.totp.sealed
    assert base64.b32encode(b"12345678901234567890") not in mine.totp.sealed
    moved = Factors(id="fac_2", created_at=at(0), updated_at=at(0), user_id="user_2", totp=mine.totp)
    assert accept_totp(KEYRING, moved, "287082", at(59)) is None
