"""The search for leaked credentials: its speed on logs and trees, also against gitleaks, and the memory it holds."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from keybearer.scanner import matching
from keybearer.scanner.patterns import EXPORTS
from keybearer.scanner.search import BLOCK, Search

from .figures import Figure, Goal, Spread, ratios
from .machine import pinned

MEMCHR = "counting line ends (bytes.count)"
GITLEAKS = "gitleaks, same tree and patterns"
RATE = Goal("≥ 300 MB/s", at_least=300.0)
AGAINST = Goal("≥ 5x gitleaks", at_least=5.0, of_ratio=True)
MEMORY = Goal("< 100 MB", at_most=100.0)


def measure(*, quick: bool) -> Sequence[Figure]:
    """Search one log in memory in both ways, one file and one tree by the command, and 10 GB through a pipe."""
    rounds = 3 if quick else 9
    text = log(16 << 20 if quick else 64 << 20)
    figures = _in_memory(text, rounds)
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as name:
        figures += _command(Path(name), text, rounds)
        figures += _tree(Path(name), 1 if quick else 3)
    return [*figures, *_pipe(text, 1 if quick else 10)]


def log(size: int) -> bytes:
    """An access log in combined format, as busy sites have it, with other tokens but none of Keybearer's."""
    dice = random.Random(5)
    lines = []
    for second in range(20_000):
        token = f"{dice.getrandbits(128):032x}"
        lines.append(
            f"203.0.113.{second % 250} - - [26/Nov/2026:08:{second // 60 % 60:02}:{second % 60:02} +0000] "
            f'"GET /v1/orders/{dice.randrange(10**9)}?page={second % 90}&sort=created_at&session={token} HTTP/1.1" 200 '
            f'{dice.randrange(10**6)} "https://shop.example/cart?x={dice.randrange(10**8)}&ref=a%2Fb" '
            '"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0 Safari/537.36"\n'
        )
    part = "".join(lines).encode()
    return (part * (size // len(part) + 1))[:size]


def _in_memory(text: bytes, rounds: int) -> list[Figure]:
    def search(matcher: matching.Matching, data: bytes) -> Callable[[], None]:
        def run() -> None:
            one = Search(matcher)
            for at in range(0, len(data), BLOCK):
                for _ in one.feed(data[at : at + BLOCK]):
                    raise RuntimeError("there is nothing to find")
            for _ in one.settle():
                raise RuntimeError("there is nothing to find")

        return run

    small = text[: 8 << 20]
    count = [_rate(lambda: text.count(b"\n"), len(text)) for _ in range(rounds)]
    fast = [_rate(search(matching.best(), text), len(text)) for _ in range(rounds)]
    plain = [_rate(search(matching.plain, small), len(small)) for _ in range(rounds)]
    what = "search of a log without findings, in memory"
    return [
        Figure(MEMCHR, "MB/s of processor time", Spread.of(count)),
        Figure(f"{what}, Hyperscan", "MB/s of processor time", Spread.of(fast), MEMCHR, ratios(fast, count), RATE),
        Figure(f"{what}, standard library", "MB/s of processor time", Spread.of(plain), MEMCHR, ratios(plain, count)),
    ]


def _rate(work: Callable[[], object], size: int) -> float:
    started = time.thread_time()
    work()
    return size / 1e6 / (time.thread_time() - started)


def _command(folder: Path, text: bytes, rounds: int) -> list[Figure]:
    """One file of 512 MB by the command, start of the process included."""
    path = folder / "access.log"
    times = (512 << 20) // len(text)
    with path.open("wb") as file:
        for _ in range(times):
            file.write(text)
    size = path.stat().st_size
    rates = [size / 1e6 / _processor_seconds(_scan(path)) for _ in range(rounds)]
    path.unlink()
    what = f"leaks scan, a log of {size / 1e6:.0f} MB on one core, start included"
    return [Figure(what, "MB/s of processor time", Spread.of(rates), goal=RATE)]


def _tree(folder: Path, rounds: int) -> list[Figure]:
    """Python's standard library and what is installed, by the command and by gitleaks."""
    tree = folder / "tree"
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyc", "*.a")
    shutil.copytree(sysconfig.get_path("stdlib"), tree / "stdlib", ignore=ignored, symlinks=True)
    shutil.copytree(
        sysconfig.get_path("purelib"), tree / "installed", ignore=ignored, dirs_exist_ok=True, symlinks=True
    )
    size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    program = os.environ.get("KEYBEARER_GITLEAKS") or shutil.which("gitleaks")
    what = f"leaks scan, a tree of {size / 1e6:.0f} MB, start included"
    if program is None:
        ours = [size / 1e6 / _processor_seconds(_scan(tree)) for _ in range(rounds)]
        note = "gitleaks is not installed"
        return [Figure(what, "MB/s of processor time", Spread.of(ours), note=note)]
    rules = folder / "rules.toml"
    rules.write_text(EXPORTS["gitleaks"]([]))
    theirs_command = [program, "dir", str(tree), "-c", str(rules), "--no-banner", "--exit-code", "0", "-l", "error"]
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(size / 1e6 / _processor_seconds([*pinned(0), *theirs_command]))
        ours.append(size / 1e6 / _processor_seconds(_scan(tree)))
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=False).stdout.strip()
    said = "built from its module" if " " in version else version
    return [
        Figure(GITLEAKS, "MB/s of processor time", Spread.of(theirs), note=f"{said}, which decodes base64 too"),
        Figure(what, "MB/s of processor time", Spread.of(ours), GITLEAKS, ratios(ours, theirs), AGAINST),
    ]


def _pipe(text: bytes, gigabytes: int) -> list[Figure]:
    """So many GB of a log through a pipe, and the most memory that the command ever held."""
    command = [*_scan(Path("-"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        if process.stdin is None:
            raise RuntimeError("no pipe")
        view = memoryview(text)
        left = gigabytes * 1_000_000_000
        while left > 0:
            process.stdin.write(view[: min(left, len(view))])
            left -= len(view)
        held = _most_held(process.pid)
        process.stdin.close()
    if process.returncode != 0:
        raise RuntimeError(f"the scan ended with {process.returncode}")
    return [Figure(f"most memory held, a log of {gigabytes} GB", "MB", Spread.of([held]), goal=MEMORY)]


def _most_held(process_id: int) -> float:
    """Return the high-water mark of a process; ``ru_maxrss`` would count what its parent held when it began."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("the system does not say how much memory a process held")


def _scan(path: Path) -> list[str]:
    keybearer = str(Path(sys.executable).with_name("keybearer"))
    return [*pinned(0), keybearer, "leaks", "scan", str(path), "--offline", "-f", "jsonl", "--exclude", "keybearer*"]


def _processor_seconds(command: Sequence[str]) -> float:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[-4]} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime
