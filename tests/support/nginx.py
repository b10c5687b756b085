"""A private nginx: one configuration, one temporary prefix, one free port."""

import os
from dataclasses import dataclass

from tests.support.program import Program, find_program

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
    return find_program("nginx")


@dataclass
class Nginx(Program):
    """One running nginx, its address and its logs."""

    NAME = "nginx"
    LOGS = ("error.log",)

    @property
    def access_log(self) -> str:
        """What the access log holds so far."""
        return (self.prefix / "access.log").read_text()

    @property
    def error_log(self) -> str:
        """What the error log holds so far."""
        return (self.prefix / "error.log").read_text()

    def start(self, configuration: str) -> None:
        """Runs with this inside the `http` block; `@PORT@` and `@PREFIX@` in it are filled in."""
        # Its workers would otherwise leave root, and could not enter pytest's directories.
        user = "user root;" if os.geteuid() == 0 else ""
        (self.prefix / "nginx.conf").write_text(_FRAME.format(user=user, http=self.filled_in(configuration)))
        self.launch([self.program, "-p", self.prefix, "-e", "error.log", "-c", self.prefix / "nginx.conf"])
