"""How long a view may be trusted: never longer than it was whole, whatever the network did to the stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keybearer.guards.freshness import DRIFT_PER_MILLION, LIFETIME_NS, ROUNDING_NS, Anchor

MS = 1_000_000


def test_a_heartbeat_vouches_from_when_it_was_written_not_from_when_it_came() -> None:
    anchor = Anchor(asked_at=1_000 * MS)
    assert anchor.fresh_until(clock=50_000, age=0) == 1_000 * MS - ROUNDING_NS + LIFETIME_NS
    later = anchor.fresh_until(clock=50_200, age=30)
    drift = 200 * MS * DRIFT_PER_MILLION // 1_000_000
    assert later == 1_000 * MS + 200 * MS - drift - ROUNDING_NS - 30 * MS + LIFETIME_NS


def test_an_age_from_the_future_gives_nothing() -> None:
    assert Anchor(0).fresh_until(clock=5, age=-1_000) == LIFETIME_NS - ROUNDING_NS


@given(
    drift=st.integers(-DRIFT_PER_MILLION, DRIFT_PER_MILLION),
    under_way=st.integers(0, 5_000),
    beats=st.lists(st.tuples(st.integers(1, 60_000), st.integers(0, 900)), min_size=1, max_size=20),
    offset=st.integers(0, 1 << 40),
)
def test_no_heartbeat_vouches_for_more_than_was_true(
    drift: int, under_way: int, beats: list[tuple[int, int]], offset: int
) -> None:
    """Simulates a node whose clock drifts, and a request that took its time. True times are in guard nanoseconds."""
    asked_at = 7_000 * MS
    anchor = Anchor(asked_at)
    true = asked_at + under_way * MS
    for step, age in [(0, 0), *beats]:
        true += step * MS
        clock = offset + (true * (1_000_000 + drift) // 1_000_000) // MS
        # The node said: `age` of its milliseconds ago the database vouched.
        vouched = true - age * MS
        assert anchor.fresh_until(clock, age) - LIFETIME_NS <= vouched + age * MS * DRIFT_PER_MILLION // 1_000_000
