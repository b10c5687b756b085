"""What the figures were measured with: versions of everything on the path, and the cores to pin processes to."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = (
    "keybearer",
    "uvicorn",
    "httptools",
    "uvloop",
    "msgspec",
    "cryptography",
    "starlette",
    "asyncpg",
    "hyperscan",
)


def versions() -> dict[str, str]:
    """Return name and version of what matters to speed."""
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    found["sqlite"] = sqlite3.sqlite_version
    if shutil.which("wrk"):
        said = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
        found["wrk"] = (said.stdout + said.stderr).split("\n")[0].split(" ")[1]
    found["kernel"] = platform.release().split("-")[0]
    return found


def cores() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def pinned(place: int) -> tuple[str, ...]:
    """Return the command prefix that keeps a process on one core: 0 for the server, 1 for who asks it."""
    usable = cores()
    if len(usable) < 2 or not shutil.which("taskset"):
        return ()
    return ("taskset", "--cpu-list", str(usable[place % len(usable)]))
