"""A running ``keybearer serve`` on a free loopback port, stopped by its process id."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .machine import pinned

START_LIMIT = 60.0
STOP_LIMIT = 20.0


def command() -> str:
    """Return the console script of this environment."""
    return str(Path(sys.executable).with_name("keybearer"))


def environment() -> dict[str, str]:
    """Return the environment without the settings of whoever runs the benchmarks."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KEYBEARER_")}


@contextlib.contextmanager
def running(arguments: Sequence[str], log: Path, *, place: int | None = 0) -> Iterator[Running]:
    """Start a server that prints ``ready URL``, and stop it at the end. ``place`` names its core, ``None`` any."""
    prefix = () if place is None else pinned(place)
    started = time.perf_counter()
    with open(log, "ab") as errors:
        process = subprocess.Popen(
            [*prefix, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(),
        )
    try:
        url = _ready_line(process, log)
        yield Running(process.pid, url, time.perf_counter() - started)
    finally:
        _stop(process)


def serve(data: Path, *extra: str) -> list[str]:
    """Return the command line that serves a data directory."""
    return [command(), "serve", "--host", "127.0.0.1", "--port", "0", "--data", str(data), *extra]


class Running:
    """A server that answers: its process, its address, and how long it took to get ready."""

    def __init__(self, pid: int, url: str, seconds: float) -> None:
        self.pid = pid
        self.url = url
        self.seconds = seconds
        self.host, _, port = url.removeprefix("http://").partition(":")
        self.port = int(port)

    def resident_megabytes(self) -> float:
        """Return the resident memory of the process (10^6 bytes)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1_000_000
        raise RuntimeError("the server has no resident memory")

    def processor_seconds(self) -> float:
        """Return how long the process, with all its threads, has been on a core."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _ready_line(process: subprocess.Popen[bytes], log: Path) -> str:
    if process.stdout is None:
        raise RuntimeError("the server has no standard output")
    seen = b""
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        if select.select([process.stdout], [], [], 0.5)[0]:
            piece = os.read(process.stdout.fileno(), 65_536)
            seen += piece
            for line in seen.decode(errors="replace").splitlines():
                if line.startswith("ready http"):
                    return line.split()[1]
            if not piece:
                break
    raise RuntimeError(f"the server did not start: {seen.decode(errors='replace')}\n{log.read_text(errors='replace')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
