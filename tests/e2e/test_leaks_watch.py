"""``keybearer leaks watch`` on logs that live servers write, rotate and cut, with the authority up and down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.shop import Shop
from tests.support.authority import keybearer_command
from tests.support.nginx import Nginx, find_nginx
from tests.support.processes import kill_tree, stop
from tests.support.spelling import credential

PATIENCE = 15.0


@dataclass
class Watcher:
    """A running watch, and what it printed."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def findings(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "out").read_text().splitlines()]

    @property
    def notes(self) -> str:
        return (self.folder / "err").read_text()

    def until(self, count: int) -> list[dict[str, Any]]:
        wait(lambda: len(self.findings) >= count, f"{count} findings, not {self.findings}, {self.notes}")
        return self.findings


def wait(probe: Callable[[], bool], what: str) -> float:
    begun = time.monotonic()
    while not probe():
        if time.monotonic() > begun + PATIENCE:
            raise TimeoutError(what)
        time.sleep(0.02)
    return time.monotonic() - begun


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[..., Watcher]]:
    """Starts watches and ends them."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, url: str = "", key: str = "") -> Watcher:
        folder = tmp_path / f"watch-{len(running)}"
        folder.mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYBEARER_")}
        if url:
            environment |= {"KEYBEARER_URL": url, "KEYBEARER_KEY": key}
        with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
            process = subprocess.Popen(
                [keybearer_command(), "leaks", "watch", "--json", "--interval", "0.1", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
            )
        running.append(process)
        watcher = Watcher(process, folder)
        wait(lambda: "watching" in watcher.notes or process.poll() is not None, "the watch to begin")
        assert process.poll() is None, watcher.notes
        return watcher

    yield start
    for process in running:
        if process.poll() is None:
            kill_tree(process)


def test_a_key_that_a_live_nginx_logs_is_revoked_within_two_seconds(
    world: Shop, watching: Callable[..., Watcher], tmp_path: Path
) -> None:
    program = find_nginx()
    if program is None:
        pytest.skip("nginx is not installed")
    (tmp_path / "nginx").mkdir()
    nginx = Nginx(program, tmp_path / "nginx")
    nginx.start("server { listen 127.0.0.1:@PORT@; location / { return 204; } }")
    try:
        log = nginx.prefix / "access.log"
        watcher = watching(str(log), url=world.node.url, key=world.node.root_key)
        taken = []
        for rotation in range(3):
            _, text = world.key("pages:read", name=f"logged {rotation}")
            subprocess.run(["curl", "-s", f"{nginx.url}/orders?key={text}"], check=True)
            taken.append(wait(lambda text=text: world.verify(text)["code"] == "REVOKED", watcher.notes))  # type: ignore[misc]
            log.rename(log.with_name(f"access.log.{rotation}"))
            os.kill(nginx._process.pid, signal.SIGUSR1)  # type: ignore[union-attr]
            wait(log.exists, "the new log")
        assert max(taken) < 2.0, taken
        findings = watcher.until(3)
        assert [(one["action"], one["line"], one["client_ip"]) for one in findings] == [("revoked", 1, "127.0.0.1")] * 3
        assert stop(watcher.process) == 0
        assert "kb_sk_live" in watcher.findings[0]["prefix"]
        for path in (watcher.folder / "out", watcher.folder / "err"):
            assert text.rpartition("_")[2] not in path.read_text()
    finally:
        nginx.stop()


def test_copied_and_cut_logs_and_restarts_lose_nothing(watching: Callable[..., Watcher], tmp_path: Path) -> None:
    log, positions = tmp_path / "app.log", tmp_path / "positions"
    log.write_text(f"old {credential(number=0)}\n")
    first = watching(str(log), "--offline", "--positions", str(positions))

    def write(number: int, more: str = "\n") -> None:
        with log.open("a") as file:
            file.write(f"line {credential(number=number)}{more}")

    def ids() -> list[str]:
        return [one["credential_id"] for one in current.findings]

    def id_of(number: int) -> str:
        return credential(number=number).split("_")[3]

    current = first
    write(1)
    first.until(1)
    # A line that is not whole yet waits; then it is found once.
    write(2, "")
    time.sleep(0.3)
    assert ids() == [id_of(1)]
    write(3)
    first.until(3)
    # Copied and cut, as logrotate does with copytruncate; the new content is longer than the old.
    (tmp_path / "app.log.1").write_text(log.read_text())
    log.write_text("x" * 4096 + "\n")
    write(4)
    first.until(4)
    assert first.findings[-1]["line"] == 2
    assert stop(first.process) == 0
    # While nobody watches: more lines, then it is renamed, and there is a new one.
    write(5)
    log.rename(tmp_path / "app.log.2")
    write(6)
    current = watching(str(log), "--offline", "--positions", str(positions))
    current.until(2)
    assert ids() == [id_of(5), id_of(6)]
    assert stop(current.process) == 0
    # The same, copied and cut.
    write(7)
    (tmp_path / "app.log.3").write_text(log.read_text())
    log.write_text("")
    write(8)
    current = watching(str(log), "--offline", "--positions", str(positions))
    current.until(2)
    assert ids() == [id_of(7), id_of(8)]
    assert stop(current.process) == 0
    # Gone for good: said, not passed over.
    log.unlink()
    for other in tmp_path.glob("app.log.*"):
        other.unlink()
    write(9)
    current = watching(str(log), "--offline", "--positions", str(positions))
    current.until(1)
    assert "while nobody watched" in current.notes
    saved = positions.read_text()
    assert not any(credential(number=number).rpartition("_")[2] in saved for number in range(10))


def test_what_cannot_be_told_waits_and_is_told(world: Shop, watching: Callable[..., Watcher], tmp_path: Path) -> None:
    log, positions = tmp_path / "app.log", tmp_path / "positions"
    log.write_text("")
    _, text = world.key("pages:read", name="while it was down")
    watcher = watching(str(log), "--positions", str(positions), url="http://127.0.0.1:9", key=world.node.root_key)
    log.write_text(f"{text}\n" * 3)
    wait(lambda: "3 findings wait, trying again" in watcher.notes, "the note")
    assert stop(watcher.process) == 0
    assert "3 findings were not told" in watcher.notes
    assert world.verify(text)["valid"]
    again = watching(str(log), "--positions", str(positions), url=world.node.url, key=world.node.root_key)
    again.until(3)
    assert world.verify(text)["code"] == "REVOKED"
