"""Rate limits of all processes of one machine: arrival times in a shared memory table, exact under ``--workers N``.

The table is set-associative: a bucket's name is hashed to one of ``sets`` rows of 16 slots, each a 16-byte tag and an
8-byte arrival time. File locks guard stripes of rows; the kernel releases them when a process dies. A slot whose
arrival time has passed is free. Should all
16 slots of a row be live, the one nearest to its end gives way, and is counted.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ..core.quota import gcra
from ..core.records import Take
from ..ports import Taken
from .memory import refused, state_of

WAYS: Final = 16
SLOT: Final = struct.Struct("=16sq")
STRIPES: Final = 256
_ROW: Final = SLOT.size * WAYS
_EMPTY: Final = bytes(16)


class SharedMemoryLimiter:
    """Implements ``ports.ImmediateLimiter`` for processes that were forked from the one that made it.

    ``sets`` rows of 384 bytes are reserved; the system only gives memory to those that are touched.
    """

    name = "shared_memory"

    def __init__(
        self,
        sets: int = 65_536,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        directory: Path | None = None,
    ) -> None:
        self._sets = sets
        self._monotonic_ns = monotonic_ns
        self._table = mmap.mmap(-1, sets * _ROW)
        # One lock file, opened anew in each process: file locks belong to the process, and end with it.
        handle, name = tempfile.mkstemp(prefix="keybearer-limits-", dir=directory)
        os.close(handle)
        self._lock_path = name
        self._lock_owner = 0
        self._lock_file = -1
        self.crowded_out = 0

    def close(self) -> None:
        """Let go of the table; the last process to do so removes the lock file."""
        if self._lock_file >= 0:
            os.close(self._lock_file)
        Path(self._lock_path).unlink(missing_ok=True)

    def take_now(self, takes: Sequence[Take]) -> Taken:
        """Take all or nothing."""
        places = [self._place(take.limit.bucket) for take in takes]
        stripes = sorted({row % STRIPES for row, _ in places})
        locks = self._locks()
        for stripe in stripes:
            fcntl.lockf(locks, fcntl.LOCK_EX, 1, stripe)
        try:
            now = self._monotonic_ns()
            results = [
                gcra(self._find(row, tag, now)[1], now, take.limit.emission_ns, take.limit.burst, take.cost)
                for take, (row, tag) in zip(takes, places, strict=True)
            ]
            if not all(result[0] for result in results):
                return refused(takes, results)
            for (row, tag), result in zip(places, results, strict=True):
                # Found again: an earlier take of this request may have used the same free slot.
                SLOT.pack_into(self._table, self._find(row, tag, now)[0], tag, result[1])
            return Taken(True, tuple(map(state_of, takes, results)))
        finally:
            for stripe in stripes:
                fcntl.lockf(locks, fcntl.LOCK_UN, 1, stripe)

    def give_back_now(self, takes: Sequence[Take]) -> None:
        """Undo an admitted take."""
        locks = self._locks()
        for take in takes:
            row, tag = self._place(take.limit.bucket)
            fcntl.lockf(locks, fcntl.LOCK_EX, 1, row % STRIPES)
            try:
                offset, tat = self._find(row, tag, self._monotonic_ns())
                if tat:
                    SLOT.pack_into(self._table, offset, tag, tat - take.cost * take.limit.emission_ns)
            finally:
                fcntl.lockf(locks, fcntl.LOCK_UN, 1, row % STRIPES)

    async def take(self, takes: Sequence[Take]) -> Taken:
        """Take all or nothing."""
        return self.take_now(takes)

    async def give_back(self, takes: Sequence[Take]) -> None:
        """Undo an admitted take."""
        self.give_back_now(takes)

    def _locks(self) -> int:
        pid = os.getpid()
        if self._lock_owner != pid:
            self._lock_file = os.open(self._lock_path, os.O_RDWR | os.O_CLOEXEC)
            self._lock_owner = pid
        return self._lock_file

    def _place(self, bucket: str) -> tuple[int, bytes]:
        tag = hashlib.blake2b(bucket.encode(), digest_size=16).digest()
        return int.from_bytes(tag[:8], "little") % self._sets, tag

    def _find(self, row: int, tag: bytes, now: int) -> tuple[int, int]:
        """Return ``(offset, arrival)`` of the bucket's slot, or of the one that it may have (arrival 0)."""
        start = row * _ROW
        known = self._table.find(tag, start, start + _ROW)
        if known >= 0 and (known - start) % SLOT.size == 0:
            return known, SLOT.unpack_from(self._table, known)[1]
        free, soonest, soonest_tat = -1, start, 1 << 62
        for offset in range(start, start + _ROW, SLOT.size):
            found, tat = SLOT.unpack_from(self._table, offset)
            if found == _EMPTY or tat <= now:
                if free < 0:
                    free = offset
            elif tat < soonest_tat:
                soonest, soonest_tat = offset, tat
        if free >= 0:
            return free, 0
        self.crowded_out += 1
        return soonest, 0
