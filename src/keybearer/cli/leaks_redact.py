"""``keybearer leaks redact``: rewrite a log, or filter a pipe, so that it can be kept or shared."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from ..scanner.compression import Unreadable
from ..scanner.files import STDIN, shown
from ..scanner.redacting import redact_in_place, redacted, redacted_pipe
from .session import FAILED


def redact(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="Files; standard input if none, or -.")
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", "-i", help="Rewrite the files, whole or not at all; owner and mode stay.")
    ] = False,
) -> None:
    """Write files, or what comes on standard input, with the secret of every credential replaced.

    What stands for it names the credential and is the same everywhere. Nothing else changes, to the byte.
    """
    failed = False
    for path in paths or [STDIN]:
        try:
            if in_place:
                if path == STDIN:
                    raise typer.BadParameter("standard input has no place", param_hint="--in-place")
                redact_in_place(path)
            elif path == STDIN:
                _write(redacted_pipe(sys.stdin.fileno(), _told_to_stop()))
            else:
                with open(path, "rb") as file:
                    _write(redacted(file))
        except Unreadable as error:
            print(f"keybearer: {shown(path)}: {error}", file=sys.stderr)
            failed = True
        except BrokenPipeError:
            raise
        except OSError as error:
            print(f"keybearer: {shown(path)}: {error.strerror}", file=sys.stderr)
            failed = True
    if failed:
        raise typer.Exit(FAILED)


def _told_to_stop() -> int:
    """Return a descriptor that can be read once this is to end; told twice, it ends at once."""
    read, write = os.pipe()

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        os.write(write, b"x")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return read


def _write(pieces: Iterable[bytes]) -> None:
    out = sys.stdout.buffer
    for piece in pieces:
        out.write(piece)
        out.flush()
