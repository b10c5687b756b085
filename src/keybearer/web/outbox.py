"""Answers on their way out: those of one turn of the event loop are written together, after the last request of it.

A write wakes the peer, and the kernel's work for it drives ours out of the processor's caches. Reading and deciding
first for every connection that has something to say, then writing to all of them, costs less than taking turns. No
answer waits for a clock: the next thing that the loop does is to write. See ADR 6.
"""

from __future__ import annotations

import asyncio


class Outbox:
    """The answers of one turn, in order."""

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def put(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, data: bytes) -> None:
        """Write this soon. Whoever writes to the transport itself, or closes it, calls ``send`` first."""
        if not self._waiting:
            loop.call_soon(self.send)
        self._waiting.append((transport, data))

    def send(self) -> None:
        """Write now all that waits."""
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)
