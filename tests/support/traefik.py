"""A private Traefik: a static and a dynamic configuration, one temporary folder, one free port."""

from __future__ import annotations

import os
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from tests.support.program import Program, find_program

_STATIC = """\
global: {{ checkNewVersion: false, sendAnonymousUsage: false }}
{static}
"""


def find_traefik() -> str | None:
    """The program: on the PATH, or where ``scripts/traefik`` builds it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keybearer"
    return find_program("traefik", folders=f"/usr/local/bin:{cache}")


@dataclass
class Traefik(Program):
    """One running Traefik and its address."""

    static: str = ""
    NAME = "Traefik"

    def start(self, configuration: str) -> None:
        """Runs with this dynamic configuration; ``static`` is the other file, as operators get it."""
        (self.prefix / "dynamic.yaml").write_text(self.filled_in(configuration))
        static = self.static
        for old, new in {
            "127.0.0.1:8088": f"127.0.0.1:{self.port}",
            "/etc/traefik/": f"{self.prefix}/",
            "/var/log/traefik/": f"{self.prefix}/",
        }.items():
            assert old in static
            static = static.replace(old, new)
        (self.prefix / "static.yaml").write_text(_STATIC.format(static=static))
        self.launch([self.program, f"--configFile={self.prefix / 'static.yaml'}"])

    def _accepts(self) -> bool:
        """Until it has read the dynamic configuration, it listens already and knows no route."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status != 404
        except OSError:
            return False
        finally:
            connection.close()
