"""A private PostgreSQL server: its own data directory, a loopback port, full durability."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.processes import kill_tree, stop, tail, wait_for


def find_binaries() -> Path | None:
    """The directory of the newest PostgreSQL server on this machine."""
    candidates = list(Path("/usr/lib/postgresql").glob("*/bin"))
    candidates.sort(key=lambda folder: float(folder.parent.name), reverse=True)
    if on_path := shutil.which("initdb"):
        candidates.append(Path(on_path).resolve().parent)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


def unprivileged() -> dict[str, Any]:
    """Popen options that leave root behind, since initdb and postgres refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("neither the user postgres nor nobody exists")


@dataclass
class PostgresqlServer:
    """One running server; `url(name)` is the address of a database in it."""

    binaries: Path
    home: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, binaries: Path) -> "PostgresqlServer":
        """A started server in a directory that its unprivileged user may enter: pytest's are closed."""
        home = Path(tempfile.mkdtemp(prefix="keybearer-postgresql-"))
        account = unprivileged()
        if account:
            os.chown(home, account["user"], account["group"])
        server = cls(binaries, home)
        try:
            server._run(
                "initdb",
                "-D",
                f"{home}/data",
                "-U",
                "keybearer",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
            )
            server.start()
        except BaseException:
            server.remove()
            raise
        return server

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        assert self._process
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """The address of one database."""
        return f"postgresql://keybearer@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.home,
            "fsync": "on",
            "synchronous_commit": "on",
            "max_connections": 200,
            "shared_buffers": "64MB",
            "autovacuum_naptime": "10min",
        }
        with open(self.home / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    self.binaries / "postgres",
                    "-D",
                    self.home / "data",
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                **unprivileged(),
            )
        try:
            wait_for(self._is_ready, seconds=60, what="PostgreSQL", process=self._process)
        except Exception as error:
            error.add_note(tail(self.home / "server.log"))
            raise

    def stop(self) -> None:
        """A fast shutdown: open transactions are rolled back."""
        if self._process:
            stop(self._process, by=signal.SIGINT)

    def kill9(self) -> None:
        """A crash: the server and its backends get SIGKILL."""
        if self._process:
            kill_tree(self._process)

    def remove(self) -> None:
        """Stops the server and deletes its directory."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Runs one statement through psql and returns its bare output."""
        output = self._run("psql", self.url(database), "-XAtqv", "ON_ERROR_STOP=1", "-c", statement)
        return output.strip()

    def _is_ready(self) -> bool:
        probe = [self.binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(probe, cwd=self.home).returncode == 0

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self.binaries / program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.home,
            **unprivileged(),
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")
        return done.stdout
