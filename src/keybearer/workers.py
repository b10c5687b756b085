"""Several worker processes behind one listening socket: forked, watched, and stopped together."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final

log = logging.getLogger(__name__)

START_LIMIT: Final = 30.0
RESTART_PAUSE: Final = 1.0


class Supervisor:
    """Forks ``count`` workers that run ``work(index, report_ready)``, restarts one that dies, stops all on a signal.

    It must be made before the process has threads or an event loop. A worker that ends while the others run is a fault:
    it is started again after a pause, so that a crash loop costs one fork a second at most.
    """

    def __init__(self, count: int, work: Callable[[int, Callable[[], None]], int], *, stop_limit: float) -> None:
        self._count = count
        self._work = work
        self._stop_limit = stop_limit
        self._children: dict[int, int] = {}
        self._stopping = False
        self._ready_reader, self._ready_writer = os.pipe()

    def run(self, on_ready: Callable[[], None]) -> int:
        """Run until a signal stops it; returns the exit status. ``on_ready`` is called when all accept connections."""
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, self._on_signal)
        for index in range(self._count):
            self._fork(index)
        if not self._wait_until_ready():
            self._stop_all()
            return 1
        if not self._stopping:
            on_ready()
        self._watch()
        self._stop_all()
        return 0

    def _fork(self, index: int) -> None:
        pid = os.fork()
        if pid:
            self._children[pid] = index
            return
        status = 1
        try:
            os.close(self._ready_reader)
            for signal_number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(signal_number, signal.SIG_DFL)
            status = self._work(index, self._report_ready)
        except BaseException:
            log.exception("worker failed", extra={"worker": index})
        finally:
            os._exit(status)

    def _report_ready(self) -> None:
        os.write(self._ready_writer, b"r")

    def _wait_until_ready(self) -> bool:
        seen = 0
        end = time.monotonic() + START_LIMIT
        while seen < self._count and not self._stopping:
            left = end - time.monotonic()
            readable, _, _ = select.select([self._ready_reader], [], [], max(0.0, min(left, 0.2)))
            if readable:
                seen += len(os.read(self._ready_reader, 64))
            elif self._reap() or left <= 0:
                log.error("a worker did not start")
                return False
        return True

    def _watch(self) -> None:
        while not self._stopping:
            time.sleep(0.1)
            for index in self._reap():
                if not self._stopping:
                    log.error("a worker died and is started again", extra={"worker": index})
                    time.sleep(RESTART_PAUSE)
                    self._fork(index)
            readable, _, _ = select.select([self._ready_reader], [], [], 0)
            if readable:
                os.read(self._ready_reader, 64)

    def _reap(self) -> list[int]:
        ended = []
        with suppress(ChildProcessError):
            while True:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                if pid in self._children:
                    ended.append(self._children.pop(pid))
        return ended

    def _on_signal(self, signal_number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _stop_all(self) -> None:
        self._signal_all(signal.SIGTERM)
        end = time.monotonic() + self._stop_limit
        while self._children and time.monotonic() < end:
            self._reap()
            time.sleep(0.02)
        self._signal_all(signal.SIGKILL)
        self._reap()

    def _signal_all(self, signal_number: int) -> None:
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal_number)
