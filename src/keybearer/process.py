"""One process of a node: how many files it may open, and how it learns that it shall end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

OTHER_FILES: Final = 256
"""Open files besides connections: databases, logs, the doorbell."""


def allow_open_files(connections: int) -> None:
    """Ask for as many open files as connections need: of the usual 1,024, slow clients would leave others none."""
    wanted = connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        if most < wanted:
            log.warning("the system allows fewer open files than max_connections needs", extra={"allowed": most})


async def until_orphaned() -> None:
    """Wait until the supervisor of this worker was killed, so that it does not go on holding the port."""
    parent = os.getppid()
    while True:
        await asyncio.sleep(1.0)
        if os.getppid() != parent:
            return


async def until_stopped(ready: Callable[[], None], *, is_worker: bool) -> int:
    """Say that all listeners accept, then wait for SIGTERM, SIGINT or the end of the supervisor; returns 0."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    ready()
    orphaned = loop.create_task(until_orphaned()) if is_worker else None
    if orphaned is not None:
        orphaned.add_done_callback(lambda _: stopped.set())
    await stopped.wait()
    if orphaned is not None:
        orphaned.cancel()
    return 0
