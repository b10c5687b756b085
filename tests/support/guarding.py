"""A real node with a shop, and keys for the guards in front of the shop's API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keybearer.guards import Guard
from tests.e2e.shop import API, Shop
from tests.support.authority import Authority


@contextmanager
def shop_at(home: Path, **api: Any) -> Iterator[Shop]:
    """A node that slows nobody down, with the API and the project of :class:`Shop`."""
    node = Authority(home / "data", home / "logs", environment={"KEYBEARER_FAILURES_PER_MINUTE": "0"})
    node.init()
    node.start()
    try:
        yield Shop(node, **api)
    finally:
        node.stop()


def guard_key(shop: Shop, *permissions: str) -> tuple[str, str]:
    """A key of the authority's own project that a guard needs; returns its id and its credential."""
    names = permissions or ("verify", "events.read", "apis.read")
    own = shop.call("GET", "/v1/whoami")["project_id"]
    body = {"project_id": own, "name": "guard", "permissions": [f"keybearer:{name}" for name in names]}
    issued = shop.call("POST", "/v1/keys", body)
    return issued["key"]["id"], issued["credential"]


@contextmanager
def guarding(shop: Shop, *, url: str = "", **options: Any) -> Iterator[Guard]:
    """A guard in front of the shop's API that is fresh, closed at the end."""
    with Guard(url or shop.node.url, key=guard_key(shop)[1], api=API, **options) as guard:
        guard.start()
        eventually(lambda: guard.is_fresh)
        yield guard


def eventually(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something holds; fails when it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.005)
