"""A private Caddy: one configuration, one temporary folder, one free port."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.program import Program, find_program

_FRAME = """\
{{
	admin off
	auto_https off
}}
{sites}
"""


def find_caddy() -> str | None:
    """The program, also where an ordinary user's PATH does not look."""
    return find_program("caddy")


@dataclass
class Caddy(Program):
    """One running Caddy, its address and its logs."""

    NAME = "Caddy"

    def start(self, configuration: str) -> None:
        """Runs with these sites; `@PORT@` and `@PREFIX@` in them are filled in."""
        (self.prefix / "Caddyfile").write_text(_FRAME.format(sites=self.filled_in(configuration)))
        own = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(self.prefix))
        self.launch([self.program, "run", "--config", self.prefix / "Caddyfile", "--adapter", "caddyfile"], own)
