"""PKCE, with the worked example of its appendix."""

import pytest

from keybearer.core import pkce

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.spec("RFC 7636", "4.6", "MUST")
def test_the_example_of_appendix_b() -> None:
    assert pkce.challenge_of(VERIFIER) == CHALLENGE
    assert pkce.check(CHALLENGE, VERIFIER)


@pytest.mark.parametrize("length", [42, 43, 128, 129])
def test_how_long_a_verifier_may_be(length: int) -> None:
    assert pkce.is_verifier("a" * length) is (43 <= length <= 128)


@pytest.mark.parametrize(
    "verifier", ["", VERIFIER[:-1], VERIFIER + "=", VERIFIER[:-1] + "ä", VERIFIER + "\n", VERIFIER.upper(), CHALLENGE]
)
def test_another_verifier_is_not_it(verifier: str) -> None:
    assert not pkce.check(CHALLENGE, verifier)


@pytest.mark.parametrize("challenge", ["", CHALLENGE + "=", CHALLENGE[:-1], CHALLENGE + "A", CHALLENGE[:-1] + "+"])
def test_what_is_no_challenge(challenge: str) -> None:
    assert not pkce.is_challenge(challenge)
    assert pkce.is_challenge(CHALLENGE)
