"""``GET /v1/events`` as server-sent events: what guards follow, so that they may remember.

Each heartbeat says how old the node's own knowledge is, on the clock of the node (ADR 10). None vouches while the node
is not fresh. Spec: HTML Living Standard §9.2 (server-sent events).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..core.errors import InvalidInput, KeybearerError, StoreError
from ..ports import Event, LiveEvents
from ..services.events import READ
from ..wire.base import moment
from ..wire.listing import EventNotice, Heartbeat
from .dispatch import SECURITY_HEADERS, Dispatcher, request_id_of, response_of
from .problem import HttpProblem, reply_for

MEDIA_TYPE: Final = "text/event-stream"
MAX_BEHIND: Final = 10_000
"""How many events are replayed at most; who missed more starts over."""
SEND_IN: Final = 5.0
"""How long a reader may leave a full buffer lying before it is dropped (seconds)."""
STREAM_IN: Final = 300.0
"""How long a stream lasts; a new one measures the clocks anew (seconds)."""
LOOK_IN: Final = 10.0
"""How often it is looked whether the caller may still follow, at least (seconds)."""
IDLE_IN: Final = 1.0
_PAGE: Final = 1000
_ENCODER: Final = msgspec.json.Encoder()


class EventStreams:
    """Serves the streams of one process, a bounded number of them."""

    def __init__(
        self, dispatcher: Dispatcher, live: LiveEvents, plain: Callable[[Request], Awaitable[Response]]
    ) -> None:
        self._dispatcher = dispatcher
        self._live = live
        self._plain = plain
        self._most = dispatcher.authority.settings.max_event_streams
        self._open = 0

    async def serve(self, request: Request) -> Response:
        """Answer ``GET /v1/events``: a stream to those who ask for one, else a page of the log."""
        if MEDIA_TYPE not in request.headers.get("accept", ""):
            return await self._plain(request)
        try:
            await self._check(request, cost=1)
            after = _after(request)
            if self._open >= self._most:
                text = "There are as many event streams as one process serves; try again."
                raise HttpProblem(503, text, (b"retry-after", b"1"))
        except Exception as error:
            return response_of(reply_for(error, request_id_of(request)))
        return _Streaming(self, request, after)

    async def _check(self, request: Request, *, cost: int) -> None:
        caller = await self._dispatcher.caller_of(request, READ, cost=cost)
        caller.need_everything(READ)

    async def stream(self, request: Request, after: int | None, receive: Receive, send: Send) -> None:
        """Send events and heartbeats until the reader goes, may no longer read, or the time is over."""
        self._open += 1
        gone = asyncio.create_task(_until_gone(receive))
        try:
            with contextlib.suppress(TimeoutError):
                await self._send_all(request, after, gone, send)
        finally:
            self._open -= 1
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    async def _send_all(self, request: Request, after: int | None, gone: asyncio.Task[None], send: Send) -> None:
        live = self._live
        ends, look = time.monotonic() + STREAM_IN, time.monotonic() + LOOK_IN
        started = live.start
        sent = live.head if after is None else after
        text = [b"retry: 1000\n\n"]
        if after is None:
            text.append(_reset(sent))
        while not gone.done() and not live.is_closed and time.monotonic() < ends:
            turn = live.turn
            if live.start != started or sent > live.head:
                started, sent = live.start, live.head
                text.append(_reset(sent))
            events = live.since(sent)
            if events is None:
                events = await self._replay(sent)
                if events is None:
                    events, sent = (), live.head
                    text.append(_reset(sent))
            events = events[:_PAGE]  # a reader that stalls has no more lying here than this
            if events:
                text += map(_notice, events)
                sent = events[-1].seq
            if events or time.monotonic() >= look:
                look = time.monotonic() + LOOK_IN
                try:
                    await self._check(request, cost=0)
                except KeybearerError:
                    break
            # What was sent is of this log only if it did not start over while the caller was looked at.
            is_whole = sent == live.head and live.start == started
            text.append(self._heartbeat() if is_whole else b":\n\n")
            await _within(SEND_IN, send, b"".join(text), more=True)
            text = []
            if sent == live.head and live.start == started:
                await _first_of(turn, gone)
        await _within(SEND_IN, send, b"", more=False)

    async def _replay(self, sent: int) -> tuple[Event, ...] | None:
        """Return a page of the events behind ``sent``, ``None`` when they are gone, or too many."""
        if self._live.head - sent > MAX_BEHIND:
            return None
        try:
            events = await self._dispatcher.authority.store.events(sent, _PAGE)
        except StoreError:
            return None
        # Events that this process has not applied yet come with the next turn.
        events = tuple(event for event in events if event.seq <= self._live.head)
        return events if events and events[0].seq == sent + 1 else None

    def _heartbeat(self) -> bytes:
        vouched_at = self._live.vouched_at()
        if vouched_at is None:
            return b":\n\n"  # keeps the connection, vouches for nothing
        clock = time.monotonic_ns()
        # Rounded so that the guard never takes the view for newer than it is.
        age = -((vouched_at - clock) // 1_000_000)
        now = moment(self._dispatcher.authority.clock.now())
        data = _ENCODER.encode(Heartbeat(self._live.head, age, clock // 1_000_000, now))
        return b"event: heartbeat\ndata: %s\n\n" % data


class _Streaming(Response):
    """An answer that goes on."""

    def __init__(self, streams: EventStreams, request: Request, after: int | None) -> None:
        self._streams = streams
        self._request = request
        self._after = after
        headers = {**SECURITY_HEADERS, "x-accel-buffering": "no", "x-request-id": request_id_of(request)}
        super().__init__(None, 200, headers, MEDIA_TYPE)
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then the stream."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        await self._streams.stream(self._request, self._after, receive, send)


def _after(request: Request) -> int | None:
    """Return the event behind which to go on. What a browser remembers itself is newer than what its URL says."""
    given = request.query_params.multi_items()
    if any(name != "after" for name, _ in given) or len(given) > 1:
        raise InvalidInput.of("query", "a stream takes 'after' alone")
    text = request.headers.get("last-event-id") or request.query_params.get("after")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise InvalidInput.of("after", "must be the seq of an event, or 0")
    return int(text)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first_of(turn: asyncio.Event, gone: asyncio.Task[None]) -> None:
    """Wait for the next turn, the reader's end, or a while."""
    waiting = asyncio.create_task(turn.wait())
    try:
        await asyncio.wait({waiting, gone}, timeout=IDLE_IN, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def _within(limit: float, send: Send, body: bytes, *, more: bool) -> None:
    async with asyncio.timeout(limit):
        await send({"type": "http.response.body", "body": body, "more_body": more})


def _notice(event: Event) -> bytes:
    data = _ENCODER.encode(EventNotice(event.subject, moment(event.at)))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), data)


def _reset(head: int) -> bytes:
    return b'id: %d\nevent: reset\ndata: {"head":%d}\n\n' % (head, head)
