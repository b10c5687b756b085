"""The JWK Set that the specification shows: two public keys, one of them not for signatures."""

from __future__ import annotations

import pytest

from keybearer.formats import jws
from keybearer.formats.jws import ASYMMETRIC, InvalidJws
from keybearer.services.key_sets import keys_in

EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "use": "enc",
    "kid": "1",
}
RSA = {
    "kty": "RSA",
    "n": (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
        "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
        "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
        "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    ),
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
NOTHING = ".e30." + "A" * 86  # an empty payload, and no signature of anybody


def refusal(header: str, key: dict[str, str]) -> str | None:
    with pytest.raises(InvalidJws) as refused:
        jws.verify(jws.parse(header + NOTHING), key, ASYMMETRIC)
    return refused.value.detail


@pytest.mark.spec("RFC 7517", "5", "SHOULD")
def test_the_set_of_appendix_a_1_is_read_and_what_is_no_key_left_out() -> None:
    assert list(keys_in({"keys": [EC, "no key", RSA], "more": 1})) == [EC, RSA]
    assert not keys_in({"keys": "none"})


@pytest.mark.spec("RFC 7517", "4.2", "MUST")
@pytest.mark.spec("RFC 7517", "4.4", "MUST")
def test_a_key_serves_what_it_says_it_is_for() -> None:
    es256, rs256, ps256 = "eyJhbGciOiJFUzI1NiJ9", "eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJQUzI1NiJ9"
    assert refusal(es256, EC) == "the key is not for signatures"
    assert refusal(ps256, RSA) == "the key is for another algorithm"
    # The key itself can be used: only then is the signature looked at.
    assert refusal(es256, {**EC, "use": "sig"}) == "the signature is wrong"
    assert refusal(rs256, RSA) == "the signature is wrong"
