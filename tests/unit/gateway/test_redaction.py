"""Secrets are blotted out of a stream wherever it is cut, and nothing else is."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.gateway.redaction import Blotter, spellings

SECRET = 'sk"third/party+key='


def blotted(text: bytes, size: int) -> bytes:
    blotter = Blotter(spellings(SECRET))
    pieces = [blotter.feed(text[at : at + size]) for at in range(0, len(text), size)]
    return b"".join([*pieces, blotter.flush()])


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "spelt",
    [SECRET, quote(SECRET, safe=""), quote(SECRET, safe="").lower(), json.dumps(SECRET)[1:-1]],
    ids=["plain", "percent", "percent-lower", "json"],
)
def test_a_secret_is_found_wherever_the_stream_is_cut(spelt: str, size: int) -> None:
    text = f"before {spelt} between {spelt} after".encode()
    assert blotted(text, size) == f"before {'*' * len(spelt)} between {'*' * len(spelt)} after".encode()


@pytest.mark.parametrize("shift", range(3))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode], ids=["plain", "url"])
def test_a_secret_in_base64_is_found_wherever_it_begins(shift: int, encode: object) -> None:
    encoded = encode(b"u" * shift + SECRET.encode() + b"xyz")  # type: ignore[operator]
    seen = blotted(encoded, 5)
    assert len(seen) == len(encoded)
    assert seen.count(b"*") >= len(SECRET) * 8 // 6 - 2


@given(text=st.binary(max_size=300), size=st.integers(1, 40))
def test_what_is_no_secret_passes_as_it_is(text: bytes, size: int) -> None:
    assert blotted(text, size) == text


def test_the_beginning_of_a_secret_waits_only_as_long_as_it_may_be_one() -> None:
    blotter = Blotter([b"secret-text"])
    assert blotter.feed(b"data: sec") == b"data: "
    assert blotter.feed(b"ond\n\n") == b"second\n\n"
    assert blotter.feed(b"secret") == b""
    assert blotter.flush() == b"secret"
