"""A private Caddy: one configuration, one temporary folder, one free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import kill_tree, stop, tail, wait_for

_FRAME = """\
{{
	admin off
	auto_https off
}}
{sites}
"""


def find_caddy() -> str | None:
    """The program, also where an ordinary user's PATH does not look."""
    return shutil.which("caddy", path=os.environ.get("PATH", "") + ":/usr/local/bin")


@dataclass
class Caddy:
    """One running Caddy, its address and its logs."""

    program: str
    prefix: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """What it said so far."""
        return (self.prefix / "output.log").read_text()

    def start(self, sites: str) -> None:
        """Runs with these sites; `@PORT@` and `@PREFIX@` in them are filled in."""
        sites = sites.replace("@PORT@", str(self.port)).replace("@PREFIX@", str(self.prefix))
        (self.prefix / "Caddyfile").write_text(_FRAME.format(sites=sites))
        own = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(self.prefix))
        command = [self.program, "run", "--config", self.prefix / "Caddyfile", "--adapter", "caddyfile"]
        with open(self.prefix / "output.log", "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | own
            )
        try:
            wait_for(self._accepts, seconds=20, what="Caddy", process=self._process)
        except Exception as error:
            error.add_note(tail(self.prefix / "output.log"))
            kill_tree(self._process)
            raise

    def stop(self) -> None:
        """Ends it at once."""
        if self._process:
            stop(self._process)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
