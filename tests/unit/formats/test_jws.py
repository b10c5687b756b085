"""Strict JWS: Wycheproof's vectors, and what our own rules refuse beyond them."""

import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwk
from joserfc import jws as joserfc_jws

from keybearer.formats import jws
from keybearer.formats.jws import ASYMMETRIC, HMACS, InvalidJws

VECTORS = Path(__file__).parents[2] / "vectors" / "wycheproof_json_web_signature_test.json"
EVERY = ASYMMETRIC | HMACS | {"ES512", "RS384", "RS512", "PS384", "PS512"}
STRICTER = {
    **dict.fromkeys((259, 264, 268, 272, 320, 325), "part is empty"),  # claims are never empty
    **dict.fromkeys((346, 347, 350, 351), "another algorithm"),  # the JWK says which one it is for
    **dict.fromkeys((372, 373), "not base64url"),  # lax decoders skip the characters that do not belong
}
"""Vectors that are valid as signatures, and that we refuse all the same, with the reason."""


def _vectors() -> list[Any]:
    groups = json.loads(VECTORS.read_text())["testGroups"]
    return [
        pytest.param(group.get("public") or group["private"], test, id=str(test["tcId"]))
        for group in groups
        for test in group["tests"]
    ]


@pytest.mark.parametrize(("key", "test"), _vectors())
def test_wycheproof(key: dict[str, Any], test: dict[str, Any]) -> None:
    try:
        jws.verify(jws.parse(test["jws"]), key, EVERY)
    except InvalidJws as error:
        reason = error.detail or ""
        if test["result"] == "valid":
            wanted = STRICTER.get(test["tcId"], "the payload is not")
            assert wanted in reason, f"{test['comment']}: refused because {reason}"
    else:
        assert test["result"] == "valid", test["comment"]


KEY = jwk.ECKey.generate_key("P-256")
PUBLIC = KEY.as_dict(private=False)


def _signed(payload: bytes = b'{"sub":"ada"}', **header: Any) -> str:
    text = joserfc_jws.serialize_compact({"alg": "ES256"}, payload, KEY, algorithms=["ES256"])
    if not header:
        return text
    # Signed by hand, since joserfc refuses to write much of this.
    head = jws.encode_part(json.dumps({"alg": "ES256", **header}).encode())
    body = jws.encode_part(payload)
    signature = joserfc_jws.JWSRegistry.algorithms["ES256"].sign(f"{head}.{body}".encode(), KEY)
    return f"{head}.{body}.{jws.encode_part(signature)}"


def test_a_good_one_gives_its_claims() -> None:
    assert jws.verify(jws.parse(_signed()), PUBLIC, ASYMMETRIC) == {"sub": "ada"}
    assert jws.verify(jws.parse(_signed(kid="k1", typ="JWT")), PUBLIC, ASYMMETRIC) == {"sub": "ada"}


@pytest.mark.spec("RFC 8725", "3.1", "MUST")
@pytest.mark.spec("RFC 7515", "4.1.11", "MUST")
@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},  # PyJWT CVE-2026-32597
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"jwk": PUBLIC},  # Authlib CVE-2026-27962
        {"jku": "https://attacker.example/jwks"},
        {"x5u": "https://attacker.example/cert"},
        {"x5c": ["MIIB"]},
        {"kid": "k" * 256},
        {"kid": 7},
        {"typ": ["JWT"]},
    ],
    ids=lambda header: next(iter(header)),
)
def test_headers_that_are_refused_although_the_signature_is_good(header: dict[str, Any]) -> None:
    with pytest.raises(InvalidJws):
        jws.verify(jws.parse(_signed(**header)), PUBLIC, ASYMMETRIC)


@pytest.mark.spec("RFC 8725", "3.1", "MUST")
def test_the_public_key_is_no_hmac_secret() -> None:
    """Authlib CVE-2024-37568: a public key, known to all, taken as the secret of HS256."""
    signed = ".".join(jws.encode_part(part) for part in (b'{"alg":"HS256"}', b"{}"))
    mac = hmac.digest(KEY.as_pem(private=False), signed.encode(), "sha256")
    forged = f"{signed}.{jws.encode_part(mac)}"
    with pytest.raises(InvalidJws, match="valid") as refused:
        jws.verify(jws.parse(forged), PUBLIC, EVERY)
    assert refused.value.detail == "the key is not for this algorithm"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "HS256", "ES256 ", "RS256"])
