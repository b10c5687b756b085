"""However a stream is cut into pieces, the same is found in it, by either matcher."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keybearer.formats.redaction import redact
from keybearer.scanner import matching
from keybearer.scanner.search import Found, Search
from tests.support.spelling import credential, spellings


def _corpus() -> bytes:
    dice = random.Random(7)
    parts = []
    for number, prefix in enumerate(("kb_sk_live", "acme_pk_test", "kb_rt")):
        for name, data in spellings(credential(prefix, number)):
            filler = bytes(dice.choices(b"abc_ %=\\\n/+9kbsplivet", k=dice.randrange(3000)))
            parts += (filler, b"\n", data, b" \0 " if name.startswith("utf") else b" \n")
    return b"".join(parts)


CORPUS = _corpus()


def facts(found: list[Found]) -> list[tuple[str, int, int, int, str]]:
    return [(one.trace.text, one.offset, one.line, one.column, one.trace.spelling) for one in found]


def whole(data: bytes, matcher: matching.Matching | None = None) -> list[Found]:
    search = Search(matcher)
    return [*search.feed(data), *search.settle()]


EXPECTED = facts(whole(CORPUS))


def test_the_corpus_is_found() -> None:
    assert len(EXPECTED) == 3 * len(list(spellings(credential())))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, len(CORPUS)), max_size=12))
def test_split_anywhere(cuts: list[int]) -> None:
    search, found, last = Search(), [], 0
    for cut in [*sorted(cuts), len(CORPUS)]:
        found += search.feed(CORPUS[last:cut])
        last = cut
    assert facts([*found, *search.settle()]) == EXPECTED


@pytest.mark.parametrize("size", [997, 4096])
def test_small_pieces(size: int) -> None:
    search, found = Search(), []
    for at in range(0, len(CORPUS), size):
        found += search.feed(CORPUS[at : at + size])
    assert facts([*found, *search.settle()]) == EXPECTED


def test_both_matchers_find_the_same() -> None:
    assert matching.is_fast()
    assert facts(whole(CORPUS, matching.plain)) == EXPECTED


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_and_column_count_from_one_in_characters(end: str) -> None:
    data = f"first{end}ärger {credential()}{end}".encode()
    [found] = whole(data)
    assert (found.line, found.column) == (2, 7)


def test_a_line_of_any_length_costs_no_memory() -> None:
    search = Search()
    for _ in range(64):
        assert not [*search.feed(b"x" * (1 << 20))]
        assert len(search._data) < 1 << 17
    [found] = [*search.feed(f" {credential()} ".encode()), *search.settle()]
    assert (found.line, found.column) == (1, (64 << 20) + 2)


def test_a_search_goes_on_where_another_stopped() -> None:
    for cut in range(0, len(CORPUS), 9973):
        first = Search()
        before = [*first.feed(CORPUS[:cut])]
        offset, lines, checked = first.mark
        second = Search()
        second.start_at(offset, lines, checked)
        rest = [*second.feed(CORPUS[offset:]), *second.settle()]
        assert facts([*before, *rest]) == EXPECTED


def test_wrong_checksums_are_counted() -> None:
    search = Search()
    assert not [*search.feed(redact(credential().encode())), *search.settle()]
    assert search.near_misses == 1


@pytest.mark.parametrize("between", ["\n", " "], ids=["lines", "one-line"])
def test_the_cost_of_many_is_linear(between: str) -> None:
    """Anybody can have a server log credentials with right checksums by the thousand: that must not stop a watch."""
    some = between.join(credential(number=number) for number in range(500)).encode() + between.encode()

    def seconds(times: int) -> float:
        search, data = Search(), some * times
        began = time.process_time()
        assert len([*search.feed(data), *search.settle()]) == 500 * times
        return time.process_time() - began

    seconds(1)
    assert seconds(32) < 3 * 8 * min(seconds(4) for _ in range(3))
