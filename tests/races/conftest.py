"""Two processes that decide at the same time: two workers on SQLite, or two nodes on PostgreSQL."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.shop import Shop
from tests.e2e.verifying import Outcome, ask_all
from tests.support.authority import Authority


@dataclass
class Pair:
    """Two processes behind one database."""

    shop: Shop
    nodes: list[Authority]

    def ask(self, credential: str, times: int, *, at_once: int = 50, **more: Any) -> list[Outcome]:
        """The same verify many times at once, spread over both."""
        return ask_all(self.nodes, [{"credential": credential, **more}] * times, at_once=at_once)


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, authority: Callable[..., Authority]) -> Pair:
    if request.param == "sqlite":
        node = authority(workers=2)
        return Pair(Shop(node), [node])
    first = authority(database=request.getfixturevalue("postgresql_url"))
    return Pair(Shop(first), [first, authority(of=first)])


@pytest.fixture
def workers(authority: Callable[..., Authority]) -> Pair:
    """Two workers on SQLite."""
    node = authority(workers=2)
    return Pair(Shop(node), [node])
