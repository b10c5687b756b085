"""The promise against a network that delays, stalls, repeats, swaps and cuts: nothing is accepted too long."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from keybearer.core.errors import Rejected
from keybearer.guards import Guard, Unreachable
from tests.e2e.shop import API, Shop
from tests.support.guarding import eventually, guard_key, shop_at
from tests.support.tampering import TamperingProxy, tampering

PROMISE = 1.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop_at(tmp_path_factory.mktemp("network")) as found:
        yield found


@pytest.fixture
def proxy(shop: Shop) -> Iterator[TamperingProxy]:
    with tampering(shop.node.port) as found:
        yield found


@pytest.fixture
def guard(shop: Shop, proxy: TamperingProxy) -> Iterator[Guard]:
    with Guard(proxy.url, key=guard_key(shop)[1], api=API, timeout=0.5) as found:
        found.start()
        eventually(lambda: found.is_fresh)
        yield found


def passes(guard: Guard, credential: str) -> bool:
    try:
        guard.verify(credential)
    except (Rejected, Unreachable):
        return False
    return True


def last_yes(guard: Guard, credential: str, seconds: float) -> float:
    """How long it goes on being accepted from now on."""
    began = last = time.monotonic()
    while time.monotonic() < began + seconds:
        asked = time.monotonic()
        if passes(guard, credential):
            last = asked
        time.sleep(0.002)
    return last - began


def test_a_stalled_stream_goes_stale_and_nothing_opens(shop: Shop, proxy: TamperingProxy, guard: Guard) -> None:
    key_id, credential = shop.key("pages:read")
    assert passes(guard, credential)
    proxy.stalled = True  # the node's answers do not come through any more, also not those of verify
    shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
    assert last_yes(guard, credential, 1.6) <= PROMISE
    with pytest.raises(Unreachable):
        guard.verify(credential)
    proxy.stalled = False
    eventually(lambda: guard.is_fresh)
    with pytest.raises(Rejected):
        guard.verify(credential)


def test_what_lay_in_a_buffer_proves_nothing_about_now(shop: Shop, proxy: TamperingProxy, guard: Guard) -> None:
    """A stream that always arrives two seconds late looks alive, and vouches for nothing."""
    key_id, credential = shop.key("pages:read")
    assert passes(guard, credential)
    proxy.delay = 2.0
    shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
    assert last_yes(guard, credential, 1.6) <= PROMISE
    assert not guard.is_fresh
    proxy.delay = 0.0
    eventually(lambda: guard.is_fresh)


def test_a_stream_that_was_cut_goes_on_without_a_gap(shop: Shop, proxy: TamperingProxy, guard: Guard) -> None:
    key_id, credential = shop.key("pages:read")
    other_id, other = shop.key("pages:read")
    assert passes(guard, credential)
    assert passes(guard, other)
    for _ in range(3):
        proxy.cut()
        time.sleep(0.05)
    shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
    proxy.cut()
    assert last_yes(guard, credential, 1.2) <= PROMISE
    eventually(lambda: guard.is_fresh)
    online = dict(guard.metrics)["online"]
    assert passes(guard, other)  # it was not forgotten: the events in between are known
    assert dict(guard.metrics)["online"] == online
    assert other_id


@pytest.mark.parametrize("how", ["repeated", "swapped", "left out"])
def test_a_stream_with_parts_repeated_swapped_or_left_out_is_taken_up_anew(
    shop: Shop, proxy: TamperingProxy, guard: Guard, how: str
) -> None:
    key_id, credential = shop.key("pages:read")
    eventually(lambda: passes(guard, credential))
    held: list[bytes] = []

    def change(piece: bytes) -> list[bytes]:
        if b"event: key." not in piece:
            return [piece, held.pop()] if held else [piece]
        if how == "repeated":
            return [piece, piece]
        if how == "swapped":
            held.append(piece)
        return []

    proxy.change = change
    before = proxy.connections
    shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
    assert last_yes(guard, credential, 1.3) <= PROMISE
    proxy.change = None
    eventually(lambda: guard.is_fresh)
    assert proxy.connections > before
    with pytest.raises(Rejected):
        guard.verify(credential)


def test_on_stale_allow_accepts_what_is_remembered_and_only_for_so_long(shop: Shop, proxy: TamperingProxy) -> None:
    _, credential = shop.key("pages:read")
    _, stranger = shop.key("pages:read")
    _, limited = shop.key("pages:read", limits=[{"name": "all", "limit": 9, "period_in": 60}])
    key = guard_key(shop)[1]
    with Guard(proxy.url, key=key, api=API, timeout=0.5, on_stale="allow", max_stale=1.5) as patient:
        patient.start()
        eventually(lambda: patient.is_fresh)
        eventually(lambda: passes(patient, credential))
        eventually(lambda: passes(patient, limited))
        proxy.stalled = True
        assert 1.5 <= last_yes(patient, credential, 3.5) <= 1.5 + PROMISE
        assert not passes(patient, stranger)
        assert not passes(patient, limited)
        assert dict(patient.metrics)["stale"] > 0
        proxy.stalled = False


def test_the_authority_goes_and_comes_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    with shop_at(tmp_path_factory.mktemp("restart")) as shop:
        _, credential = shop.key("pages:read")
        with Guard(shop.node.url, key=guard_key(shop)[1], api=API, timeout=0.5) as guard:
            guard.start()
            eventually(lambda: guard.is_fresh)
            assert passes(guard, credential)
            shop.node.kill9()
            assert last_yes(guard, credential, 1.5) <= PROMISE
            shop.node.start()
            eventually(lambda: passes(guard, credential) and guard.is_fresh)
