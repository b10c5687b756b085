"""A private Apache with mod_auth_openidc: one configuration, one temporary prefix, one free port."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.support.program import Program, find_program

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
    program = find_program("apache2", "httpd")
    folders = [Path(one) for one in _FOLDERS if (Path(one) / "mod_auth_openidc.so").exists()]
    return (program, folders[0]) if program and folders else None


@dataclass(kw_only=True)
class Apache(Program):
    """One running Apache, its address and its log."""

    modules: Path

    NAME = "Apache"
    LOGS = ("error.log",)

    @property
    def error_log(self) -> str:
        """What the error log holds so far."""
        return (self.prefix / "error.log").read_text()

    def start(self, configuration: str) -> None:
        """Runs with these directives; `@URL@` in them becomes its own address."""
        modules = "\n".join(
            f"LoadModule {name}_module {self.modules}/mod_{name}.so"
            for name in _MODULES
            if (self.modules / f"mod_{name}.so").exists()  # Debian has built some of them in
        )
        # Its workers must leave root; they read no file of ours.
        user = "User nobody\nGroup #65534" if os.geteuid() == 0 else ""
        directives = configuration.replace("@URL@", self.url)
        place = self.prefix / "apache.conf"
        place.write_text(
            _FRAME.format(prefix=self.prefix, port=self.port, modules=modules, user=user, directives=directives)
        )
        self.launch([self.program, "-f", place, "-D", "FOREGROUND"])
