"""A private Apache with mod_auth_openidc: one configuration, one temporary prefix, one free port."""

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import kill_tree, stop, tail, wait_for

_MODULES = (
    *("mpm_event", "unixd", "authn_core", "authz_core", "authz_user", "headers", "alias"),
    *("proxy", "proxy_http", "auth_openidc"),
)
_FOLDERS = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules")
_FRAME = """\
ServerRoot {prefix}
ServerName 127.0.0.1
DefaultRuntimeDir {prefix}
PidFile {prefix}/apache.pid
Mutex sem
ErrorLog {prefix}/error.log
LogLevel warn auth_openidc:info
StartServers 1
MinSpareThreads 1
ThreadsPerChild 8
MaxRequestWorkers 16
Listen 127.0.0.1:{port}
{modules}
{user}
{directives}
"""


def find_apache() -> tuple[str, Path] | None:
    """The program and the folder of its modules, if mod_auth_openidc is among them."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    program = shutil.which("apache2", path=path) or shutil.which("httpd", path=path)
    folders = [Path(one) for one in _FOLDERS if (Path(one) / "mod_auth_openidc.so").exists()]
    return (program, folders[0]) if program and folders else None


@dataclass
class Apache:
    """One running Apache, its address and its log."""

    program: str
    modules: Path
    prefix: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def error_log(self) -> str:
        """What the error log holds so far."""
        return (self.prefix / "error.log").read_text()

    def start(self, directives: str) -> None:
        """Runs with these directives; `@URL@` in them becomes its own address."""
        modules = "\n".join(
            f"LoadModule {name}_module {self.modules}/mod_{name}.so"
            for name in _MODULES
            if (self.modules / f"mod_{name}.so").exists()  # Debian has built some of them in
        )
        # Its workers must leave root; they read no file of ours.
        user = "User nobody\nGroup #65534" if os.geteuid() == 0 else ""
        directives = directives.replace("@URL@", self.url)
        configuration = self.prefix / "apache.conf"
        configuration.write_text(
            _FRAME.format(prefix=self.prefix, port=self.port, modules=modules, user=user, directives=directives)
        )
        with open(self.prefix / "output.log", "ab") as log:
            self._process = subprocess.Popen(
                [self.program, "-f", configuration, "-D", "FOREGROUND"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_for(self._accepts, seconds=20, what="Apache", process=self._process)
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
