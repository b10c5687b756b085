"""Refresh tokens: an old one of ours is told from a guess, without keeping it."""

import pytest

from keybearer.core import credential
from keybearer.core.instant import Instant
from keybearer.formats import refresh_token

KEY = b"k" * 32
FAMILY = "rt_" + credential.new_id(Instant(1_800_000_000_000_000))


def test_a_token_of_ours_is_genuine_under_our_key_and_for_its_family_alone() -> None:
    token = refresh_token.parse(refresh_token.mint(FAMILY, KEY).reveal())
    assert token is not None
    assert token.family_id == FAMILY
    assert refresh_token.is_genuine(token, KEY)
    assert not refresh_token.is_genuine(token, b"x" * 32)
    assert not refresh_token.is_genuine(token._replace(family_id=FAMILY[:-1] + "x"), KEY)


def test_a_guess_that_names_a_family_is_not_genuine() -> None:
    guess = refresh_token.parse(credential.mint("kb_rt", FAMILY.removeprefix("rt_")).reveal())
    assert guess is not None
    assert guess.family_id == FAMILY
    assert not refresh_token.is_genuine(guess, KEY)


def test_no_two_tokens_are_the_same() -> None:
    assert len({refresh_token.mint(FAMILY, KEY).reveal() for _ in range(100)}) == 100


@pytest.mark.parametrize("prefix", ["kb_at", "kb_sk_live", "kb_cs", "kb_ac"])
def test_other_credentials_are_no_refresh_tokens(prefix: str) -> None:
    assert refresh_token.parse(credential.mint(prefix, FAMILY.removeprefix("rt_")).reveal()) is None


def test_every_prefix_and_every_flipped_character_is_refused() -> None:
    text = refresh_token.mint(FAMILY, KEY).reveal()
    for length in range(len(text)):
        assert refresh_token.parse(text[:length]) is None
    for index in range(len(text)):
        other = "A" if text[index] != "A" else "B"
        assert refresh_token.parse(text[:index] + other + text[index + 1 :]) is None
