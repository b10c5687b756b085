"""The real `keybearer` command as a subprocess: initialised, served, stopped, killed, started again."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from tests.support.ports import free_port
from tests.support.processes import kill_tree, stop, tail, wait_for

ADMIN_EMAIL = "a@example.com"
ADMIN_PASSWORD = "correct-horse-battery-staple"


def keybearer_command() -> str:
    """The console script of the environment the tests run in."""
    return str(Path(sys.executable).with_name("keybearer"))


@dataclass
class Authority:
    """One authority; `data` may hold several when they share a database (see `peer`)."""

    data: Path
    logs: Path
    database: str | None = None
    workers: int | None = None
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    issuer: str = ""
    root_key: str = field(default="", repr=False)
    url: str = ""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """The process id of the server, or of its supervisor with several workers."""
        assert self._process
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """All that the server has printed, on both streams, over all its starts."""
        logs = [log for log in (self._stdout, self._stderr) if log.exists()]
        return "".join(log.read_text(errors="replace") for log in logs)

    def worker_pids(self) -> list[int]:
        """The process ids of all that the server started."""
        return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]

    def run(self, *arguments: str, stdin: str = "", seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs another `keybearer` command in the same environment; the caller looks at its status."""
        return subprocess.run(
            [keybearer_command(), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self._environment(),
        )

    def init(self) -> None:
        """`keybearer init`: makes the data directory, the administrator and the root key."""
        done = self.run(
            *("init", "--data", str(self.data), *self._address_arguments(), *self._database_arguments()),
            *("--admin-email", ADMIN_EMAIL, "--admin-password-stdin"),
            stdin=ADMIN_PASSWORD + "\n",
        )
        if done.returncode:
            raise RuntimeError(f"keybearer init: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        answer = json.loads(done.stdout)
        self.issuer, self.root_key = answer["issuer"], answer["root_key"]

    def start(self, *, seconds: float = 30) -> None:
        """`keybearer serve`: returns once it has printed its `ready` line."""
        self.logs.mkdir(parents=True, exist_ok=True)
        seen = self._stdout.stat().st_size if self._stdout.exists() else 0
        workers = () if self.workers is None else ("--workers", str(self.workers))
        with open(self._stdout, "ab") as stdout, open(self._stderr, "ab") as stderr:
            self._process = subprocess.Popen(
                [
                    *(keybearer_command(), "serve", *self._address_arguments(), "--issuer", self.issuer),
                    *("--data", str(self.data), *self._database_arguments(), *workers, *self.arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=self._environment(),
            )

        def ready() -> str | None:
            line = re.search(rb"^ready (\S+)\s*\n", self._stdout.read_bytes()[seen:], re.MULTILINE)
            return line and line[1].decode()

        try:
            url = wait_for(ready, seconds=seconds, what="keybearer serve", process=self._process)
        except Exception as error:
            error.add_note(tail(self._stdout, self._stderr))
            self.kill9()
            raise
        self.url = url.rstrip("/")

    def stop(self) -> int:
        """A graceful end (SIGTERM); returns the exit status."""
        return stop(self._process) if self._process else 0

    def kill9(self) -> None:
        """A crash: SIGKILL to the server and its workers."""
        if self._process:
            kill_tree(self._process)

    def restart(self) -> None:
        """Stops it if it still runs, and starts it again with the same data on the same port."""
        self.stop()
        self.start()

    def peer(self) -> "Authority":
        """Another node, not started yet, with the same data directory and database on a port of its own."""
        port = free_port()
        return replace(self, port=port, logs=self.logs.with_name(f"node-{port}"), url="", _process=None)

    @property
    def _stdout(self) -> Path:
        return self.logs / "stdout.log"

    @property
    def _stderr(self) -> Path:
        return self.logs / "stderr.log"

    def _address_arguments(self) -> tuple[str, ...]:
        return ("--host", "127.0.0.1", "--port", str(self.port))

    def _database_arguments(self) -> tuple[str, ...]:
        return ("--database", self.database) if self.database else ()

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KEYBEARER_")}
        return inherited | dict(self.environment)
