"""The authority fixture runs the real command through its whole life."""

from collections.abc import Callable

import httpx
import psutil
import pytest

from tests.support.authority import Authority


def test_it_is_initialised_serves_and_stops(authority: Callable[..., Authority]) -> None:
    node = authority()
    assert node.root_key
    assert node.root_key not in repr(node)
    assert httpx.get(f"{node.url}/healthz").status_code == 200
    node.stop()
    assert not psutil.pid_exists(node.pid)


def test_it_comes_back_after_a_crash_on_the_same_port(authority: Callable[..., Authority]) -> None:
    node = authority()
    before = node.url
    node.kill9()
    assert not node.is_running
    node.restart()
    assert node.url == before
    assert httpx.get(f"{node.url}/healthz").status_code == 200


def test_a_server_that_cannot_start_says_why(authority: Callable[..., Authority]) -> None:
    with pytest.raises(RuntimeError, match="keybearer serve: the process ended") as failure:
        authority(arguments=("--no-such-option",))
    assert "no-such-option" in failure.value.__notes__[0]
