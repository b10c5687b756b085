"""Forms: whatever bytes come, they are read as they were written or refused, at a cost that grows with their length."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.form import MAX_PARAMETERS, MAX_REPEATED, parse
from keybearer.core.oauth_error import InvalidRequest

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@given(st.dictionaries(TEXT.filter(lambda name: name not in ("resource", "audience")), TEXT, max_size=MAX_PARAMETERS))
def test_what_was_written_is_read(parameters: dict[str, str]) -> None:
    assert parse(urlencode(parameters).encode()).one == parameters


@given(st.lists(TEXT.filter(bool), max_size=MAX_REPEATED))
def test_what_may_be_repeated_keeps_its_order(values: list[str]) -> None:
    assert parse(urlencode({"resource": values}, doseq=True).encode()).all("resource") == tuple(values)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        form = parse(data)
    except InvalidRequest:
        return
    assert all(isinstance(value, str) for value in form.one.values())


@pytest.mark.parametrize(
    "data", [b"a=1&a=1", b"a&a", b"a=1&%61=2", b"a=%", b"a=%g0", b"a=\x00", b"a=%00", b"a= b", b"a=\xe4"]
)
def test_what_two_readers_could_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse(data)


def test_a_parameter_that_is_empty_counts_as_left_out() -> None:
    form = parse(b"a=&b&resource=&resource=x")
    assert (form.get("a"), form.get("b"), form.get("c")) == ("", "", "")
    assert form.all("resource") == ("x",)
    with pytest.raises(InvalidRequest, match="a is missing"):
        form.need("a")


def test_the_number_of_parameters_is_bounded() -> None:
    parse(b"&".join(b"p%d=1" % number for number in range(MAX_PARAMETERS)))
    with pytest.raises(InvalidRequest):
        parse(b"&".join(b"p%d=1" % number for number in range(MAX_PARAMETERS + 1)))
    with pytest.raises(InvalidRequest):
        parse(b"&".join([b"resource=x"] * (MAX_REPEATED + 1)))
