"""The nginx fixture serves the configuration it is given, and keeps its logs apart."""

from collections.abc import Callable

import httpx
import pytest

from tests.support.nginx import Nginx


def test_serves_what_it_is_given(nginx: Callable[[str], Nginx]) -> None:
    server = nginx('server { listen 127.0.0.1:@PORT@; location / { return 200 "hello"; } }')
    assert httpx.get(f"{server.url}/a-path").text == "hello"
    assert "GET /a-path" in server.access_log


def test_two_run_side_by_side(nginx: Callable[[str], Nginx]) -> None:
    inner = nginx('server { listen 127.0.0.1:@PORT@; location / { return 200 "inner"; } }')
    outer = nginx(f"server {{ listen 127.0.0.1:@PORT@; location / {{ proxy_pass {inner.url}; }} }}")
    assert httpx.get(outer.url).text == "inner"


def test_a_bad_configuration_fails_with_its_reason(nginx: Callable[[str], Nginx]) -> None:
    with pytest.raises(RuntimeError, match="nginx: the process ended") as failure:
        nginx("no_such_directive;")
    assert "no_such_directive" in failure.value.__notes__[0]
