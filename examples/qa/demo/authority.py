"""A Keybearer of this example's own: the ``keybearer`` command as a child process, ended with us."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 10.0


class Keybearer:
    """One authority on loopback, with its data below a folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._address = ("--host", "127.0.0.1", "--port", str(port))
        self._data = ("--data", str(folder / "keybearer"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, admin_email: str, admin_password: str) -> str:
        """Start it, the first time with this administrator, and return its root key."""
        kept = self._folder / "root-key.json"
        if not kept.exists():
            told = self._run("init", *self._data, *self._address, "--admin-email", admin_email, admin_password)
            kept.touch(mode=0o600)
            kept.write_text(told)
        self._serve()
        return str(json.loads(kept.read_text())["root_key"])

    def stop(self) -> None:
        """End it, gracefully if it will."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _run(self, *words: str) -> str:
        *arguments, password = words
        command = [_program(), *arguments, "--admin-password-stdin"]
        done = subprocess.run(
            command, input=password + "\n", capture_output=True, text=True, env=_environment(), timeout=60, check=False
        )
        if done.returncode:
            raise SystemExit(f"Keybearer could not be initialised:\n{done.stderr}")
        return done.stdout

    def _serve(self) -> None:
        log = self._folder / "keybearer.log"
        seen = log.stat().st_size if log.exists() else 0
        with open(log, "ab") as output:
            # A session of its own: on Ctrl-C the site ends first, and then we end this.
            self._process = subprocess.Popen(
                [_program(), "serve", *self._data, *self._address],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(),
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while not re.search(rb"^ready ", log.read_bytes()[seen:], re.MULTILINE):
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise SystemExit(f"Keybearer did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)


def _program() -> str:
    beside = Path(sys.executable).with_name("keybearer")
    found = str(beside) if beside.exists() else shutil.which("keybearer")
    if found is None:
        raise SystemExit("There is no `keybearer` command here: pip install keybearer")
    return found


def _environment() -> dict[str, str]:
    """Return our environment without settings that were meant for another Keybearer."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KEYBEARER_")}
