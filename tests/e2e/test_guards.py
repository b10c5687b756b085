"""The engine of the guards against a real node: from memory and online, exact about what ends a credential."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from keybearer.core.errors import Code, Rejected
from keybearer.guards import Guard, Rule, Unreachable
from keybearer.guards.where import NOWHERE, Where
from tests.e2e.shop import Shop
from tests.support.guarding import eventually, guard_key, guarding, shop_at
from tests.support.oauth import basic


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop_at(tmp_path_factory.mktemp("guards"), token_format="opaque") as found:
        yield found


@pytest.fixture(scope="module")
def guard(shop: Shop) -> Iterator[Guard]:
    with guarding(shop) as found:
        yield found


def counts(guard: Guard) -> dict[str, int]:
    return dict(guard.metrics)


def code_of(guard: Guard, credential: str, permissions: Any = None, where: Where = NOWHERE) -> Code:
    try:
        guard.verify(credential, permissions, where)
    except Rejected as rejection:
        return rejection.code
    return Code.VALID


def token(shop: Shop, scope: str = "pages:read", **client: Any) -> tuple[str, str]:
    client_id, secret = shop.client(grant_types=["client_credentials"], **client)
    answer = shop.send(
        "POST", "/oauth/token",
        data={"grant_type": "client_credentials", "scope": scope, "resource": shop.api["identifier"]},
        headers={"authorization": basic(client_id, secret)},
    )  # fmt: skip
    assert answer.is_success, answer.text
    return client_id, answer.json()["access_token"]


def test_the_second_time_comes_from_memory(shop: Shop, guard: Guard) -> None:
    key_id, credential = shop.key("pages:read", owner="ann", metadata={"tier": "gold"})
    caller = guard.verify(credential, "pages:read")
    assert (caller.credential_id, caller.owner, caller.project_id) == (key_id, "ann", shop.project["id"])
    assert caller.metadata == {"tier": "gold"}
    assert caller.may("pages:read")
    assert not caller.may("pages:write")
    assert not caller.is_token
    before = counts(guard)
    for _ in range(3):
        assert guard.verify(credential, "pages:read") is guard.verify(credential, "pages:read")
    after = counts(guard)
    assert after["online"] == before["online"]
    assert after["local"] == before["local"] + 6


async def _verify(guard: Guard, credential: str) -> Any:
    try:
        return await guard.averify(credential, "pages:read")
    finally:
        await guard.aclose()


def test_awaiting_answers_the_same(shop: Shop, guard: Guard) -> None:
    _, credential = shop.key("pages:read")
    first = asyncio.run(_verify(guard, credential))
    assert first is guard.verify(credential, "pages:read")
    assert asyncio.run(_verify(guard, credential)) is first
    with pytest.raises(Rejected):
        asyncio.run(_verify(guard, credential[:-1]))


def test_a_missing_permission_is_told_from_memory_too(shop: Shop, guard: Guard) -> None:
    _, credential = shop.key("pages:read")
    guard.verify(credential, "pages:read")
    before = counts(guard)["online"]
    with pytest.raises(Rejected) as refused:
        guard.verify(credential, ["pages:read", "pages:write"])
    assert refused.value.code is Code.INSUFFICIENT_PERMISSIONS
    assert refused.value.missing == ("pages:write",)
    assert counts(guard)["online"] == before


def test_junk_never_leaves_the_process(shop: Shop, guard: Guard) -> None:
    _, credential = shop.key("pages:read")
    before = counts(guard)
    other = "A" if credential[-1] != "A" else "B"
    for junk in (credential[:-1] + other, "", "a b", "eyJhbGciOiJub25lIn0.e30."):
        assert code_of(guard, junk) is Code.MALFORMED
    after = counts(guard)
    assert after["online"] == before["online"]
    assert after["refused"] == before["refused"] + 4


def test_a_refusal_is_kept_for_a_second_at_most(shop: Shop, guard: Guard) -> None:
    key_id, credential = shop.key("pages:read")
    shop.call("POST", f"/v1/keys/{key_id}/disable")
    eventually(lambda: code_of(guard, credential) is Code.DISABLED)
    before = counts(guard)["online"]
    code_of(guard, credential), code_of(guard, credential)
    assert counts(guard)["online"] <= before + 1
    shop.call("POST", f"/v1/keys/{key_id}/enable")
    eventually(lambda: code_of(guard, credential) is Code.VALID, 1.5)


def ways(shop: Shop, key_id: str) -> dict[str, tuple[Callable[[], Any], Code]]:
    project = f"/v1/projects/{shop.project['id']}"
    api = f"/v1/apis/{shop.api['id']}"
    key = f"/v1/keys/{key_id}"
    return {
        "revoke": (lambda: shop.call("POST", f"{key}/revoke", {}), Code.REVOKED),
        "disable": (lambda: shop.call("POST", f"{key}/disable"), Code.DISABLED),
        "delete": (lambda: shop.call("DELETE", key), Code.NOT_FOUND),
        "take the permission": (
            lambda: shop.call("PATCH", key, {"permissions": []}),
            Code.INSUFFICIENT_PERMISSIONS,
        ),
        "restrict": (
            lambda: shop.call("PATCH", key, {"restrictions": {"ip_networks": ["10.0.0.0/8"]}}),
            Code.IP_NOT_ALLOWED,
        ),
        "disable the project": (lambda: shop.call("POST", f"{project}/disable"), Code.OWNER_DISABLED),
        "take the API": (lambda: shop.call("PATCH", project, {"enabled_apis": []}), Code.API_NOT_ALLOWED),
        "take the kind": (lambda: shop.call("PATCH", api, {"accepts": ["access_token"]}), Code.KIND_NOT_ACCEPTED),
        "disable the API": (lambda: shop.call("POST", f"{api}/disable"), Code.API_NOT_ALLOWED),
    }


WAYS = (
    "revoke", "disable", "delete", "take the permission", "restrict", "disable the project", "take the API",
    "take the kind", "disable the API",
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_whatever_ends_a_key_ends_it_here_within_a_second(shop: Shop, guard: Guard, way: str) -> None:
    key_id, credential = shop.key("pages:read")
    eventually(lambda: code_of(guard, credential, "pages:read") is Code.VALID)
    change, code = ways(shop, key_id)[way]
    try:
        change()
        began = time.monotonic()
        eventually(lambda: code_of(guard, credential, "pages:read") is not Code.VALID, 3)
        assert time.monotonic() - began <= 1.0
        assert code_of(guard, credential, "pages:read") is code
    finally:
        project, api = shop.project["id"], shop.api["id"]
        shop.call("POST", f"/v1/projects/{project}/enable")
        shop.call("POST", f"/v1/apis/{api}/enable")
        shop.call("PATCH", f"/v1/projects/{project}", {"enabled_apis": [api]})
        shop.call("PATCH", f"/v1/apis/{api}", {"accepts": ["secret_key", "publishable_key", "access_token"]})


def test_an_expiry_needs_no_event(shop: Shop, guard: Guard) -> None:
    _, credential = shop.key("pages:read", expires_in=2)
    began = time.monotonic()
    while code_of(guard, credential) is Code.VALID:
        assert time.monotonic() < began + 5
        time.sleep(0.02)
    assert time.monotonic() - began <= 2.2
    assert code_of(guard, credential) is Code.EXPIRED


def test_limits_are_exact_online_and_counted_here_where_the_guard_was_made_so(shop: Shop, guard: Guard) -> None:
    limit = [{"name": "all", "limit": 3, "period_in": 3600}]
    _, credential = shop.key("pages:read", limits=limit)
    assert [code_of(guard, credential) for _ in range(4)] == [Code.VALID] * 3 + [Code.RATE_LIMITED]
    with pytest.raises(Rejected) as refused:
        guard.verify(credential)
    assert refused.value.retry_after is not None
    assert [state.name for state in refused.value.limits] == ["all"]
    _, other = shop.key("pages:read", limits=limit)
    with guarding(shop, limits="local") as local:
        assert code_of(local, other) is Code.VALID  # the first is counted by the authority
        before = counts(local)["online"]
        assert [code_of(local, other) for _ in range(4)] == [Code.VALID] * 3 + [Code.RATE_LIMITED]
        assert counts(local)["online"] == before


def test_credits_are_asked_about_each_time(shop: Shop, guard: Guard) -> None:
    _, credential = shop.key("pages:read", credits={"balance": 3})
    assert [code_of(guard, credential) for _ in range(4)] == [Code.VALID] * 3 + [Code.CREDITS_EXHAUSTED]


def test_restrictions_are_decided_here_with_each_request(shop: Shop, guard: Guard) -> None:
    _, credential = shop.key("pages:read", restrictions={"ip_networks": ["192.0.2.0/24"], "methods": ["GET"]})
    good = Where(client_ip=ip_address("192.0.2.7"), method="GET")
    guard.verify(credential, "pages:read", good)
    before = counts(guard)["online"]
    assert code_of(guard, credential, None, good) is Code.VALID
    assert code_of(guard, credential, None, good._replace(method="POST")) is Code.REQUEST_NOT_ALLOWED
    assert code_of(guard, credential, None, good._replace(client_ip=ip_address("198.51.100.7"))) is Code.IP_NOT_ALLOWED
    assert code_of(guard, credential) is Code.IP_NOT_ALLOWED
    assert counts(guard)["online"] == before


def test_tokens_too(shop: Shop, guard: Guard) -> None:
    client_id, access_token = token(shop)
    caller = guard.verify(access_token, "pages:read")
    assert caller.is_token
    assert caller.scopes == {"pages:read"}
    assert caller.user_id is None
    before = counts(guard)["online"]
    assert guard.verify(access_token, "pages:read") is caller
    assert code_of(guard, access_token, Rule(accept=["secret_key"])) is Code.KIND_NOT_ACCEPTED
    assert code_of(guard, access_token, Rule(max_age=60)) is Code.INSUFFICIENT_AUTHENTICATION
    assert counts(guard)["online"] == before
    shop.call("POST", f"/v1/clients/{client_id}/disable")
    eventually(lambda: code_of(guard, access_token) is Code.OWNER_DISABLED, 1.5)


def test_a_child_begins_anew(shop: Shop, guard: Guard) -> None:
    _, credential = shop.key("pages:read")
    guard.verify(credential)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        status = b"-"
        try:
            assert not guard.is_fresh
            guard.verify(credential)
            eventually(lambda: guard.is_fresh)
            guard.verify(credential)
            before = counts(guard)["online"]
            guard.verify(credential)
            status = b"+" if counts(guard)["online"] == before else b"?"
        finally:
            os.write(writer, status)
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"+"
    os.close(reader)
    assert os.waitpid(pid, 0)[1] == 0
    assert guard.verify(credential)


@pytest.mark.parametrize("permissions", [("verify",), ("events.read", "apis.read")])
def test_a_guard_whose_key_may_too_little_lets_nobody_in(shop: Shop, permissions: tuple[str, ...]) -> None:
    _, credential = shop.key("pages:read")
    with (
        Guard(shop.node.url, key=guard_key(shop, *permissions)[1], api=shop.api["id"]) as poor,
        pytest.raises(Unreachable),
    ):
        poor.verify(credential)
    with Guard(shop.node.url, key=guard_key(shop)[1], api="https://nobody.example") as lost, pytest.raises(Unreachable):
        lost.verify(credential)


def test_a_closed_guard_lets_nobody_in(shop: Shop) -> None:
    _, credential = shop.key("pages:read")
    with guarding(shop) as closing:
        closing.verify(credential)
    with pytest.raises(Unreachable):
        closing.verify(credential)
