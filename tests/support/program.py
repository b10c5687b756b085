"""A private server program: one temporary folder, one free port, started and ended by its process id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.support.ports import free_port
from tests.support.processes import kill_tree, stop, tail, wait_for


def find_program(*names: str, folders: str = "/usr/sbin:/usr/local/sbin:/usr/local/bin") -> str | None:
    """The first of these that is there, also where an ordinary user's PATH does not look."""
    path = os.environ.get("PATH", "") + ":" + folders
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


@dataclass
class Program:
    """One running program and its address; ``LOGS`` are shown when it does not start."""

    program: str
    prefix: Path
    port: int = field(default_factory=free_port)
    under: tuple[str, ...] = ()
    """The command that it runs under, such as ``taskset``."""
    _process: subprocess.Popen[bytes] | None = None

    NAME: ClassVar[str]
    LOGS: ClassVar[tuple[str, ...]] = ()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process
        return self._process.pid

    @property
    def output(self) -> str:
        """What it said so far."""
        return (self.prefix / "output.log").read_text(errors="replace")

    def start(self, configuration: str) -> None:
        """Runs with this configuration, in which ``@PORT@`` and ``@PREFIX@`` are filled in."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends it at once."""
        if self._process:
            stop(self._process)

    def filled_in(self, configuration: str) -> str:
        """The configuration with this program's port and folder."""
        return configuration.replace("@PORT@", str(self.port)).replace("@PREFIX@", str(self.prefix))

    def launch(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """Starts the process and waits until it accepts connections."""
        with open(self.prefix / "output.log", "ab") as log:
            self._process = subprocess.Popen(
                [*self.under, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | dict(environment or {}),
            )
        try:
            wait_for(self._accepts, seconds=30, what=self.NAME, process=self._process)
        except Exception as error:
            error.add_note(tail(*(self.prefix / name for name in ("output.log", *self.LOGS))))
            kill_tree(self._process)
            raise

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
