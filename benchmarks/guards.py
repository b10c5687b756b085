"""Real proxies with the configurations of deploy/, in front of an nginx that answers at once; Keybearer decides.

The proxy and the site share one core with whoever asks, and Keybearer has the other one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.guarded import DEPLOY, adapted
from tests.support.caddy import Caddy, find_caddy
from tests.support.envoy import Envoy, find_envoy
from tests.support.nginx import Nginx, find_nginx
from tests.support.ports import free_port
from tests.support.program import Program
from tests.support.traefik import Traefik, find_traefik

from . import authority
from .machine import pinned
from .stock import Stock, stock

_DOOR = "api=https://site.example&permissions=pages:read"
_OPEN_DOOR = "cost=1"
_LOGS = {"nginx": "/var/log/nginx/", "caddy": "/var/log/caddy/", "envoy": "/var/log/envoy/", "traefik": ""}
_SITE = (
    'server { listen 127.0.0.1:@PORT@; access_log off; keepalive_requests 1000000; location / { return 200 "ok"; } }'
)

_PLAIN = """
log_format plain '$remote_addr [$time_iso8601] $request_method $uri $status $body_bytes_sent';
server {
    listen 127.0.0.1:@PORT@;
    access_log @PREFIX@/plain.log plain;
    location / {
        proxy_pass http://site;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
    }
}
"""


@dataclass(frozen=True, slots=True)
class Guards:
    """What is there: the authority, its keys, the site, and where to put more."""

    server: authority.Running
    stocked: Stock
    site: Nginx
    ask: tuple[int, int]
    scratch: Path

    @contextmanager
    def proxy(self, name: str, file: str, *, asks: bool = True) -> Iterator[Program | None]:
        """Run a proxy with a file of deploy/, or ``None`` where it is not installed; ``asks`` says if it guards."""
        kinds: dict[str, tuple[type[Program], str | None]] = {
            "nginx": (Nginx, find_nginx()),
            "caddy": (Caddy, find_caddy()),
            "envoy": (Envoy, find_envoy()),
            "traefik": (Traefik, find_traefik()),
        }
        kind, program = kinds[name]
        if program is None:
            yield None
            return
        prefix = self.scratch / f"{name}-{free_port()}"
        prefix.mkdir()
        running = kind(program, prefix, under=pinned(1))
        if isinstance(running, Traefik):
            running.static = (DEPLOY / "traefik/static.yaml").read_text()
        text = adapted(DEPLOY / name / file, self.ask, self.site.port, _LOGS[name])
        text = text.replace(_DOOR, _OPEN_DOOR)
        # The same over gRPC.
        text = text.replace("api: https://site.example\n", "").replace("permissions: pages:read", 'cost: "1"')
        running.start(text if asks else _unguarded(text))
        try:
            yield running
        finally:
            running.stop()


def _unguarded(text: str) -> str:
    """Return a configuration that only passes on to the same site, with an access log too."""
    site = re.search(r"upstream site \{.*?\n\}", text, re.DOTALL)
    if site is not None:
        return site[0] + _PLAIN
    lines = text.split("\n")
    start = next(at for at, line in enumerate(lines) if "envoy.filters.http.ext_authz" in line and "- name" in line)
    end = next(at for at, line in enumerate(lines) if "envoy.filters.http.router" in line and "- name" in line)
    rest = "\n".join([*lines[:start], *lines[end:]])
    head, found, tail = rest.partition("                          typed_per_filter_config:\n")
    return head + "\n  clusters:" + tail.partition("\n  clusters:")[2] if found else rest


@contextmanager
def guarded(scratch: Path) -> Iterator[Guards]:
    """Run Keybearer and the site while the context lasts."""
    stocked = stock(scratch / "data", 100)
    site_program = find_nginx()
    if site_program is None:
        raise RuntimeError("nginx is not installed")
    prefix = scratch / "site"
    prefix.mkdir()
    site = Nginx(site_program, prefix, under=pinned(1))
    port = free_port()
    arguments = authority.serve(stocked.data, "--ext-authz-port", str(port))
    with authority.running(arguments, scratch / "serve.log") as server:
        site.start(_SITE)
        try:
            yield Guards(server, stocked, site, (server.port, port), scratch)
        finally:
            site.stop()