def test_an_algorithm_that_was_not_allowed(algorithm: str) -> None:
    head = jws.encode_part(json.dumps({"alg": algorithm}).encode())
    for signature in ("", "AA", _signed().rpartition(".")[2]):
        with pytest.raises(InvalidJws):
            jws.verify(jws.parse(f"{head}.{jws.encode_part(b'{}')}.{signature}"), PUBLIC, frozenset({"ES256"}))


@pytest.mark.spec("RFC 7515", "4", "MUST")
@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "e30.e30.AA",
        "e30.e30",
        "e30.e30.AA.AA",
        " e30.e30.AA",
        jws.encode_part(b'{"alg":"ES256","alg":"none"}') + ".e30.AA",
        jws.encode_part(b'["ES256"]') + ".e30.AA",
        jws.encode_part(b'{"alg":["ES256"]}') + ".e30.AA",
        jws.encode_part(b'{"alg":NaN}') + ".e30.AA",
        jws.encode_part(b'{"alg":"ES256","x":' + b"[" * 3000 + b"]" * 3000 + b"}") + ".e30.AA",
        jws.encode_part(b'{"alg":"\xff"}') + ".e30.AA",
        "A" * 1_000_000,
        jws.encode_part(b'{"alg":"ES256"}') + ".e30.AB",  # AA, AB, AC and AD are one byte; only AA is canonical
        jws.encode_part(b'{"alg":"ES256"}') + ".e30=.AA",
        jws.encode_part(b'{"alg":"ES256"}') + ".e3\n0.AA",
    ],
    ids=range(18),
)
def test_shapes_that_are_refused_before_any_key_is_looked_at(text: str) -> None:
    with pytest.raises(InvalidJws):
        jws.parse(text)


def test_every_prefix_and_every_flipped_bit_of_a_token_is_refused() -> None:
    """ZITADEL CVE-2026-27840: truncated tokens were valid."""
    text = _signed()
    for length in range(len(text)):
        with pytest.raises(InvalidJws):
            jws.verify(jws.parse(text[:length]), PUBLIC, ASYMMETRIC)
    for index in range(len(text)):
        for bit in range(7):
            flipped = text[:index] + chr(ord(text[index]) ^ (1 << bit)) + text[index + 1 :]
            with pytest.raises(InvalidJws):
                jws.verify(jws.parse(flipped), PUBLIC, ASYMMETRIC)


@pytest.mark.parametrize(
    "change",
    [{"use": "enc"}, {"key_ops": ["sign"]}, {"alg": "ES384"}, {"kty": "RSA"}, {"crv": "P-384"}, {"x": "AA"}],
    ids=str,
)
def test_a_key_that_is_not_for_this(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidJws):
        jws.verify(jws.parse(_signed()), {**PUBLIC, **change}, ASYMMETRIC)


def test_keys_that_are_too_weak() -> None:
    weak = jwk.OctKey.import_key(b"k" * 16)
    text = joserfc_jws.serialize_compact({"alg": "HS256"}, b"{}", weak, algorithms=["HS256"])
    with pytest.raises(InvalidJws) as refused:
        jws.verify(jws.parse(text), weak.as_dict(private=True), HMACS)
    assert refused.value.detail == "the HMAC key is too short"


def test_a_member_that_comes_twice_in_the_payload() -> None:
    with pytest.raises(InvalidJws):
        jws.verify(jws.parse(_signed(b'{"sub":"ada","sub":"eve"}')), PUBLIC, ASYMMETRIC)


@pytest.mark.parametrize("allowed", [frozenset(), HMACS, ASYMMETRIC - {"ES256"}], ids=["none", "hmacs", "others"])
def test_a_good_signature_of_an_algorithm_that_is_not_wanted_here(allowed: frozenset[str]) -> None:
    """RFC 8725 §3.1: which algorithms count, the caller says, and not the key."""
    assert jws.verify(jws.parse(_signed()), PUBLIC, frozenset({"ES256"})) == {"sub": "ada"}
    with pytest.raises(InvalidJws) as refused:
        jws.verify(jws.parse(_signed()), PUBLIC, allowed)
    assert refused.value.detail == "an algorithm that is not allowed here"
