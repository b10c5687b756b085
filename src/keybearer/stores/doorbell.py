"""The doorbell: a number in shared memory that says how far the event log has grown on this machine.

Whoever commits an event raises it before the change is acknowledged, so every process of the machine sees, with one
memory read and no system call, that its view is behind. It only says *look again*; what happened, the log says. A
process that dies between commit and ring loses nothing but speed: the next poll of the log finds the event (DESIGN §5).
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol


class Doorbell(Protocol):
    """How far the event log has grown, as far as this machine has heard."""

    def head(self) -> int:
        """Return the highest ``seq`` that was rung."""
        ...

    def ring(self, head: int) -> None:
        """Raise the number to ``head``; it never goes back. Safe from any thread."""
        ...


class LocalDoorbell:
    """A doorbell for one process."""

    def __init__(self) -> None:
        self._head = 0

    def head(self) -> int:
        """Return the highest ``seq`` that was rung."""
        return self._head

    def ring(self, head: int) -> None:
        """Raise the number to ``head``."""
        self._head = max(self._head, head)


class SharedDoorbell:
    """A doorbell for every process that has the same data directory, in eight bytes of a mapped file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._file).st_size < mmap.PAGESIZE:
            if hasattr(os, "posix_fallocate"):  # on a full disk an error here, and not a SIGBUS at the first ring
                os.posix_fallocate(self._file, 0, mmap.PAGESIZE)
            else:
                os.ftruncate(self._file, mmap.PAGESIZE)
        self._map = mmap.mmap(self._file, mmap.PAGESIZE)
        self._words = memoryview(self._map).cast("Q")

    def head(self) -> int:
        """Return the highest ``seq`` that was rung (aligned eight-byte reads are atomic)."""
        return self._words[0]

    def ring(self, head: int) -> None:
        """Raise the number to ``head``; the lock keeps two ringing processes from lowering it."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            if head > self._words[0]:
                self._words[0] = head
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    async def align(self, read_head: Callable[[], Awaitable[int]]) -> None:
        """Set the number to the log's head at start-up, also backwards: the database may be an older copy now.

        Committing comes before ringing, so under the lock no ring can be lost: it lies in the head, or comes after.
        """
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            self._words[0] = await read_head()
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Unmap the file."""
        self._words.release()
        self._map.close()
        os.close(self._file)
