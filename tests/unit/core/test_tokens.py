"""Which scopes of a token are still in force, whose limits it has, and what its record depends on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.quota import CalendarUnit
from keybearer.core.records import CreditPolicy, Permission, Quota, RateLimit
from keybearer.core.tokens import IDENTITY_SCOPES, scopes_in_force

from .making import key, plan, record
from .making_tokens import UNDERSTOOD, client, grant, of_client, of_user, shop_api, token, user

ALL = ("openid", "orders:read", "orders:write", "orders:refund")
LIMIT = RateLimit("l", 10, 1_000_000, 10)
QUOTA = Quota("q", 10, CalendarUnit.DAY)


@pytest.mark.parametrize(
    ("expected", "asked", "ceiling", "granted", "held"),
    [
        ("openid orders:read orders:write orders:refund", ALL, ALL, ALL, ("orders:refund",)),
        ("openid orders:read orders:write orders:refund", ALL, ALL, ALL, ("orders:*",)),
        ("openid orders:read orders:write", ALL, ALL, ALL, ()),
        ("openid orders:read orders:write", ALL, ALL, ALL, ("orders:read",)),
        ("openid orders:read", ALL, ALL, ("openid", "orders:read"), ("*",)),
        ("openid orders:read", ALL, ("orders:read",), ALL, ("*",)),
        ("openid", ALL, (), ALL, ("*",)),
        ("orders:read", ("orders:read",), ALL, ALL, ("*",)),
        ("", ALL, ALL, (), ("*",)),
        ("", (), ALL, ALL, ("*",)),
        ("", ("unknown",), ("unknown",), ("unknown",), ("*",)),
        ("", ("orders:*",), ("orders:*",), ("orders:*",), ("*",)),
    ],
)
def test_a_scope_holds_while_everyone_agrees(
    expected: str, asked: tuple[str, ...], ceiling: tuple[str, ...], granted: tuple[str, ...], held: tuple[str, ...]
) -> None:
    found = scopes_in_force(
        asked, client(scopes=ceiling), shop_api(), user(permissions=held), grant(scopes=granted), None
    )
    assert found == frozenset(expected.split())


def test_without_a_user_restricted_scopes_are_the_clients_own() -> None:
    assert scopes_in_force(ALL, client(), shop_api(), None, None, None) == frozenset(ALL)


def test_a_token_for_no_api_says_who_the_user_is_and_permits_nothing() -> None:
    made = of_user(token(api_id=None, scopes=("openid", "email", "orders:read")), api=None, of_grant=grant(scopes=ALL))
    assert not made.is_revoked
    assert made.permissions == frozenset()


@given(*[st.sets(st.sampled_from([*ALL, "email", "unknown"])) for _ in range(4)])
def test_no_one_is_given_more_than_anyone_allows(
    asked: set[str], ceiling: set[str], granted: set[str], held: set[str]
) -> None:
    found = scopes_in_force(
        asked,
        client(scopes=tuple(ceiling)),
        shop_api(),
        user(permissions=tuple(held)),
        grant(scopes=tuple(granted)),
        None,
    )
    assert found <= asked & granted
    assert found <= ceiling | IDENTITY_SCOPES
    assert found - IDENTITY_SCOPES <= {permission.name for permission in UNDERSTOOD}
    assert "orders:refund" not in found or "orders:refund" in held
    fewer = granted - {"orders:read"}
    narrowed = scopes_in_force(
        asked,
        client(scopes=tuple(ceiling)),
        shop_api(),
        user(permissions=tuple(held)),
        grant(scopes=tuple(fewer)),
        None,
    )
    assert narrowed == found - {"orders:read"}


def test_an_api_that_forgets_a_permission_takes_it_from_tokens_that_are_out() -> None:
    assert "orders:read" in of_user().permissions
    made = of_user(of_api=shop_api(permissions=(Permission("orders:write"),)))
    assert made.permissions == frozenset()
    assert made.scopes == {"openid"}


def test_a_key_behind_a_token_is_a_ceiling_too() -> None:
    made = of_client(key=record(key(permissions=("orders:write",))), key_id="key_1")
    assert made.permissions == {"orders:write"}


def test_limits_are_the_clients_the_grants_and_the_projects() -> None:
    made = of_user(
        of_client=client(limits=(LIMIT,)),
        of_grant=grant(quotas=(QUOTA,)),
        plan=plan(limits=(LIMIT,)),
    )
    assert [one.bucket.partition("/")[0] for one in made.limits] == ["client:client_1", "project:proj_1"]
    assert [one.owner for one in made.quotas] == ["grant:grant_1"]
    assert made.counted_as == "client_1"
    assert not made.is_standard


def test_a_key_behind_a_token_brings_its_own_limits_in_place_of_the_projects_plan() -> None:
    behind = record(
        key(limits=(LIMIT,), plan_id="plan_1", credits=CreditPolicy()), of_plan=plan(quotas=(QUOTA,)), seq=0
    )
    made = of_client(client(limits=(LIMIT,)), key=behind, plan=plan(limits=(LIMIT,)), key_id="key_1")
    assert [one.bucket.partition("/")[0] for one in made.limits] == ["key:key_1", "client:client_1"]
    assert [one.owner for one in made.quotas] == ["key:key_1/plan"]
    assert made.credit_owners == (("key:key_1", CreditPolicy()),)
    assert made.counted_as == "key_1"
    assert made.seq == 0, "the older of the two heads, whichever was read first"


@pytest.mark.parametrize("field", ["api_id", "user_id", "grant_id", "session_id", "family_id", "key_id"])
def test_a_record_depends_on_what_its_token_names_be_it_there_or_not(field: str) -> None:
    named: dict[str, Any] = {field: "named"}
    assert "named" in of_user(token(**named)).depends_on
    assert {"at_1", "client_1", "proj_1"} <= of_client().depends_on
