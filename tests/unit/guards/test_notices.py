"""Server-sent events, in whatever pieces they come."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.guards.notices import MAX_NOTICE, Notice, Notices

TEXT = (
    b"retry: 1000\n\n"
    b"id: 7\nevent: key.revoke\ndata: {}\n\n"
    b":\n\n"
    b'event: heartbeat\r\ndata: {"head":7}\r\n\r\n'
    b"id: 8\nevent: cut off"
)
FOUND = [Notice("7", "key.revoke", b"{}"), Notice("", "heartbeat", b'{"head":7}')]


@given(st.lists(st.integers(0, len(TEXT)), max_size=8))
def test_the_pieces_do_not_matter(cuts: list[int]) -> None:
    notices, found = Notices(), []
    places = [0, *sorted(cuts), len(TEXT)]
    for start, end in pairwise(places):
        found += notices.feed(TEXT[start:end])
    assert found == FOUND


def test_what_never_ends_is_given_up() -> None:
    notices = Notices()
    assert notices.feed(b"x" * MAX_NOTICE) == []
    with pytest.raises(ValueError, match="too long"):
        notices.feed(b"x")
