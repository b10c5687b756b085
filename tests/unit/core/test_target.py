"""Which API a token is for, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keybearer.core.instant import Instant
from keybearer.core.oauth_error import InvalidScope, InvalidTarget, OAuthError
from keybearer.core.records import Api, CredentialKind, Permission, State
from keybearer.core.target import choose_api, is_target, scopes_at


def api(name: str, *scopes: str) -> Api:
    at = Instant(0)
    permissions = tuple(Permission(scope) for scope in scopes)
    return Api(id=name, created_at=at, updated_at=at, identifier=f"https://{name}", name=name, permissions=permissions)


ORDERS, STOCK, BOTH = api("orders", "o:r", "o:w"), api("stock", "s:r"), api("both", "o:r", "s:r")


@pytest.mark.parametrize(
    ("candidates", "resources", "scopes", "expected"),
    [
        ([ORDERS, STOCK], [], ["o:r"], ORDERS),
        ([ORDERS, STOCK], [], ["openid", "s:r"], STOCK),
        ([ORDERS, STOCK], ["https://stock"], ["o:r"], STOCK),
        ([ORDERS, STOCK], [], ["openid"], None),
        ([ORDERS, STOCK], [], [], None),
        ([ORDERS, BOTH], [], ["o:r", "s:r"], BOTH),
        ([ORDERS, BOTH], [], ["o:w"], ORDERS),
        ([ORDERS, STOCK], [], ["o:r", "unknown"], ORDERS),
        ([ORDERS, STOCK], [], ["o:r", "s:r"], InvalidTarget),
        ([ORDERS, BOTH], [], ["o:r"], InvalidTarget),
        ([ORDERS, STOCK], [], ["unknown"], InvalidScope),
        ([], [], ["o:r"], InvalidScope),
        ([ORDERS], ["https://stock"], [], InvalidTarget),
        ([ORDERS], ["orders"], [], InvalidTarget),
        ([ORDERS, STOCK], ["https://orders", "https://stock"], [], InvalidTarget),
    ],
)
def test_the_api_of_a_token(
    candidates: list[Api], resources: list[str], scopes: list[str], expected: Api | type[OAuthError] | None
) -> None:
    if isinstance(expected, type):
        with pytest.raises(expected):
            choose_api(candidates, resources, scopes)
    else:
        assert choose_api(candidates, resources, scopes) is expected


def test_what_a_user_chose_is_meant_without_scopes_too() -> None:
    assert choose_api([ORDERS], [], ["openid"], consented=True) is ORDERS
    assert choose_api([ORDERS, STOCK], [], [], consented=True) is None


def test_a_token_carries_what_its_api_understands() -> None:
    assert scopes_at(ORDERS, ["openid", "s:r", "o:w", "o:r"]) == ("openid", "o:w", "o:r")
    assert scopes_at(None, ["openid", "o:r"]) == ("openid",)


def test_an_api_without_tokens_is_no_target() -> None:
    assert is_target(ORDERS)
    assert not is_target(replace(ORDERS, state=State.DISABLED))
    assert not is_target(replace(ORDERS, accepts=(CredentialKind.SECRET_KEY,)))
