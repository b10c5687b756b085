"""A private nginx: one configuration, one temporary prefix, one free port."""

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import kill_tree, stop, tail, wait_for

_FRAME = """\
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log info;
events {{ worker_connections 256; }}
http {{
    access_log access.log;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
{http}
}}
"""


def find_nginx() -> str | None:
    """The program, also where an ordinary user's PATH does not look."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@dataclass
class Nginx:
    """One running nginx, its address and its logs."""

    program: str
    prefix: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def access_log(self) -> str:
        """What the access log holds so far."""
        return (self.prefix / "access.log").read_text()

    @property
    def error_log(self) -> str:
        """What the error log holds so far."""
        return (self.prefix / "error.log").read_text()

    def start(self, http: str) -> None:
        """Runs with `http` inside the `http` block; `@PORT@` and `@PREFIX@` in it are filled in."""
        http = http.replace("@PORT@", str(self.port)).replace("@PREFIX@", str(self.prefix))
        # Its workers would otherwise leave root, and could not enter pytest's directories.
        user = "user root;" if os.geteuid() == 0 else ""
        (self.prefix / "nginx.conf").write_text(_FRAME.format(user=user, http=http))
        command = [self.program, "-p", self.prefix, "-e", "error.log", "-c", self.prefix / "nginx.conf"]
        with open(self.prefix / "output.log", "ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for(self._accepts, seconds=20, what="nginx", process=self._process)
        except Exception as error:
            error.add_note(tail(self.prefix / "output.log", self.prefix / "error.log"))
            kill_tree(self._process)
            raise

    def stop(self) -> None:
        """Ends it at once."""
        if self._process:
            stop(self._process)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
