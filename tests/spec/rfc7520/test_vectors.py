"""The signatures of the JOSE cookbook: sentences, not tokens, so the signature is what is good about them."""

from __future__ import annotations

from typing import Any

import pytest

from keybearer.formats import jws
from keybearer.formats.jws import InvalidJws

RSA_KEY = {
    "kty": "RSA",
    "kid": "bilbo.baggins@hobbiton.example",
    "use": "sig",
    "n": (
        "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRB"
        "SFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD"
        "1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_"
        "qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw"
    ),
    "e": "AQAB",
}
EC_KEY = {
    "kty": "EC",
    "kid": "bilbo.baggins@hobbiton.example",
    "use": "sig",
    "crv": "P-521",
    "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
    "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
}
HMAC_KEY = {
    "kty": "oct",
    "kid": "018c0ae5-4d9b-471b-bfd6-eef314bc7037",
    "use": "sig",
    "alg": "HS256",
    "k": "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
}
PAYLOAD = (
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUg"
    "cm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0"
    "IGJlIHN3ZXB0IG9mZiB0by4"
)
BILBO = "ImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9"
SIGNED: dict[str, tuple[dict[str, str], str, str]] = {
    "4.1 RS256": (
        RSA_KEY,
        "eyJhbGciOiJSUzI1NiIs" + BILBO,
        (
            "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi8"
            "4wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocS"
            "adnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJu"
            "shZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg"
        ),
    ),
    "4.2 PS384": (
        RSA_KEY,
        "eyJhbGciOiJQUzM4NCIs" + BILBO,
        (
            "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItl"
            "lVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0"
            "TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0"
            "uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw"
        ),
    ),
    "4.3 ES512": (
        EC_KEY,
        "eyJhbGciOiJFUzUxMiIs" + BILBO,
        (
            "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_"
            "sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2"
        ),
    ),
    "4.4 HS256": (
        HMAC_KEY,
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9",
        "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
    ),
}


def refusal(text: str, key: dict[str, Any], algorithm: str) -> str:
    with pytest.raises(InvalidJws) as refused:
        jws.verify(jws.parse(text), key, frozenset({algorithm}))
    return refused.value.detail or ""


@pytest.mark.spec("RFC 7515", "5.2", "MUST")
@pytest.mark.parametrize("example", list(SIGNED))
def test_the_signature_is_good_and_a_changed_one_is_not(example: str) -> None:
    key, header, signature = SIGNED[example]
    algorithm = example.split()[1]
    # What is refused is that a sentence is no JSON object, and that is looked at after the signature.
    assert "payload" in refusal(f"{header}.{PAYLOAD}.{signature}", key, algorithm)
    changed = ("A" if signature[9] != "A" else "B").join((signature[:9], signature[10:]))
    assert refusal(f"{header}.{PAYLOAD}.{changed}", key, algorithm) == "the signature is wrong"
    other = ("A" if PAYLOAD[9] != "A" else "B").join((PAYLOAD[:9], PAYLOAD[10:]))
    assert refusal(f"{header}.{other}.{signature}", key, algorithm) == "the signature is wrong"


@pytest.mark.spec("RFC 8725", "3.1", "MUST")
@pytest.mark.parametrize("example", list(SIGNED))
def test_a_key_of_another_kind_never_comes_to_the_signature(example: str) -> None:
    key, header, signature = SIGNED[example]
    algorithm = example.split()[1]
    for other in (RSA_KEY, EC_KEY, HMAC_KEY):
        if other is not key:
            assert "key is" in refusal(f"{header}.{PAYLOAD}.{signature}", other, algorithm)


def test_detached_content_is_no_token() -> None:
    key, header, signature = SIGNED["4.4 HS256"]
    with pytest.raises(InvalidJws):
        jws.verify(jws.parse(f"{header}..{signature}"), key, frozenset({"HS256"}))
