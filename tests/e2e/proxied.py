"""Every proxy that has a configuration in deploy/, each in front of the same site: a row of one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.e2e.guarded import DEPLOY, Scene, guarded_site
from tests.support.caddy import Caddy, find_caddy
from tests.support.envoy import Envoy, find_envoy
from tests.support.nginx import Nginx, find_nginx
from tests.support.program import Program
from tests.support.traefik import Traefik, find_traefik


class Proxied(NamedTuple):
    """One proxy. ``logged`` is what stands in its log of a request that it let through, with the key's id put in;
    ``while_down`` is its answer while Keybearer cannot be asked.
    """

    name: str
    find: Callable[[], str | None]
    make: Callable[[str, Path], Program]
    configuration: Path
    log_folder: str
    logged: str
    while_down: int


TRAEFIK_STATIC: Final = DEPLOY / "traefik/static.yaml"


def _traefik(program: str, prefix: Path) -> Program:
    return Traefik(program, prefix, static=TRAEFIK_STATIC.read_text())


_ENVOY: Final = (find_envoy, Envoy)
PROXIES: Final = (
    Proxied("nginx", find_nginx, Nginx, DEPLOY / "nginx/keybearer.conf", "/var/log/nginx/", "key={key_id}", 503),
    Proxied(
        "caddy", find_caddy, Caddy, DEPLOY / "caddy/keybearer.caddy", "/var/log/caddy/", '"uri":"/index.html"', 502
    ),
    Proxied(
        "envoy-grpc", *_ENVOY, DEPLOY / "envoy/keybearer-grpc.yaml", "/var/log/envoy/", "html 200 key={key_id}", 503
    ),
    Proxied(
        "envoy-http", *_ENVOY, DEPLOY / "envoy/keybearer-http.yaml", "/var/log/envoy/", "html 200 key={key_id}", 503
    ),
    Proxied("traefik", find_traefik, _traefik, DEPLOY / "traefik/dynamic.yaml", "", '"DownstreamStatus":200', 500),
)


def each(*names: str) -> list[Any]:
    """The rows of these names, or all, as parameters; each proxy is started by one worker of the suite."""
    return [
        pytest.param(row, id=row.name, marks=pytest.mark.xdist_group(f"proxy-{row.name}"))
        for row in PROXIES
        if not names or row.name in names
    ]


@contextmanager
def proxied(row: Proxied, folders: pytest.TempPathFactory) -> Iterator[Scene[Any]]:
    """The proxy, the site behind it and Keybearer, while the context lasts; skips where there is no such program."""
    program = row.find()
    if program is None:
        pytest.skip(f"{row.name} is not installed" + ("; scripts/traefik builds it" if row.name == "traefik" else ""))
    home = folders.mktemp(row.name)
    prefix = home / "prefix"
    prefix.mkdir()
    with guarded_site(home, row.make(program, prefix), row.configuration, row.log_folder) as running:
        yield running
