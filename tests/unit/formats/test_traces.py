"""Credentials are found however they are spelled, and nothing else is."""

import base64
import re
from pathlib import Path

import pytest

import keybearer
from keybearer.formats import hints, prefixes
from keybearer.formats.traces import HINTS, LEFT, RIGHT, Spelling, Trace, traces
from tests.support.spelling import credential, spellings

PREFIXES = ["kb_sk_live", "kb_pk_test", "acme7_sk_test", "a_pk_live", *(f"kb_{letters}" for letters in prefixes.KINDS)]


def found(data: bytes) -> list[Trace]:
    return traces(data, hints.hits(data))


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_spelling_is_found_once_and_whole(prefix: str) -> None:
    text = credential(prefix)
    for name, data in spellings(text):
        for before in (b"", b"key=", b"x" * 5000 + b" "):
            end = b" \0" if name.startswith("utf") else b" end"
            whole = [trace for trace in found(before + data + end) if trace.is_whole]
            assert [trace.text for trace in whole] == [text], (name, len(before))
            assert whole[0].prefix == prefix


@pytest.mark.parametrize("spelling", ["plain", "percent-all", "mime-1-64", "utf-16-le"])
def test_where_a_trace_stands(spelling: str) -> None:
    data = dict(spellings(credential()))[spelling]
    [trace] = found(b"before " + data + (b" \0" if spelling.startswith("utf") else b" behind"))
    assert trace.start >= 7
    assert trace.end <= 7 + len(data)
    if spelling in ("plain", "percent-all", "utf-16-le"):
        assert (trace.start, trace.end) == (7, 7 + len(data))


def test_a_wrong_checksum_or_a_missing_end_is_no_whole_credential() -> None:
    text = credential()
    mistyped = text[:-1] + ("0" if text[-1] != "0" else "1")
    for data in (mistyped, text[:-1], text[:40], base64.b64encode(mistyped.encode()).decode()):
        assert [trace.is_whole for trace in found(f" {data} ".encode())] == [False]


def test_what_only_looks_like_one_does_not_hide_the_next() -> None:
    text = credential()
    data = f"kb_sk_live_{'A' * 16}_{'B' * 36}{text}".encode()
    assert [trace.text for trace in found(data) if trace.is_whole] == [text]


def test_two_in_a_row_are_two() -> None:
    first, second = credential(number=1), credential("kb_at", number=2)
    assert [trace.text for trace in found(f"{first}{second}".encode())] == [first, second]


def test_all_that_a_search_of_pieces_relies_on_is_bounded() -> None:
    widest = max((len(data) for _, data in spellings(credential("a" * 16 + "_sk_live"))), default=0)
    assert widest < RIGHT
    assert max(len(hint.pattern) for hint in HINTS if hint.is_literal) < LEFT


def test_the_brand_is_what_the_checksum_says_not_what_stands_before() -> None:
    text = credential("shop_sk_live")
    [trace] = found(f"abc{text}".encode())
    assert (trace.prefix, trace.start, trace.spelling) == ("shop_sk_live", 3, Spelling.PLAIN)


def test_a_trace_does_not_show_its_text() -> None:
    text = credential()
    assert text not in repr(found(text.encode()))


def test_every_prefix_in_the_code_is_known() -> None:
    """A new kind of credential that the scanner does not know would never be found."""
    source = Path(keybearer.__file__).parent
    declared = set()
    for path in source.rglob("*.py"):
        declared |= set(re.findall(r'PREFIX: Final = "kb_([a-z]+)"', path.read_text("utf-8")))
    assert declared == set(prefixes.KINDS)


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [("kb_sk_live", "secret_key"), ("acme_pk_test", "publishable_key"), ("kb_rt", "refresh_token"), ("acme_rt", "")],
)
def test_kinds(prefix: str, kind: str) -> None:
    assert prefixes.kind_of(prefix) == kind
