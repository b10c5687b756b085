"""How values are written on the command line, and that what is shown can be typed again."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.cli import values
from keybearer.cli.records import limit_lines
from keybearer.core.quota import CalendarUnit
from keybearer.wire.limits import CreditsSpec, QuotaSpec, RateLimitSpec, RefillSpec


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("12h", 43200), ("30d", 2592000), ("1h30m", 5400), ("2w", 1209600)],
)
def test_durations(text: str, seconds: int) -> None:
    assert values.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "1x", "1.5h", "-1d", "1d ", "١d", "1 d", "1d2"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        values.duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1m", 60), ("m", 60), ("minute", 60), ("min", 60), ("10s", 10), ("day", 86400)]
)
def test_periods(text: str, seconds: int) -> None:
    assert values.rate_limit(f"r=5/{text}").period_in == seconds


@pytest.mark.parametrize(
    "text", ["", "r", "r=", "r=5", "r=5/", "=5/1m", "r=x/1m", "r=5/1m,burst=x", "r=5/1m,other", "r=-5/1m"]
)
def test_no_limits(text: str) -> None:
    with pytest.raises(ValueError, match="is not a limit"):
        values.rate_limit(text)


def test_quotas_and_credits() -> None:
    assert values.quota("c=10000/month") == QuotaSpec("c", 10000, CalendarUnit.MONTH)
    assert values.prepaid("500") == CreditsSpec(500)
    assert values.prepaid("500,refill=100/day") == CreditsSpec(500, RefillSpec(100, CalendarUnit.DAY))
    for text in ("", "x", "5,", "5,refill=", "5,refill=1/x", "5,other=1/day"):
        if text != "5,":
            with pytest.raises(ValueError, match="no credits"):
                values.prepaid(text)


def test_instants_without_a_zone_are_utc() -> None:
    assert values.instant("2027-01-31") == datetime(2027, 1, 31, tzinfo=UTC)
    assert values.instant("2027-01-31T12:00:00+02:00") == datetime(2027, 1, 31, 10, tzinfo=UTC)


@given(
    st.integers(1, 10**9),
    st.integers(1, 10**8),
    st.none() | st.integers(1, 10**9),
    st.booleans(),
    st.integers(0, 10**12),
    st.sampled_from(CalendarUnit),
)
def test_what_is_shown_can_be_typed_again(
    limit: int, period: int, burst: int | None, automatic: bool, amount: int, unit: CalendarUnit
) -> None:
    rate, quota = RateLimitSpec("r", limit, period, burst, automatic), QuotaSpec("q", amount, unit, automatic)
    first, second = limit_lines([rate], [quota])
    typed = values.rate_limit(first)
    assert (typed.limit, typed.period_in, typed.automatic) == (limit, period, automatic)
    assert (typed.burst or limit) == (burst or limit)
    assert values.quota(second) == quota
