"""One exchange with an upstream: the request goes out, its answer comes back, both as fast as the slower side follows.

A request is tried again only where nothing of it can have been done twice: nothing was sent, or its method is
idempotent and its whole body is still here. Spec: RFC 9110 §9.2.2.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..core.instant import SECOND
from ..core.routes import Route
from .body import HIGH
from .inbound import Inbound
from .message import BadRequest, HeaderList, Request
from .outbound import Answer, Outbound, UpstreamFailed
from .redaction import Blotter
from .upstream import Upstream

log = logging.getLogger(__name__)

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


@dataclass(slots=True)
class Relay:
    """What is sent where. ``fields`` and ``target`` are complete; ``spelt`` are the secrets that must not come back."""

    client: Inbound
    request: Request
    route: Route
    upstream: Upstream
    target: bytes
    fields: HeaderList
    spelt: frozenset[bytes]
    answer_fields: Callable[[HeaderList, bool], HeaderList]
    streaming: Callable[[bool], None]

    async def run(self) -> int:
        """Do it, and return the status.

        Raises ``UpstreamFailed``, ``Unwilling``, ``BadRequest``, and what cut the client's body short.
        """
        whole = self._whole_body()
        answer, connection, pump = await self._answered(whole)
        try:
            await self._hand_on(answer, connection)
            return answer.status
        finally:
            if pump is not None and not pump.done():
                pump.cancel()
                connection.abort()
            self.upstream.give_back(connection)

    def _whole_body(self) -> bytes | None:
        """Return the body if all of it is here, ``None`` if it has to be waited for."""
        body = self.request.body
        if not self.request.has_body:
            return b""
        self._measure()
        if body.ended and body.waiting <= HIGH:
            return body.read_now() or b""
        return None

    def _measure(self) -> None:
        if self.request.body.received > self.route.max_body:
            raise BadRequest(413, "The body of this request is larger than this route takes.")

    async def _answered(self, whole: bytes | None) -> tuple[Answer, Outbound, asyncio.Task[None] | None]:
        """Return the head of the answer, from whichever try."""
        upstream, left = self.upstream, self.route.retries
        upstream.retries.asked()
        while True:
            upstream.breaker.enter()
            decided = False
            sent = True
            stale = False
            try:
                connection = await upstream.connection(self.route.connect_in / SECOND, self.route.idle_in / SECOND)
                stale = connection.used > 0
                found = await self._ask(connection, whole)
                decided = True
                upstream.breaker.succeeded()
                return found
            except UpstreamFailed as failure:
                decided = True
                sent = not failure.untouched
                # A connection that was kept may have been closed at any time: that tells nothing of the upstream.
                if stale and not failure.timed_out:
                    upstream.breaker.leave()
                else:
                    upstream.breaker.failed()
                may_retry = not sent or (
                    whole is not None and self.request.method in IDEMPOTENT and not failure.timed_out
                )
                if not may_retry or left <= 0 or not upstream.retries.take():
                    raise
                left -= 1
            finally:
                if not decided:
                    upstream.breaker.leave()

    async def _ask(
        self, connection: Outbound, whole: bytes | None
    ) -> tuple[Answer, Outbound, asyncio.Task[None] | None]:
        request = self.request
        head = connection.ask(without_body=request.method == "HEAD", upgrade=request.upgrade)
        pump = None
        try:
            if whole is not None:
                framing = [(b"content-length", b"%d" % len(whole))] if request.has_body or whole else []
                connection.write(self._head(framing) + whole)
                connection.is_sent = True
                connection.expect(self.route.response_in / SECOND)
            else:
                length = request.length
                framing = [
                    (b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"%d" % length)
                ]
                connection.write(self._head(framing))
                pump = connection.loop.create_task(self._pump(connection, head, is_chunked=length is None))
            return await head, connection, pump
        except BaseException:
            if pump is not None:
                pump.cancel()
            connection.abort()
            self.upstream.give_back(connection)
            if head.done() and not head.cancelled():
                head.exception()
            raise

    def _head(self, framing: HeaderList) -> bytes:
        lines = [b"%b %b HTTP/1.1\r\n" % (self.request.method.encode(), self.target)]
        lines += [b"%b: %b\r\n" % field for field in (*self.fields, *framing)]
        lines.append(b"\r\n")
        return b"".join(lines)

    async def _pump(self, connection: Outbound, head: asyncio.Future[Answer], *, is_chunked: bool) -> None:
        """Send the body as it comes. What goes wrong is told to whoever waits for the answer."""
        request = self.request
        try:
            if request.expects and not request.body.received:
                self.client.go_on()
            while piece := await request.body.read():
                self._measure()
                connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
                if connection.is_full:
                    await connection.drain()
            if is_chunked:
                connection.write(b"0\r\n\r\n")
            connection.is_sent = True
            if not head.done():
                connection.expect(self.route.response_in / SECOND)
        except ConnectionResetError:
            return  # the connection tells itself what became of it
        except Exception as error:
            if not head.done():
                head.set_exception(error)
            connection.abort()

    async def _hand_on(self, answer: Answer, connection: Outbound) -> None:
        client, request = self.client, self.request
        blotter = Blotter(self.spelt) if self.spelt else None
        if blotter is not None and answer.status != 101:
            _refuse_encoded(answer)
        fields = self.answer_fields(answer.fields, answer.status == 101)
        if blotter is not None:
            fields = [(name, blotter.whole(value)) for name, value in fields]
        if answer.status == 101:
            client.begin(request, 101, fields, length=None)
            await self._tunnel(connection)
            return
        has_body = request.method != "HEAD" and answer.status not in (204, 304)
        client.begin(request, answer.status, fields, length=None if answer.status == 204 else answer.length)
        if not has_body:
            return
        is_marked = False
        try:
            while True:
                piece = answer.body.read_now()
                if not is_marked and (piece is None or client.is_full):
                    is_marked = True
                    self.streaming(True)
                if piece is None:
                    piece = await answer.body.read()
                if not piece:
                    break
                if blotter is not None:
                    piece = blotter.feed(piece)
                    if not piece:
                        continue
                client.send(piece)
                if client.is_full:
                    await client.drain()
            if blotter is not None and (rest := blotter.flush()):
                client.send(rest)
            client.finish()
        finally:
            if is_marked:
                self.streaming(False)

    async def _tunnel(self, connection: Outbound) -> None:
        """Carry bytes both ways until either side ends."""
        client, blotter = self.client, Blotter(self.spelt)
        outward, inward = connection.tunnel(), client.tunnel()
        idle = self.route.idle_in / SECOND
        connection.expect(idle)

        async def send_on() -> None:
            while piece := await inward.read():
                connection.expect(idle)
                connection.write(piece)
                await connection.drain()

        async def hand_back() -> None:
            while piece := await outward.read():
                connection.expect(idle)
                client.write(blotter.feed(piece))
                await client.drain()
            client.write(blotter.flush())

        self.streaming(True)
        both = [connection.loop.create_task(send_on()), connection.loop.create_task(hand_back())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.streaming(False)
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            connection.close()


def _refuse_encoded(answer: Answer) -> None:
    """Refuse what cannot be looked through for a secret; the upstream was asked to encode nothing."""
    encodings = [value for name, value in answer.fields if name == b"content-encoding"]
    if any(value.lower() != b"identity" for value in encodings):
        raise UpstreamFailed("it encoded its answer, which was asked to be plain so that secrets can be found in it")
