"""Streams of events: who does not read is dropped, and a view that is not fresh vouches for nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from keybearer.core.instant import Instant
from keybearer.http.client_address import TrustedProxies
from keybearer.ports import Event
from keybearer.stores.live_events import AT_HAND, RecentEvents
from keybearer.web import event_stream
from keybearer.web.dispatch import Dispatcher
from keybearer.web.event_stream import EventStreams
from tests.support.embedded import Embedded, embedded

pytestmark = pytest.mark.anyio


def event(seq: int) -> Event:
    return Event(seq, Instant(0), "key.update", f"key_{seq}")


def test_what_is_at_hand_has_no_gap() -> None:
    recent = RecentEvents(lambda: None)
    recent.start_over(10)
    assert recent.since(10) == ()
    assert recent.since(9) is None
    for seq in range(11, 14):
        recent.append(event(seq))
    assert recent.since(11) == (event(12), event(13))
    for seq in range(14, 14 + AT_HAND):
        recent.append(event(seq))
    assert recent.since(13) is not None
    assert recent.since(12) is None


async def streamed(world: Embedded, live: RecentEvents, send: Any, after: int | None = None) -> None:
    async def plain(_: Request) -> Any:
        raise AssertionError("not asked for")

    async def receive() -> Any:
        await asyncio.sleep(60)

    dispatcher = Dispatcher(world.authority, world.verifier, TrustedProxies(()))
    streams = EventStreams(dispatcher, live, plain)
    scope = {
        "type": "http", "method": "GET", "path": "/v1/events", "raw_path": b"/v1/events", "query_string": b"",
        "headers": [(b"authorization", f"Bearer {world.root_key}".encode())], "client": ("192.0.2.1", 1),
    }  # fmt: skip
    await streams.stream(Request(scope), after, receive, send)
    assert streams._open == 0


async def test_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "SEND_IN", 0.05)

    async def full(message: Any) -> None:
        await asyncio.sleep(60)

    async with asyncio.timeout(5), embedded() as world:
        await streamed(world, RecentEvents(lambda: None), full)


async def test_only_a_fresh_view_vouches() -> None:
    said: list[bytes] = []
    fresh: list[int | None] = [None]
    live = RecentEvents(lambda: fresh[0])

    async def send(message: Any) -> None:
        said.append(message["body"])
        if len(said) == 1:
            assert b"heartbeat" not in said[0]
            fresh[0] = 0
            live.wake()
        elif len(said) == 2:
            assert b"heartbeat" in said[1]
            live.close()

    async with asyncio.timeout(5), embedded() as world:
        await streamed(world, live, send)
    assert len(said) == 3


async def test_who_is_too_far_behind_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MAX_BEHIND", 0)
    said: list[bytes] = []

    async with asyncio.timeout(5), embedded() as world:
        live = RecentEvents(lambda: 0)
        live.start_over(3)

        async def send(message: Any) -> None:
            said.append(message["body"])
            live.close()

        await streamed(world, live, send, after=1)
    assert b"event: reset" in said[0]
    assert b'"head":3' in said[0]


async def test_a_log_that_starts_over_while_the_caller_is_looked_at_is_not_vouched_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_stream, "LOOK_IN", 0.0)
    said: list[bytes] = []
    live = RecentEvents(lambda: 0)
    live.start_over(3)
    look = EventStreams._check

    async def put_back(streams: EventStreams, request: Request, *, cost: int) -> None:
        await look(streams, request, cost=cost)
        if not said:
            live.start_over(3)  # to an older copy that has grown as long since

    async def send(message: Any) -> None:
        said.append(message["body"])
        if len(said) == 2:
            live.close()

    monkeypatch.setattr(EventStreams, "_check", put_back)
    async with asyncio.timeout(5), embedded() as world:
        await streamed(world, live, send, after=3)
    assert b"heartbeat" not in said[0]
    assert b"event: reset" in said[1]
    assert b"heartbeat" in said[1]


async def test_what_is_written_at_once_is_bounded() -> None:
    said: list[bytes] = []
    live = RecentEvents(lambda: 0)
    for seq in range(1, AT_HAND + 1):
        live.append(event(seq))

    async def send(message: Any) -> None:
        said.append(message["body"])
        if b"heartbeat" in message["body"]:
            live.close()

    async with asyncio.timeout(5), embedded() as world:
        await streamed(world, live, send, after=0)
    assert max(map(len, said)) < 150_000
    assert b"".join(said).count(b"event: key.update") == AT_HAND
    assert [b"heartbeat" in body for body in said[:-1]] == [False] * (len(said) - 2) + [True]


async def test_a_stream_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "STREAM_IN", 0.0)
    said: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        said.append(message)

    async with asyncio.timeout(5), embedded() as world:
        await streamed(world, RecentEvents(lambda: 0), send)
    assert said == [{"type": "http.response.body", "body": b"", "more_body": False}]
