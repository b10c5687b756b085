"""Programs for Node: `scripts/test` installs the packages that they need, when the machine can."""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.processes import kill_tree

SOURCES = Path(__file__).parents[1] / "e2e/node"
INSTALLED = Path(sys.prefix) / "npm"
"""Where `scripts/lib.sh` puts `node` and, for each lock file, the packages in it."""


class NotInstalled(Exception):
    """Why the programs cannot be run here."""


def packages(name: str) -> Path:
    """The folder that holds the `node_modules` of `tests/e2e/node/NAME`; raises ``NotInstalled``."""
    lock = (SOURCES / name / "package-lock.json").read_bytes()
    folder = INSTALLED / hashlib.sha256(lock).hexdigest()[:16]
    if not node().exists() or not (folder / "installed").exists():
        raise NotInstalled(f"Node 22 with the packages of tests/e2e/node/{name} is not there; scripts/test installs it")
    return folder


def node() -> Path:
    """The program."""
    return INSTALLED / "node"


def environment() -> dict[str, str]:
    """Without what would send requests elsewhere or have Node load something else."""
    unwanted = {"http_proxy", "https_proxy", "all_proxy", "node_options", "node_path"}
    return {name: value for name, value in os.environ.items() if name.lower() not in unwanted}


def converse(
    folder: Path, script: str, settings: Mapping[str, Any], answer: Callable[[dict[str, Any]], str], seconds: float = 90
) -> dict[str, Any]:
    """Run a script below `tests/e2e/node`, with a copy of it in ``folder``; ``answer`` is what the person does, and
    returns the URL where the browser ended. Returns what the script saw.
    """
    shutil.copytree(SOURCES, folder / "node")
    (place := folder / "node" / Path(script).parent).joinpath("node_modules").symlink_to(
        packages(place.name) / "node_modules"
    )
    log = folder / "stderr.log"
    with open(log, "wb") as stderr:
        process = subprocess.Popen(
            [node(), script],
            cwd=folder / "node",
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    try:
        deadline = time.monotonic() + seconds
        said = _exchange(process, dict(settings), deadline)
        while "seen" not in said:
            said = _exchange(process, {"url": answer(said)}, deadline)
        return dict(said["seen"])
    except Exception as error:
        error.add_note(log.read_text(errors="replace"))
        raise
    finally:
        if process.poll() is None:
            kill_tree(process)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def _exchange(process: subprocess.Popen[bytes], line: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Write one line and read one."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(line).encode() + b"\n")
    process.stdin.flush()
    readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
    text = process.stdout.readline() if readable else b""
    if not text:
        raise AssertionError(f"the script said nothing more; status {process.poll()}")
    return dict(json.loads(text))
