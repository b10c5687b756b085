"""The ``keybearer`` command.

Exit codes: 0 done; 1 refused or failed; 2 wrong usage or configuration; 3 the server cannot be reached.
"""

from __future__ import annotations

import os
import sys

_SERVER_COMMANDS = ("serve", "gateway", "init")


def main() -> None:
    """Run the command line. ``serve``, ``gateway`` and ``init`` start without what only the other commands need."""
    light = sys.argv[1:2] and sys.argv[1] in _SERVER_COMMANDS and "_KEYBEARER_COMPLETE" not in os.environ
    if light:
        # A server needs no colours: the logging and command line libraries would load this, and keep 5 MB for it.
        sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
        from . import server

        server.application()(prog_name="keybearer")
        return
    from . import application

    application.application()(prog_name="keybearer")
