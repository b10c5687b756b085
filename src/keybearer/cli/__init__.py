"""The ``keybearer`` command.

Exit codes: 0 done; 1 refused or failed; 2 wrong usage or configuration; 3 the server cannot be reached.
"""

from __future__ import annotations

import os
import sys

_SERVER_COMMANDS = ("serve", "init")


def main() -> None:
    """Run the command line. ``serve`` and ``init`` start without loading the HTTP client, tables or other commands."""
    light = sys.argv[1:2] and sys.argv[1] in _SERVER_COMMANDS and "_KEYBEARER_COMPLETE" not in os.environ
    if light:
        from . import server

        server.application()(prog_name="keybearer")
        return
    from . import application

    application.application()(prog_name="keybearer")
