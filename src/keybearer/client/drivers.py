"""What carries out a call: blocking, awaiting, or not at all (which leaves the description of the request)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, TypeVar

import httpx

from .call import Call, Pages, Stream
from .connection import Connection, headers
from .errors import error_of
from .exchange import Lines, Wait, exchange, unreachable

T = TypeVar("T")


class SyncDriver:
    """Carry out calls with ``httpx.Client``."""

    def __init__(self, connection: Connection, transport: httpx.BaseTransport | None = None) -> None:
        self.connection = connection
        self.http = httpx.Client(
            auth=connection.auth,
            timeout=connection.timeout,
            trust_env=connection.trust_env,
            transport=transport,
            follow_redirects=False,
            headers=headers(),
        )

    def run(self, call: Call[T]) -> T:
        """Return the answer, or raise a ``ClientError``."""
        steps = exchange(call, self.connection, self.http)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Wait):
                    time.sleep(step.seconds)
                    step = next(steps)
                    continue
                try:
                    response = self.http.send(step)
                except httpx.RequestError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(response)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def each(self, series: Pages[T] | Stream[T]) -> Iterator[T]:
        """Yield the items of all pages, or of a streamed answer."""
        if isinstance(series, Stream):
            yield from self._stream(series)
            return
        call: Call[Any] | None = series.first
        while call is not None:
            page = self.run(call)
            yield from page.items
            call = series.after(page.next_cursor) if page.next_cursor else None

    def _stream(self, stream: Stream[T]) -> Iterator[T]:
        request = _request(stream, self.connection, self.http, stream.lines)
        lines = Lines(stream)
        try:
            response = self.http.send(request, stream=True)
            try:
                if not response.is_success:
                    response.read()
                    raise error_of(response)
                for chunk in response.iter_bytes():
                    yield from lines.feed(chunk)
            finally:
                response.close()
        except httpx.RequestError as error:
            raise unreachable(self.connection, error) from error
        yield from lines.end()


class AsyncDriver:
    """Carry out calls with ``httpx.AsyncClient``."""

    def __init__(self, connection: Connection, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.connection = connection
        self.http = httpx.AsyncClient(
            auth=connection.auth,
            timeout=connection.timeout,
            trust_env=connection.trust_env,
            transport=transport,
            follow_redirects=False,
            headers=headers(),
        )

    async def run(self, call: Call[T]) -> T:
        """Return the answer, or raise a ``ClientError``."""
        steps = exchange(call, self.connection, self.http)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Wait):
                    await asyncio.sleep(step.seconds)
                    step = next(steps)
                    continue
                try:
                    response = await self.http.send(step)
                except httpx.RequestError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(response)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    async def each(self, series: Pages[T] | Stream[T]) -> AsyncIterator[T]:
        """Yield the items of all pages, or of a streamed answer."""
        if isinstance(series, Stream):
            async for item in self._stream(series):
                yield item
            return
        call: Call[Any] | None = series.first
        while call is not None:
            page = await self.run(call)
            for item in page.items:
                yield item
            call = series.after(page.next_cursor) if page.next_cursor else None

    async def _stream(self, stream: Stream[T]) -> AsyncIterator[T]:
        request = _request(stream, self.connection, self.http, _chunks(stream.lines))
        lines = Lines(stream)
        try:
            response = await self.http.send(request, stream=True)
            try:
                if not response.is_success:
                    await response.aread()
                    raise error_of(response)
                async for chunk in response.aiter_bytes():
                    for item in lines.feed(chunk):
                        yield item
            finally:
                await response.aclose()
        except httpx.RequestError as error:
            raise unreachable(self.connection, error) from error
        for item in lines.end():
            yield item


class Describing:
    """Carry out nothing: the operation's description itself is the result."""

    def run(self, call: Call[T]) -> Call[T]:
        """Return the call."""
        return call

    def each(self, series: Pages[T] | Stream[T]) -> Pages[T] | Stream[T]:
        """Return the series."""
        return series


STREAM_TIMEOUT = httpx.Timeout(300.0, connect=5.0)
"""A long import may be silent for a while between two lines of progress."""


def _request(
    stream: Stream[Any],
    connection: Connection,
    http: httpx.Client | httpx.AsyncClient,
    lines: Iterable[bytes] | AsyncIterable[bytes],
) -> httpx.Request:
    return http.build_request(
        "POST",
        connection.url + stream.path,
        params=stream.query or None,
        content=lines,
        headers={"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"},
        timeout=STREAM_TIMEOUT,
    )


async def _chunks(lines: Iterable[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line
