"""How long a revoked key still opens a site behind the gateway, after the revoke was acknowledged.

For each connection, the time from the acknowledgement to the sending of the last request that still got through: by the
gateway in the process of the authority that was told, and by a node that is a gateway only on the same database.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

from .authority import command, running, serve
from .figures import Figure, Goal, Spread
from .gateway import free_port, stocked
from .revocation_guards import NEXT_REQUEST, revoke_many

WITHIN = Goal("≤ 1,000 ms", at_most=1000.0)


def measure(*, quick: bool) -> Sequence[Figure]:
    """Revoke many keys that were used through each gateway just before."""
    rounds = 10 if quick else 100
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        log = scratch / "log"
        site = stack.enter_context(running([sys.executable, "-m", "benchmarks.bare_site"], log, place=1))
        stock = stocked(scratch, site.url)
        here, there = free_port(), free_port()
        server = stack.enter_context(running([*serve(stock.data), *stock.arguments(here)], log))
        stack.enter_context(running([command(), "gateway", "--data", str(stock.data), *stock.arguments(there)], log))
        scene = SimpleNamespace(server=server, stocked=stock)
        figures = []
        for what, port, goal in (("in the same process", here, NEXT_REQUEST), ("on a node of its own", there, WITHIN)):
            late, refusals = asyncio.run(revoke_many(scene, port, rounds, "/guarded/x"))
            milliseconds = sorted(delay * 1000 for delay in late)
            figures.append(
                Figure(
                    f"accepted after a revoke, through the gateway {what}: worst",
                    "ms",
                    Spread(milliseconds[-1], milliseconds[0], milliseconds[-1]),
                    goal=goal,
                    note=f"{sum(delay > 0 for delay in late)} of {len(late)} connections got through once more; "
                    f"the first refusals were there after at most {max(refusals) * 1000:.1f} ms",
                )
            )
    return figures
