"""Which rule holds for a path, however a client spells it: never a weaker one than the application meant."""

from __future__ import annotations

import pytest

from keybearer.guards.answers import Refused
from keybearer.guards.doors import Doors

DOORS = Doors(
    "any:read",
    {"/admin/*": "admin", "GET /pages/*": "pages:read", "/pages/*": "pages:write", "/@me/caf\u00e9": "me"},
    ("/health", "GET /static/*"),
)


def asked(path: str, method: str = "GET") -> str | None:
    rule = DOORS.rule_for(method, path)
    return None if rule is None else rule.expression


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/admin/x", "admin"),
        ("/%61dmin/x", "admin"),
        ("/%61%64%6D%69%6e/x", "admin"),
        ("/admin/%78", "admin"),
        ("/@me/caf%C3%A9", "me"),
        ("/%40me/caf%c3%a9", "me"),
        ("/adminx", "any:read"),
        ("/Admin/x", "any:read"),
        ("/health", None),
        ("/he%61lth", None),
        ("/static/%7Eana/a%20b", None),
    ],
)
def test_another_spelling_is_the_same_path(path: str, wanted: str | None) -> None:
    assert asked(path) == wanted


@pytest.mark.parametrize(
    "path",
    ["/x/../admin/x", "/x/%2e%2e/admin", "/admin%2fx", "//admin/x", "/a%25%32e%25%32e/x", "/a%zz", "/a%00", "a", ""],
)
def test_what_can_be_read_in_several_ways_has_no_rule(path: str) -> None:
    with pytest.raises(Refused) as refused:
        asked(path)
    assert refused.value.answer.status == 400


def test_head_needs_what_get_needs() -> None:
    assert asked("/pages/1", "HEAD") == asked("/pages/1") == "pages:read"
    assert asked("/pages/1", "POST") == "pages:write"
    assert asked("/static/a", "HEAD") is None
    assert asked("/static/a", "POST") == "any:read"
