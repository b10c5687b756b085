"""What every engine can store, and the path that is named when something cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.errors import InvalidInput
from keybearer.stores.storable import encode_json, is_storable_text, require_amount, require_storable


@given(st.text(st.characters()))
def test_text_is_storable_iff_utf8_without_nul(text: str) -> None:
    try:
        expected = b"\0" not in text.encode()
    except UnicodeEncodeError:
        expected = False
    assert is_storable_text(text) is expected


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": {"b": ["x", "y\0"]}}, "a.b[1]"),
        ({"a": "\ud800"}, "a"),
        ({"metadata": {"k\0": 1}}, "metadata"),
    ],
)
def test_the_culprit_is_named(value: object, path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        encode_json(value)
    assert [problem.field for problem in refused.value.problems] == [path]


def test_an_escape_that_is_only_text_is_no_nul() -> None:
    assert encode_json({"a": r"\u0000"}) == r'{"a":"\\u0000"}'


@pytest.mark.parametrize("value", [2**63, -(2**63), "a\0", "\udfff"])
def test_what_cannot_be_bound_is_invalid(value: object) -> None:
    with pytest.raises(InvalidInput):
        require_storable((1, None, b"\0", "ü", value))


def test_amounts() -> None:
    require_amount(0, "cost")
    require_amount(2**53 - 1, "cost")
    for amount in (-1, 2**53):
        with pytest.raises(InvalidInput, match="cost"):
            require_amount(amount, "cost")
