"""Files searched by several processes at once; what they find comes back through private pipes."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Iterator
from typing import Any, Final

from ..core.secret import Secret
from .reading import Event, Reading, search_file
from .sightings import Sighting, Trouble

_WAITING: Final = 256
_PATIENCE: Final = 1.0
_END: Final = None
Found = tuple[str, Event | None]


def search_files(files: Iterator[str | Trouble], reading: Reading, jobs: int) -> Iterator[Found]:
    """Search files with so many processes; yields events with the file that they are of, ``None`` at its end."""
    context = multiprocessing.get_context("spawn")
    wanted: Any = context.Queue()
    found: Any = context.Queue(_WAITING)
    workers = [context.Process(target=_work, args=(wanted, found, reading), daemon=True) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    busy, given, ended = 0, False, 0
    try:
        while ended < jobs:
            while not given and busy < _WAITING:
                file = next(files, _END)
                if file is _END:
                    given = True
                    for _ in workers:
                        wanted.put(_END)
                elif isinstance(file, Trouble):
                    yield "", file
                else:
                    wanted.put(file)
                    busy += 1
            try:
                path, event = found.get(timeout=_PATIENCE)
            except queue.Empty:
                lost = [worker for worker in workers if worker.exitcode not in (None, 0)]
                if lost:
                    yield "", Trouble("scan", f"{len(lost)} of {jobs} processes died; what they read was not searched")
                    return
                continue
            if path is None:
                ended += 1
                continue
            if event is None:
                busy -= 1
            yield path, _received(event)
    finally:
        for worker in workers:
            if worker.is_alive() and ended < jobs:
                worker.terminate()
            worker.join(5)
        for channel in (wanted, found):
            channel.cancel_join_thread()
            channel.close()


def _work(wanted: Any, found: Any, reading: Reading) -> None:
    while (path := wanted.get()) is not _END:
        try:
            for event in search_file(path, reading):
                found.put((path, _sent(event)))
        except Exception as error:
            # One file must not end the search of the others; its text could quote what was read.
            found.put((path, Trouble("scan", f"a file could not be searched ({type(error).__name__})")))
        found.put((path, None))
    found.put((None, None))


def _sent(event: Event) -> Any:
    """Return an event as it travels between two processes of ours: there alone, a secret is bare."""
    if isinstance(event, Sighting):
        fields = {name: getattr(event, name) for name in Sighting.__slots__ if name != "credential"}
        return event.credential.reveal(), fields
    return event


def _received(event: Any) -> Event | None:
    if isinstance(event, tuple):
        return Sighting(credential=Secret(event[0]), **event[1])
    return event  # type: ignore[no-any-return]
