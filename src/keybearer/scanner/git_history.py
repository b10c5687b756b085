"""The history of a git repository: every reachable object once, with the oldest commit that has it.

Files, and the messages of commits and tags. Objects stream from one ``git cat-file --batch``, so that memory does not
grow with the repository. Nothing of the repository is run, and nothing is fetched. What it says to hide parts of itself
(replacements, grafts) does not count, and where a clone was made without the rest of its history, that is said.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Final

from .compression import Unreadable
from .files import shown
from .reading import Event, Progress, Reading, search_pieces
from .search import BLOCK
from .sightings import Place, Sighting, Trouble

_QUIET: Final = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    # For a git that does not know the one above: no transport at all, whatever the repository's configuration allows.
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "LC_ALL": "C",
    "TZ": "UTC",
}
_ELSEWHERE: Final = (
    "GIT_DIR",
    "GIT_COMMON_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_SHALLOW_FILE",
    "GIT_EXTERNAL_DIFF",
    "KEYBEARER_KEY",
)
"""What git does not get: a hook has the first of these for its own repository, which need not be the one to search."""
_SAFE: Final = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false")
_SEARCHED: Final = frozenset({"blob", "commit", "tag"})
_DATE: Final = "--date=format-local:%Y-%m-%dT%H:%M:%SZ"
_MAX_LOG: Final = 1 << 20


def heads(repository: str) -> str:
    """Return a digest of where all references point: while it is the same, so is the list of objects.

    Empty where there is no repository that can be read; ``search_history`` says so.
    """
    try:
        return hashlib.sha256(_output(repository, "for-each-ref", "--format=%(objectname) %(refname)")).hexdigest()
    except (OSError, subprocess.CalledProcessError):
        return ""


def search_history(repository: str, reading: Reading, skip: int = 0) -> Iterator[tuple[int, Event]]:
    """Search every object, but so many of the first; yields its number with each event."""
    name = shown(repository)
    try:
        _output(repository, "rev-parse", "--git-dir")
    except OSError as error:
        yield 0, Trouble(name, f"git cannot be run: {error.strerror}")
        return
    except subprocess.CalledProcessError:
        yield 0, Trouble(name, "this is no git repository that can be read")
        return
    if _output(repository, "rev-parse", "--is-shallow-repository").strip() != b"false":
        yield 0, Trouble(name, "this is a shallow clone: what came before is not in it (git fetch --unshallow)")
    listing = _start(repository, "rev-list", "--objects", "--all", stdin=subprocess.DEVNULL)
    checking = _start(
        repository,
        "cat-file",
        "--batch-check=%(objectname) %(objecttype) %(objectsize) %(rest)",
        "--buffer",
        stdin=listing.stdout,
    )
    reader = _start(repository, "cat-file", "--batch", stdin=subprocess.PIPE)
    processes = (listing, checking, reader)
    try:
        assert listing.stdout is not None  # noqa: S101 (for the type checker)
        listing.stdout.close()
        yield from _search_objects(repository, name, checking, reader, reading, skip)
        if reader.stdin is not None:
            reader.stdin.close()
        if any(process.wait(30) for process in processes):
            yield 0, Trouble(name, "git could not read all of its history")
    except (OSError, ValueError, subprocess.TimeoutExpired):
        yield 0, Trouble(name, "git stopped before the end of its history")
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None and not stream.closed:
                    stream.close()
            process.wait()


def _search_objects(
    repository: str,
    name: str,
    checking: subprocess.Popen[bytes],
    reader: subprocess.Popen[bytes],
    reading: Reading,
    skip: int,
) -> Iterator[tuple[int, Event]]:
    if checking.stdout is None or reader.stdin is None or reader.stdout is None:
        return
    for number, line in enumerate(checking.stdout, 1):
        fields = line.rstrip(b"\n").split(b" ", 3)
        if number <= skip:
            continue
        if len(fields) < 3 or not fields[2].isdigit():
            yield number, Trouble(name, "an object of its history is missing")
            continue
        kind = fields[1].decode()
        if kind not in _SEARCHED:
            continue
        reader.stdin.write(fields[0] + b"\n")
        reader.stdin.flush()
        if reader.stdout.readline().split(b" ")[0] != fields[0]:
            yield number, Trouble(name, "an object of its history cannot be read")
            return
        path = os.fsdecode(fields[3]) if len(fields) == 4 and kind == "blob" else f"({kind} message)"
        size = int(fields[2])
        place = Place("git", f"{name}:{shown(path)}", 0, 0)
        about: Place | None = None
        for event in search_pieces(_content(reader.stdout, size), place, reading):
            if isinstance(event, Sighting):
                # Only what is found is worth the question when it came.
                about = about or _oldest(repository, fields[0].decode(), kind, place)
                where = replace(event.place, commit=about.commit, at=about.at)
                yield number, replace(event, place=where)
            else:
                yield number, event
        yield number, Progress(0)


def _content(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, BLOCK))
        if not piece:
            raise Unreadable("git stopped in the middle of an object")
        size -= len(piece)
        yield piece
    stream.read(1)


def _oldest(repository: str, object_id: str, kind: str, place: Place) -> Place:
    try:
        if kind == "blob":
            text = _output(repository, "log", "--all", f"--find-object={object_id}", "--format=%H %ad", _DATE)
        else:
            text = _output(repository, "log", "-1", "--format=%H %ad", _DATE, object_id)
    except (OSError, subprocess.CalledProcessError):
        return place
    lines = text[-_MAX_LOG:].decode("ascii", "replace").split("\n")
    commit, _, at = next((line for line in reversed(lines) if line), "").partition(" ")
    return replace(place, commit=commit or None, at=at or None)


def _output(repository: str, *arguments: str) -> bytes:
    return subprocess.run(  # noqa: S603
        ["git", "-C", repository, *_SAFE, *arguments],  # noqa: S607
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    ).stdout


def _start(repository: str, *arguments: str, stdin: int | IO[bytes] | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603
        ["git", "-C", repository, *_SAFE, *arguments],  # noqa: S607
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _ELSEWHERE} | _QUIET
