"""The body of one message, on its way from the connection that reads it to the one that writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

HIGH: Final = 256 * 1024
"""How many bytes may wait; the connection they come from is then not read any further."""


class Body:
    """Pieces in order. One side feeds, the other reads; a fast sender is made to wait for a slow receiver."""

    __slots__ = ("_error", "_hold", "_is_held", "_pieces", "_waiter", "_waiting", "ended", "received")

    def __init__(self, hold: Callable[[bool], None]) -> None:
        self._hold = hold
        self._is_held = False
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self.ended = False
        self.received = 0

    @property
    def is_whole(self) -> bool:
        """Whether all of it came."""
        return self.ended and self._error is None

    @property
    def waiting(self) -> int:
        """How many bytes are here and were not read yet."""
        return self._waiting

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self.received += len(piece)
        if self.ended:
            return
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting >= HIGH and not self._is_held:
            self._is_held = True
            self._hold(True)
        self._wake()

    def end(self) -> None:
        """There is no more."""
        self.ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """The rest will never come; whoever reads gets this error instead. What is whole already stays so."""
        if not self.ended:
            self._error = error
            self.ended = True
            self._pieces.clear()
            self._wake()

    def read_now(self) -> bytes | None:
        """Return all that is here, empty at the end; ``None`` when that must be waited for."""
        if self._pieces:
            found = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._waiting = 0
            if self._is_held:
                self._is_held = False
                self._hold(False)
            return found
        if self._error is not None:
            raise self._error
        return b"" if self.ended else None

    async def read(self) -> bytes:
        """Return the next bytes, empty at the end; raises the error that cut the body short."""
        while (found := self.read_now()) is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return found

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
