"""A real static site behind a real proxy with a configuration of deploy/; Keybearer decides, curl asks."""

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
from tests.support.caddy import Caddy
from tests.support.nginx import Nginx

DEPLOY = Path(__file__).parents[2] / "deploy"
PAGE = "<h1>Only for key holders</h1>\n"
P = TypeVar("P", Nginx, Caddy)


@dataclass
class Scene(Generic[P]):
    """The three servers, and the shop whose keys open the site."""

    shop: Shop
    site: StaticSite
    proxy: P

    def get(self, *arguments: str, path: str = "/index.html") -> Answer:
        """What curl gets from the proxy."""
        return curl(self.proxy.url + path, *arguments)


@contextmanager
def guarded_site(home: Path, proxy: P, configuration: Path, log_folder: str) -> Iterator[Scene[P]]:
    """One of each server while the context lasts; ``log_folder`` is where the configuration puts its log."""
    folder = home / "site"
    (folder / "guide").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "guide" / "a b.txt").write_text("A page in a folder.\n")
    node = Authority(home / "data", home / "logs", environment={"KEYBEARER_FAILURES_PER_MINUTE": "0"})
    node.init()
    node.start()
    site = StaticSite(folder)
    # The file as operators get it, with other ports and another place for the log.
    text = configuration.read_text()
    for old, new in {
        "127.0.0.1:8080": f"127.0.0.1:{node.port}",
        "127.0.0.1:8081": f"127.0.0.1:{site.port}",
        "127.0.0.1:8088": "127.0.0.1:@PORT@",
        log_folder: "@PREFIX@/",
    }.items():
        assert old in text
        text = text.replace(old, new)
    try:
        proxy.start(text)
        yield Scene(Shop(node, allow_publishable_in_query=True), site, proxy)
    finally:
        proxy.stop()
        site.stop()
        node.stop()
