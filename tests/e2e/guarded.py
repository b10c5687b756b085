"""A real site behind a real proxy with a configuration of deploy/; Keybearer decides, curl asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from tests.e2e.curl import Answer, curl
from tests.e2e.shop import Shop
from tests.e2e.static_site import StaticSite
from tests.support.authority import Authority
from tests.support.ports import free_port
from tests.support.program import Program

DEPLOY = Path(__file__).parents[2] / "deploy"
PAGE = "<h1>Only for key holders</h1>\n"
P = TypeVar("P", bound=Program)


@dataclass
class Scene(Generic[P]):
    """The three servers, and the shop whose keys open the site."""

    shop: Shop
    site: StaticSite
    proxy: P

    def get(self, *arguments: str, path: str = "/index.html") -> Answer:
        """What curl gets from the proxy."""
        return curl(self.proxy.url + path, *arguments)

    @property
    def heard(self) -> dict[str, str]:
        """What headers the site heard last, by name in lower case, as some proxies write them; none comes twice."""
        headers = self.site.last_headers
        assert len(headers) == len({name.lower() for name, _ in headers})
        return {name.lower(): value for name, value in headers}


@contextmanager
def guarded_site(home: Path, proxy: P, configuration: Path, log_folder: str) -> Iterator[Scene[P]]:
    """One of each server while the context lasts; ``log_folder`` is where the configuration puts its log."""
    folder = home / "site"
    (folder / "guide").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "guide" / "a b.txt").write_text("A page in a folder.\n")
    node = authority_for_guards(home)
    site = StaticSite(folder)
    try:
        proxy.start(adapted(configuration, ports_of(node), site.port, log_folder))
        yield Scene(Shop(node, allow_publishable_in_query=True), site, proxy)
    finally:
        proxy.stop()
        site.stop()
        node.stop()


def authority_for_guards(home: Path) -> Authority:
    """A running authority that answers over HTTP and gRPC."""
    environment = {"KEYBEARER_FAILURES_PER_MINUTE": "0", "KEYBEARER_EXT_AUTHZ_PORT": str(free_port())}
    node = Authority(home / "data", home / "logs", environment=environment)
    node.init()
    node.start()
    return node


def ports_of(node: Authority) -> tuple[int, int]:
    """Where the authority is asked over HTTP and gRPC."""
    return node.port, int(node.environment["KEYBEARER_EXT_AUTHZ_PORT"])


def adapted(configuration: Path, ask: tuple[int, int], site_port: int, log_folder: str) -> str:
    """The file as operators get it, with other ports and another place for the log.

    ``ask`` are the ports where to ask over HTTP and gRPC.
    """
    text = configuration.read_text()
    over_http, over_grpc = ask
    written = "address: 127.0.0.1, port_value: {}" if "port_value" in text else "127.0.0.1:{}"
    is_grpc = written.format(8090) in text
    for old, new in {
        written.format(8090 if is_grpc else 8080): written.format(over_grpc if is_grpc else over_http),
        written.format(8081): written.format(site_port),
        written.format(8088): written.format("@PORT@"),
        log_folder: "@PREFIX@/",
    }.items():
        if not old or (old not in text and "forwardAuth" in text):
            continue  # Traefik has the address and the log in another file
        assert old in text
        text = text.replace(old, new)
    return text
