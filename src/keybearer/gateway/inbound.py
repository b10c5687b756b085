"""A client's connection: requests are parsed strictly, one is worked on at a time, and answers go out in order.

What two programs could read in two ways is refused before anything is looked up. Spec: RFC 9112 §6.3, §7.1, §11.2,
RFC 9110 §7.2; h11 CVE-2025-43859 and other framing defects of peers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import httptools

from .body import Body
from .flow import NEVER, Flow
from .message import MAX_FIELDS, MAX_HEAD, BadRequest, Request, head_of, request_from

if TYPE_CHECKING:
    from .gateway import Gateway

log = logging.getLogger(__name__)

MAX_PIPELINED: Final = 8
"""Requests that may wait behind the one that is worked on; who sends more is cut off behind them."""
KEPT_ALIVE: Final = 75.0
_AT_ONCE: Final = struct.pack("ii", 1, 0)
LINGER: Final = 2.0
"""Seconds for a client to notice the answer to a body that nobody wants, before the connection closes."""


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class ClientTooSlow(Exception):
    """The rest of the body did not come in time."""


class Inbound(Flow):
    """One client. The parser's callbacks make requests; ``gateway`` answers each through ``begin`` and ``write``."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway.loop, gateway.settings.request_timeout)
        self._gateway = gateway
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._around = 0
        self._in_head = False
        self._receiving: Request | None = None
        self._queue: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._refusal: BadRequest | None = None
        self._is_chunked = False
        self._is_until_close = False
        self._tunnel: Body | None = None
        self._early = b""
        self.peer: str | None = None
        self.is_tls = False
        self.answering = False
        """Whether the head of an answer went out."""

    # Life.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; a client too many is told so."""
        super().connection_made(transport)
        address = transport.get_extra_info("peername")
        self.peer = address[0] if isinstance(address, tuple) else None
        self.is_tls = transport.get_extra_info("sslcontext") is not None
        if not self._gateway.admit(self):
            self.write(head_of(503, [(b"retry-after", b"1"), (b"content-length", b"0")], close=True))
            self.close()
            return
        self.expect(self.stalled_in)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; what is done for this client is given up."""
        super().connection_lost(exc)
        self._gateway.forget(self)
        if self._receiving is not None:
            self._receiving.body.fail(ClientGone())
        if self._tunnel is not None:
            self._tunnel.end()
        if self._task is not None:
            self._task.cancel()

    def eof_received(self) -> bool:
        """A client that sends no more is taken to be gone: one that waits for events could not be told apart."""
        if self._tunnel is not None:
            self._tunnel.end()
            return True
        return False

    def read_late(self) -> None:
        """Refuse a request that does not arrive; close a connection that lies idle."""
        if self._receiving is not None:
            self._receiving.body.fail(ClientTooSlow())
        elif self._in_head and not self._queue:
            self.fail(BadRequest(408, "The request did not arrive in time."))
        else:
            self.abort() if self._queue else self.close()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being asked or answered here."""
        return not self._queue

    def stop(self) -> None:
        """Close once what was asked is answered."""
        if self._queue:
            for request in self._queue:
                request.keep_alive = False
        else:
            self.close()

    # Parsing.

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._tunnel is not None:
            self._tunnel.feed(data)
            return
        if self._refusal is not None or self.is_closing:
            return
        self._around += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            self._went_on(data[pause.args[0] :])
        except httptools.HttpParserError as error:
            self._cannot_read(_why(error))
            return
        if self._around > MAX_HEAD and (self._in_head or self._receiving is not None):
            # Of a field that has no end, in a head or in trailers, the parser keeps all it got.
            self._cannot_read(BadRequest(431, "There is more around the body of this request than may be."))

    def _cannot_read(self, refusal: BadRequest) -> None:
        """Refuse what the parser, or one of our callbacks, does not take."""
        if self._receiving is not None:
            self._receiving.body.fail(BadRequest(400, "The body is framed in a way that cannot be trusted."))
        self.fail(self._refusal or refusal)

    def _went_on(self, rest: bytes) -> None:
        """Go on behind a request that asked for another protocol: it is not spoken until both sides agreed."""
        last = self._queue[-1] if self._queue else None
        if last is not None and last.upgrade:
            # What follows belongs to the other protocol, if that comes to be spoken.
            self._early = rest
            self.hold(True)
            return
        self._parser = httptools.HttpRequestParser(self)
        if rest:
            self.data_received(rest)

    def on_message_begin(self) -> None:
        """Start a head; the parser's callback."""
        self._target, self._fields, self._head_size, self._around, self._in_head = b"", [], 0, 0, True
        if self._task is None:
            self.expect(self.stalled_in)

    def on_url(self, url: bytes) -> None:
        """Take a part of the target; the parser's callback."""
        self._target += url
        self._head_size += len(url)
        if self._head_size > MAX_HEAD:
            self._refuse(414, "The target of this request is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field; what stands in trailers is dropped. The parser's callback."""
        if not self._in_head:
            return
        self._fields.append((name.lower(), value.strip(b" \t")))
        self._head_size += len(name) + len(value) + 4
        if self._head_size > MAX_HEAD or len(self._fields) > MAX_FIELDS:
            self._refuse(431, "The head of this request is too large.")

    def on_headers_complete(self) -> None:
        """Judge a head, and begin to work on it if nothing else is being done. The parser's callback."""
        parser = self._parser
        self._in_head, self._around = False, 0
        if len(self._queue) > MAX_PIPELINED:
            self._refuse(429, "Wait for answers before sending more requests.")
        try:
            request = request_from(
                parser.get_method(),
                self._target,
                self._fields,
                parser.get_http_version(),
                Body(self.hold),
                keep_alive=parser.should_keep_alive(),
            )
        except BadRequest as refusal:
            self._refusal = refusal
            raise
        self._receiving = request
        self._queue.append(request)
        self._start_next()

    def on_body(self, piece: bytes) -> None:
        """Hand on a piece of a body. The parser's callback."""
        self._around = 0
        if self._receiving is not None:
            self._receiving.body.feed(piece)
            self.moved(len(piece))

    def on_message_complete(self) -> None:
        """End a request. The parser's callback."""
        if self._receiving is not None:
            self._receiving.body.end()
            self._receiving = None
            # Who waits for an answer is not late.
            self.expect(NEVER)

    def _refuse(self, status: int, why: str) -> None:
        self._refusal = BadRequest(status, why)
        raise self._refusal

    def fail(self, refusal: BadRequest) -> None:
        """Answer what cannot be read, behind all that could, and read no more."""
        self._refusal = refusal
        if self._task is None and not self._queue and not self.is_closing:
            self.write(head_of(refusal.status, self._gateway.plain_refusal(refusal), close=True) + refusal.body)
            self.close()

    # Answering.

    def _start_next(self) -> None:
        if self._task is None and self._queue and not self.is_closing:
            request = self._queue[0]
            self.answering = False
            if request is self._receiving:
                self.expect(self.stalled_in)  # it may have begun behind another one, whose deadlines are over
            self._task = self.loop.create_task(self._gateway.answer(self, request))
            self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        request = self._queue.popleft()
        if task.cancelled() or self.is_lost:
            self.abort()
            return
        error = task.exception()
        if error is not None:
            log.error("a request could not be answered", exc_info=error)
            self.abort()
            return
        if self._tunnel is not None:
            self.close()
        elif not request.body.is_whole:
            self._linger(request)
        elif not request.keep_alive:
            self.close()
        else:
            self._go_on_behind(request)

    def _go_on_behind(self, request: Request) -> None:
        """Work on what comes behind a request that is answered."""
        self.hold(False)  # a body that nobody read may have stopped the reading
        if self._queue:
            self._start_next()
        elif self._refusal is not None:
            self.fail(self._refusal)
        else:
            if request.upgrade:  # asked for another protocol and did not get it
                rest, self._early = self._early, b""
                self._parser = httptools.HttpRequestParser(self)
                if rest:
                    self.data_received(rest)
            if not self._queue:
                self.expect(self.stalled_in if self._in_head else KEPT_ALIVE)

    def _linger(self, request: Request) -> None:
        """Let a client read its answer before it is cut off in the middle of a body that nobody wants."""
        request.body.fail(ClientGone())
        self._refusal = BadRequest(400, "")
        self._receiving = None
        self.hold(False)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.loop.call_later(LINGER, self.abort)

    def begin(
        self, request: Request, status: int, fields: Iterable[tuple[bytes, bytes]], *, length: int | None
    ) -> None:
        """Send the head of an answer; ``length`` is ``None`` where it is not known.

        Spec: RFC 9112 §6.1: never chunked to a client of HTTP/1.0, which gets the body until the connection closes.
        """
        self.answering = True
        self._is_chunked = self._is_until_close = False
        if not request.body.is_whole:
            request.keep_alive = False
        lines = list(fields)
        if length is not None:
            lines.append((b"content-length", str(length).encode()))
        elif status >= 200 and status not in (204, 304) and request.method != "HEAD":
            if request.version == "1.1":
                self._is_chunked = True
                lines.append((b"transfer-encoding", b"chunked"))
            else:
                request.keep_alive = False
                self._is_until_close = True
        self.write(head_of(status, lines, close=not request.keep_alive, version=request.version))

    def send(self, piece: bytes) -> None:
        """Send a piece of the body of an answer."""
        self.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._is_chunked else piece)

    def finish(self) -> None:
        """End the body of an answer."""
        if self._is_chunked:
            self.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Close in the middle of an answer; a reset tells it from the end where nothing else does. RFC 9112 §8."""
        if self._is_until_close and not self.is_closing:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.abort()

    def go_on(self) -> None:
        """Ask for the body that the client holds back. Spec: RFC 9110 §10.1.1."""
        self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def tunnel(self) -> Body:
        """Stop speaking HTTP: return all that the client sends from now on."""
        self._tunnel = Body(self.hold)
        self.expect(NEVER)
        self.hold(False)
        if self._early:
            self._tunnel.feed(self._early)
            self._early = b""
        return self._tunnel


def _why(error: Exception) -> BadRequest:
    cause: Any = error.__context__
    if isinstance(cause, BadRequest):
        return cause
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return BadRequest(501, "This method is not known here.")
    return BadRequest(400, "This is not a request of HTTP/1.1 that can be read in one way only.")
