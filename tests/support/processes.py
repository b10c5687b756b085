"""Started programs: waiting for them with a bound, and ending them by process id."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")


def wait_for(
    probe: Callable[[], T | None],
    *,
    seconds: float,
    what: str,
    process: subprocess.Popen[bytes],
) -> T:
    """The first true answer of `probe`; raises when time is up or `process` has ended before."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := probe():
            return answer
        if process.poll() is not None:
            raise RuntimeError(f"{what}: the process ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


def stop(
    process: subprocess.Popen[bytes],
    *,
    by: signal.Signals = signal.SIGTERM,
    seconds: float = 20,
) -> int:
    """Asks a process to end and returns its exit status; after `seconds` it and its children are killed."""
    if process.poll() is None:
        process.send_signal(by)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            kill_tree(process)
    return process.wait()


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a process and to all that it started, as a power cut would."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        parent.suspend()  # or a supervisor would start new children meanwhile
        for child in parent.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.wait(10)


def tail(*logs: Path, lines: int = 30) -> str:
    """The last lines of some log files, for a failure's message."""
    return "\n".join(
        f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
        for log in logs
        if log.exists()
    )
