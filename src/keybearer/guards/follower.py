"""Follows the event stream, in one daemon thread per process for all guards with one authority and key (ADR 10)."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, Protocol

import httpx
import msgspec

from ..client.connection import Connection, KeyAuth
from ..client.drivers import SyncDriver
from ..client.errors import ClientError, error_of
from ..wire.listing import EventNotice, Heartbeat
from .freshness import Anchor
from .heard import Heard
from .notices import Notice, Notices

log = logging.getLogger("keybearer.guards")

SILENCE_IN: Final = 2.0
"""How long a stream may say nothing before it is given up (seconds)."""
LONGEST_WAIT_IN: Final = 2.0
MAX_GAPS: Final = 3
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_HEARTBEAT: Final = msgspec.json.Decoder(Heartbeat)
_EVENT: Final = msgspec.json.Decoder(EventNotice)


class Gap(Exception):
    """What came does not follow what came before."""


class Listener(Protocol):
    """Who remembers, and must hear when to forget."""

    def heard_event(self, seq: int, at: int, event_type: str, subject: str) -> None:
        """Something happened to a subject; ``at`` is in nanoseconds since the epoch."""
        ...

    def heard_nothing(self) -> None:
        """Nothing that is remembered may be trusted any more."""
        ...


class Follower:
    """What is known of the event log. ``fresh_until`` is monotonic (nanoseconds).

    ``wall_offset`` is what has to be added to the monotonic clock for the authority's time of day (nanoseconds since
    the epoch); the sum is never behind it, so that what expires does not live longer here.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Replaced and never changed: the thread goes over it while others come and go.
        self._listeners: tuple[weakref.ref[Listener], ...] = ()
        self._renew()

    def _renew(self) -> None:
        self.fresh_until = 0
        self.wall_offset = 0
        self.heard = Heard()
        self._has_begun = False
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._gaps = 0

    @property
    def is_fresh(self) -> bool:
        """Whether what is remembered may be trusted at this moment."""
        return time.monotonic_ns() < self.fresh_until

    def attach(self, listener: Listener) -> None:
        """Tell a listener from now on; held weakly."""
        self._listeners = (*self._others(listener), weakref.ref(listener))

    def detach(self, listener: Listener) -> bool:
        """Tell it no more; true when nobody is left."""
        self._listeners = self._others(listener)
        return not self._listeners

    def _others(self, listener: Listener) -> tuple[weakref.ref[Listener], ...]:
        return tuple(one for one in self._listeners if one() not in (None, listener))

    def ensure(self) -> None:
        """Begin to follow in this process, unless that is being done."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            return
        with self._lock:
            if (self._thread is None or not self._thread.is_alive()) and not self._closing.is_set():
                name = "keybearer-guard-events"
                self._thread = threading.Thread(target=self._run, args=(self._closing,), name=name, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop following; what is remembered goes stale by itself."""
        self._closing.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(SILENCE_IN + 1)

    # In the thread.

    def _run(self, closing: threading.Event) -> None:
        driver = SyncDriver(self._connection)
        failures, reachable = 0, True
        try:
            while not closing.is_set():
                try:
                    self._follow(driver.http, closing)
                except (httpx.HTTPError, ClientError, Gap, ValueError) as error:
                    failures += 1
                    if reachable and failures > 1:  # said once, and not of a stream that was cut and is there again
                        log.warning("the event stream cannot be followed: %s", _text(error))
                        reachable = False
                    longest = min(LONGEST_WAIT_IN, 0.05 * 2.0 ** min(failures, 10))
                    closing.wait(longest * (0.5 + random.random() / 2))  # noqa: S311 — no secret, only apart from others
                except Exception:
                    # Perhaps not everybody was told: nothing that was heard counts any more.
                    log.exception("the event stream is begun anew")
                    self.fresh_until, self._has_begun = 0, False
                    closing.wait(LONGEST_WAIT_IN)
                else:
                    if not reachable:
                        log.info("the event stream is followed again")
                    failures, reachable = 0, True
        finally:
            driver.http.close()

    def _follow(self, http: httpx.Client, closing: threading.Event) -> None:
        url = self._connection.url
        # Opens the connection, so that its time is not lost between the two clocks.
        http.get(f"{url}/healthz", auth=None)
        again = self._has_begun and self._gaps < MAX_GAPS
        parameters = {"after": str(self.heard.applied)} if again else None
        anchor = Anchor(time.monotonic_ns())
        timeout = httpx.Timeout(5.0, read=SILENCE_IN)
        accept = {"Accept": "text/event-stream"}
        with http.stream("GET", f"{url}/v1/events", params=parameters, headers=accept, timeout=timeout) as response:
            if response.status_code != 200:
                response.read()
                raise error_of(response)
            notices = Notices()
            for piece in response.iter_raw():
                for notice in notices.feed(piece):
                    self._take(notice, anchor)
                if closing.is_set():
                    return

    def _take(self, notice: Notice, anchor: Anchor) -> None:
        heard = self.heard
        if notice.type == "heartbeat":
            beat = _HEARTBEAT.decode(notice.data)
            if not self._has_begun or beat.head != heard.applied:
                raise self._gap()
            self._gaps = 0
            now = (beat.now - _EPOCH) // _MICROSECOND * 1000
            self.wall_offset = now - anchor.written_at(beat.clock)
            if heard.known_since is None:
                heard.known_since = now
            self.fresh_until = max(self.fresh_until, anchor.fresh_until(beat.clock, beat.age))
            return
        if not (notice.id.isascii() and notice.id.isdecimal()):
            raise self._gap()
        seq = int(notice.id)
        if notice.type == "reset":
            self.fresh_until = 0
            self._gaps = 0
            heard.start_over(seq)
            self._has_begun = True
            for known in self._listeners:
                if (listener := known()) is not None:
                    listener.heard_nothing()
            return
        if not self._has_begun or seq != heard.applied + 1:
            raise self._gap()
        event = _EVENT.decode(notice.data)
        # First noted, then dropped: a fill in between sees that it is too old.
        at = (event.at - _EPOCH) // _MICROSECOND * 1000
        heard.note(seq, at, event.subject)
        for known in self._listeners:
            if (listener := known()) is not None:
                listener.heard_event(seq, at, notice.type, event.subject)

    def _gap(self) -> Gap:
        self._gaps += 1
        return Gap("an event does not follow the one before")


