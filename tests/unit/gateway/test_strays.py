"""What is written as a credential of this authority is told from what upstreams have of their own."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from keybearer.core import credential
from keybearer.core.instant import Instant
from keybearer.gateway.strays import is_credential

ISSUER = "https://keys.example"


def _jwt(typ: str, issuer: str) -> str:
    parts = (f'{{"alg":"ES256","typ":"{typ}","kid":"k"}}', f'{{"iss":"{issuer}"}}', "x" * 64)
    return ".".join(urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize("prefix", ["kb_sk_live", "kb_at", "kb_rt", "acme_sk_live"])
@pytest.mark.parametrize("scheme", ["", "Bearer ", "DPoP  "])
def test_keys_and_tokens_are_told_by_their_checksum(prefix: str, scheme: str) -> None:
    text = scheme + credential.mint(prefix, credential.new_id(Instant(0))).reveal()
    assert is_credential(text.encode(), ISSUER)
    assert not is_credential(text[:-1].encode() + (b"a" if text[-1] != "a" else b"b"), ISSUER)


@pytest.mark.parametrize(
    ("typ", "issuer", "expected"),
    [("at+jwt", ISSUER, True), ("at+jwt", "https://other.example", False), ("JWT", ISSUER, False)],
)
def test_access_tokens_of_this_authority_are_told_from_other_jwts(typ: str, issuer: str, expected: bool) -> None:
    assert is_credential(_jwt(typ, issuer).encode(), ISSUER) is expected
    assert is_credential(f"Bearer {_jwt(typ, issuer)}".encode(), ISSUER) is expected


@pytest.mark.parametrize("value", [b"", b"dark", b"a_b", b"x" * 300, b"\xff" * 60, b"eyJ" + b"a" * 50 + b".b.c"])
def test_other_values_are_none(value: bytes) -> None:
    assert not is_credential(value, ISSUER)
