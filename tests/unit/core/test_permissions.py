"""Permissions: wildcards, handing on, and the expression language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core import own_api, permissions
from keybearer.core.errors import InvalidInput

NAMES = ["a", "a:b", "a:c", "a:b:c", "b:c", "orders:read"]
HELD = [*NAMES, "*", "a:*", "a:b:*", "orders:*"]


@pytest.mark.parametrize(
    ("held", "name", "expected"),
    [
        ({"orders:read"}, "orders:read", True),
        ({"orders:read"}, "orders:write", False),
        ({"orders:*"}, "orders:write", True),
        ({"orders:*"}, "orders", False),
        ({"orders:*"}, "ordersx:read", False),
        ({"a:*"}, "a:b:c", True),
        ({"a:b:*"}, "a:c:d", False),
        ({"*"}, "anything:at:all", True),
        (set(), "a", False),
    ],
)
def test_wildcards_stand_for_whole_segments(held: set[str], name: str, expected: bool) -> None:
    assert permissions.holds(frozenset(held), name) is expected


@given(st.sets(st.sampled_from(HELD)), st.sampled_from(HELD))
def test_nobody_hands_on_more_than_they_hold(held: set[str], wanted: str) -> None:
    mine = frozenset(held)
    if permissions.covers(mine, wanted):
        for name in NAMES:
            if permissions.holds(frozenset({wanted}), name):
                assert permissions.holds(mine, name)


def test_delegation_needs_leave_and_the_permission_itself() -> None:
    assert own_api.may_hand_on(frozenset({own_api.ADMIN}), own_api.ADMIN)
    assert not own_api.may_hand_on(frozenset({own_api.DELEGATE, "keybearer:keys.write"}), own_api.ADMIN)
    assert not own_api.may_hand_on(frozenset({"keybearer:keys.write"}), "keybearer:keys.write")
    assert own_api.may_hand_on(frozenset({own_api.DELEGATE, "keybearer:keys.write"}), "keybearer:keys.write")
    assert not own_api.may_hand_on(frozenset({own_api.DELEGATE, "keybearer:keys.write"}), "*")
    assert own_api.is_own("*")
    assert own_api.is_own("keybearer:*")


@pytest.mark.parametrize(
    ("expression", "held", "missing"),
    [
        ("a:b", {"a:b"}, ()),
        ("a:b and c:d", {"a:b"}, ("c:d",)),
        ("a:b or c:d", {"c:d"}, ()),
        ("a:b or c:d and e:f", {"c:d"}, ("a:b",)),
        ("(a:b or c:d) and e:f", {"c:d"}, ("e:f",)),
        ("a:b AND (c:d OR e:f)", {"a:b", "e:f"}, ()),
        ("a:b and a:b", set(), ("a:b",)),
    ],
)
def test_expressions(expression: str, held: set[str], missing: tuple[str, ...]) -> None:
    assert permissions.parse(expression).missing(frozenset(held)) == missing


@pytest.mark.parametrize(
    "wrong",
    [
     "", "and",
     "a:b and", "a:b c:d", "(a:b", "a:b)", "()", "a:b or or c:d", "a:*", "a b", "ä:b", "(" * 40 + "a" + ")" * 40,
     "a " * 600],
)  # fmt: skip
def test_what_is_no_expression_is_refused_with_a_reason(wrong: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        permissions.parse(wrong)
    assert caught.value.problems[0].field == "permissions"
    assert caught.value.problems[0].message


@given(st.text(alphabet="ab:() andor*", max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        demand = permissions.parse(text)
    except InvalidInput:
        return
    assert demand.names
    assert demand.missing(frozenset({"*"})) == ()
    assert demand.missing(frozenset()) != ()


_atoms = st.sampled_from(["a:b", "c:d", "e:f"])
_trees = st.recursive(_atoms, lambda sub: st.tuples(st.sampled_from(["and", "or"]), sub, sub), max_leaves=12)


def _text(tree: object) -> str:
    return tree if isinstance(tree, str) else f"({_text(tree[1])} {tree[0]} {_text(tree[2])})"


def _holds(tree: object, held: frozenset[str]) -> bool:
    if isinstance(tree, str):
        return tree in held
    left, right = _holds(tree[1], held), _holds(tree[2], held)
    return (left and right) if tree[0] == "and" else (left or right)


@given(_trees, st.sets(_atoms))
def test_an_expression_means_what_the_tree_means(tree: object, held: set[str]) -> None:
    mine = frozenset(held)
    assert (permissions.parse(_text(tree)).missing(mine) == ()) is _holds(tree, mine)


def test_lists_name_the_wrong_entry() -> None:
    with pytest.raises(InvalidInput) as caught:
        permissions.all_of(["a:b", "no good"])
    assert caught.value.problems[0].field == "permissions[1]"