def _text(error: Exception) -> str:
    """Return what may be logged of an error; messages of HTTP libraries may quote what others sent."""
    return str(error) if isinstance(error, ClientError | Gap) else type(error).__name__


# One follower for all guards of a process with the same authority and key.

_SHARED: dict[tuple[str, bytes], Follower] = {}
_shared_lock = threading.Lock()


def _name_of(connection: Connection) -> tuple[str, bytes]:
    auth = connection.auth
    key = auth.reveal() if isinstance(auth, KeyAuth) else ""
    return connection.url, sha256(key.encode()).digest()


def follower_for(connection: Connection, listener: Listener) -> Follower:
    """Return the follower of an authority with a key, and attach a listener to it."""
    with _shared_lock:
        name = _name_of(connection)
        found = _SHARED.get(name)
        if found is None:
            found = _SHARED[name] = Follower(connection)
        found.attach(listener)
        return found


def leave(follower: Follower, listener: Listener) -> None:
    """Detach a listener; the last one ends the thread."""
    with _shared_lock:
        if not follower.detach(listener):
            return
        for name, known in tuple(_SHARED.items()):
            if known is follower:
                del _SHARED[name]
    follower.close()


def _after_fork() -> None:
    """In the child: no thread came along, and locks may have been held; everything begins anew."""
    global _shared_lock
    _shared_lock = threading.Lock()
    for follower in _SHARED.values():
        follower._renew()


os.register_at_fork(after_in_child=_after_fork)
