"""Which passwords may be chosen, and what an e-mail address is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.assurance import LEVELS, level_of, meets
from keybearer.core.email_address import MAX_LENGTH, normalise
from keybearer.core.password_policy import TOO_COMMON, is_long, problem_of
from keybearer.services.passwords import COMMON, common_passwords
from keybearer.settings import Settings

SMALL = frozenset({"password", "iloveyou123", "correcthorsebatterystaple"})


def problem(password: str, *, alone: bool = True, context: tuple[str, ...] = ()) -> str | None:
    return problem_of(password, has_second_factor=not alone, common=SMALL, context=context)


@pytest.mark.parametrize(
    ("length", "alone", "right"), [(7, False, False), (8, False, True), (14, True, False), (15, True, True)]
)
def test_the_length_is_counted_in_characters(length: int, alone: bool, right: bool) -> None:
    for alphabet in ("qZ7mK4xW9pL2vR6t", "éüñçøåßþđłŋħœæðı", "🦊🐻🦉🐙🦋🐢🦀🐝🦔🐧🦜🐳🦎🐞🦩🐌"):
        assert (problem(alphabet[:length], alone=alone) is None) is right


def test_long_passwords_are_taken_whole() -> None:
    long = "".join(chr(0x4E00 + number) for number in range(1024))
    assert problem(long) is None
    assert problem(long + "x") is not None
    assert problem("all small letters and not one digit") is None, "no rule of composition"


@pytest.mark.parametrize(
    "password",
    [
        *("correcthorsebatterystaple", "CorrectHorseBatteryStaple", "passwordpassword", "PASSWORDpassword"),
        *("aaaaaaaaaaaaaaaa", "abababababababab", "abcabcabcabcabc", "123456789012345678901", "qwertyuiopqwertyuiop"),
        *(
            "abcdefghijklmnopqrst",
            "zyxwvutsrqponmlk",
            "0987654321098765",
            "hunter2 hunter2",
            "asdfghjklasdfghjkl",
            "1234123412341234",
        ),
    ],
)
def test_what_is_tried_first_is_refused(password: str) -> None:
    assert problem(password) == TOO_COMMON


def test_what_belongs_to_the_user_or_the_service_is_refused() -> None:
    context = ("ada.lovelace@example.com", "Ada Lovelace", "keybearer", "id.example.com")
    for password in ("adalovelace12345!", "Keybearer2026!!!!!", "lovelace@example", "ada.lovelace@example.com"):
        assert problem(password, context=context) is not None, password
    assert problem("lovelace quartz overture", context=context) is None
    assert problem("keybearer12345", alone=False, context=context) is not None


def test_the_same_characters_are_the_same_password() -> None:
    composed, decomposed = "\u00e9" * 5 + "quartz moon", "e\u0301" * 5 + "quartz moon"
    assert is_long(composed) is is_long(decomposed) is True


def test_well_known_passwords_are_known() -> None:
    common = common_passwords(Settings())
    assert len(common) > 11_000
    assert {"password", "iloveyou", "1qaz2wsx3edc4rfv"} <= common
    assert all(len(line) >= 8 and line == line.lower() for line in COMMON.read_text().splitlines())


def test_the_operators_list_is_asked_too(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "ours.txt"
    path.write_text("Acme Rocket Skates\nshort\n")
    common = common_passwords(Settings(password_blocklist=str(path)))
    assert "acme rocket skates" in common
    assert "short" not in common
    assert "password" in common


@given(st.text(max_size=60), st.booleans())
def test_any_text_is_judged(password: str, has_second_factor: bool) -> None:
    found = problem_of(password, has_second_factor=has_second_factor, common=SMALL, context=(password, "x"))
    assert found is None or isinstance(found, str)
    if found is None:
        assert len(password) >= 8


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        (" ada+x@example.com ", "ada+x@example.com"),
        ("ada@localhost", "ada@localhost"),
        ("ada@EXÄMPLE.de", "ada@xn--exmple-cua.de"),
        ("o'brien@sub.example.co.uk", "o'brien@sub.example.co.uk"),
    ],
)
def test_an_address_has_one_spelling(text: str, address: str) -> None:
    assert normalise(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "@",
            "a@",
            "@b",
            "a b@c",
            "a@b c",
            "a@b\n",
            "a@b\r\nBcc: c@d",
            "a\x00@b",
            '"a"@b',
            "a@b@c",
            "a@.b",
            "a@b.",
        ),
        *(
            "a@b.",
            "a@-b",
            "äda@example.com",
            "\u212ada@example.com",
            "a@b-",
            "a@b..c",
            "<a@b>",
            "a,b@c",
            "a;b@c",
            "a@[127.0.0.1]",
            "a\u200b@b",
            "a\ud800@b",
        ),
        *("x" * 65 + "@b", "a@" + "b" * 64, "a@" + "b." * 130 + "c", "a" * MAX_LENGTH + "@b"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert normalise(text) is None


@given(st.text(max_size=300))
def test_an_address_is_its_own_spelling(text: str) -> None:
    address = normalise(text)
    if address is not None:
        assert normalise(address) == address
        assert not set(address) & set(" \r\n\t\0<>,;")


def test_levels_are_ordered_and_unknown_ones_never_meet() -> None:
    assert [level_of(amr) for amr in (("pwd",), ("pwd", "otp", "mfa"), ("pop", "user", "mfa"))] == list(LEVELS)
    for low, weak in enumerate(LEVELS):
        for high, strong in enumerate(LEVELS):
            assert meets(strong, weak) is (high >= low)
    assert not meets("", LEVELS[0])
    assert not meets(LEVELS[-1], "urn:something:else")
