"""The fixtures that hand real services to the tests."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.authority import Authority
from tests.support.nginx import Nginx, find_nginx
from tests.support.postgresql import PostgresqlServer, find_binaries


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server of this test process alone."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (no initdb in /usr/lib/postgresql/*/bin)")
    server = PostgresqlServer.create(binaries)
    yield server
    server.remove()


@pytest.fixture
def postgresql_url(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """The address of an empty database for one test."""
    name = f"test_{secrets.token_hex(6)}"
    postgresql_server.execute(f"CREATE DATABASE {name}")
    yield postgresql_server.url(name)
    postgresql_server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[[str], Nginx]]:
    """`nginx(http)` starts one with `http` inside its `http` block; `listen 127.0.0.1:@PORT@;` in it."""
    program = find_nginx()
    if program is None:
        pytest.skip("nginx is not installed")
    started: list[Nginx] = []

    def start(http: str) -> Nginx:
        prefix = tmp_path / f"nginx-{len(started)}"
        prefix.mkdir()
        server = Nginx(program, prefix)
        started.append(server)
        server.start(http)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Callable[..., Authority]]:
    """`authority()` initialises and serves one; `authority(of=other)` starts a peer on the same data.

    Other arguments: `database` (a URL), `workers`, `arguments` (more of `serve`), `environment`.
    """
    made: list[Authority] = []

    def start(*, of: Authority | None = None, **options: Any) -> Authority:
        if of is None:
            number = len(made)
            node = Authority(data=tmp_path / f"data-{number}", logs=tmp_path / f"node-{number}", **options)
            node.init()
        else:
            node = of.peer()
        made.append(node)
        node.start()
        return node

    yield start
    for node in made:
        node.stop()
