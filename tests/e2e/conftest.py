"""What the tests of one module share."""

from collections.abc import Iterator

import pytest

from tests.e2e.shop import Shop
from tests.support.authority import Authority
from tests.support.visitor import Visitor


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """One running authority for all tests of a module."""
    home = tmp_path_factory.mktemp("served")
    node = Authority(home / "data", home / "logs")
    node.init()
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def world(served: Authority) -> Shop:
    """The API and the project of the running authority, for clients that are told apart."""
    return Shop(served)


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    """A person whom nobody knows yet."""
    with Visitor() as one:
        yield one
