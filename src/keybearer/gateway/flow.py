"""One side of the gateway as a flow: it is read and written only as fast as the other side follows, and never for ever.

Every connection has two deadlines, one for what it must send and one for what it must take; a clock of the gateway
looks at them four times a second, which costs less than a timer for each wait.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

NEVER: Final = float("inf")
PROGRESS: Final = 16 * 1024
"""A sender in time is one that sends this much, or all, within each of its spans: one byte now and then is none."""
WRITE_HIGH: Final = 256 * 1024


class Flow(asyncio.Protocol):
    """A connection with backpressure. ``stalled_in`` is in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stalled_in: float) -> None:
        self.loop = loop
        self.stalled_in = stalled_in
        self.read_by = NEVER
        self.write_by = NEVER
        self.is_lost = False
        self._transport: Any = None
        self._moved = 0
        self._is_held = False
        self._is_full = False
        self._drained: asyncio.Future[None] | None = None

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self.is_lost or self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; who waits to write is let go."""
        self.is_lost = True
        self.read_by = self.write_by = NEVER
        self._let_go()

    # Reading.

    def hold(self, held: bool) -> None:
        """Stop or go on reading; time that we make the other side wait is not held against it."""
        if held == self._is_held or self.is_lost:
            return
        self._is_held = held
        if held:
            self._transport.pause_reading()
            self._held_by, self.read_by = self.read_by, NEVER
        else:
            self._transport.resume_reading()
            if self._held_by != NEVER:
                self.expect(self.stalled_in)

    _held_by = NEVER

    def expect(self, seconds: float) -> None:
        """Want something to come within this time."""
        self._moved = 0
        deadline = NEVER if seconds == NEVER else self.loop.time() + seconds
        if self._is_held:
            self._held_by = deadline
        else:
            self.read_by = deadline

    def moved(self, count: int) -> None:
        """Note that bytes of a body came; enough of them move the deadline."""
        self._moved += count
        if self._moved >= PROGRESS and self.read_by != NEVER:
            self.expect(self.stalled_in)

    def read_late(self) -> None:
        """What was expected did not come in time."""
        self.abort()

    # Writing.

    def write(self, data: bytes) -> None:
        """Send bytes; ``drain`` waits while too many of them wait."""
        if not self.is_closing:
            self._transport.write(data)

    def pause_writing(self) -> None:
        """The other side takes too slowly."""
        self._is_full = True
        self.write_by = self.loop.time() + self.stalled_in

    def resume_writing(self) -> None:
        """The other side follows again."""
        self._is_full = False
        self.write_by = NEVER
        self._let_go()

    @property
    def is_full(self) -> bool:
        """Whether ``drain`` would wait."""
        return self._is_full

    async def drain(self) -> None:
        """Wait until there is room; raises ``ConnectionResetError`` when nobody takes it any more."""
        if self._is_full and not self.is_lost:
            self._drained = self._drained or self.loop.create_future()
            await asyncio.shield(self._drained)
        if self.is_lost:
            raise ConnectionResetError

    def _let_go(self) -> None:
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None

    # The end.

    def look(self, now: float) -> None:
        """Act on a deadline that has passed."""
        if now >= self.write_by:
            self.abort()
        elif now >= self.read_by:
            self.read_by = NEVER
            self.read_late()

    def close(self) -> None:
        """Close once all is sent, or once the other side takes nothing any more."""
        if not self.is_lost and self._transport is not None:
            self._transport.close()
            self.write_by = min(self.write_by, self.loop.time() + self.stalled_in)

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()
