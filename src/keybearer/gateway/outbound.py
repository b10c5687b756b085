"""A connection to an upstream: one request at a time, and its answer, read as strictly as requests are.

Spec: RFC 9112 §6.3 (how long an answer is), §9.3 (when a connection may be used again), RFC 9110 §15.2 (interim ones).
"""

from __future__ import annotations

import asyncio
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httptools

from .body import Body
from .flow import NEVER, Flow
from .message import MAX_HEAD, HeaderList, tokens_of

if TYPE_CHECKING:
    from .upstream import Upstream

MAX_ANSWER_FIELDS: Final = 200


class UpstreamFailed(Exception):
    """An upstream could not be asked, or did not answer as it must; the text is for operators and names no secret.

    ``untouched`` says that it cannot have seen anything of the request; ``timed_out`` that it was too slow.
    """

    def __init__(self, why: str, *, untouched: bool = False, timed_out: bool = False) -> None:
        super().__init__(why)
        self.untouched = untouched
        self.timed_out = timed_out


@dataclass(slots=True)
class Answer:
    """The head of an upstream's answer, and its body as it comes; ``length`` is ``None`` where it is not said."""

    status: int
    fields: HeaderList
    length: int | None
    body: Body


class Outbound(Flow):
    """One connection of an upstream's pool."""

    def __init__(self, upstream: Upstream, stalled_in: float) -> None:
        super().__init__(upstream.loop, stalled_in)
        self._upstream = upstream
        self._parser = httptools.HttpResponseParser(self)
        self._head: asyncio.Future[Answer] | None = None
        self._fields: HeaderList = []
        self._size = 0
        self._without_body = False
        self._wants_upgrade = False
        self._body: Body | None = None
        self._until_close = False
        self._keeps = False
        self._in_head = False
        self._is_spoilt = False
        self._answered = False
        self._tunnel: Body | None = None
        self._unread: select.poll | None = None
        self.used = 0
        """How many requests were sent here; a first answer that never came on a used connection says little."""
        self.is_sent = False
        """Whether the request is out whole."""

    # Asking.

    def ask(self, *, without_body: bool, upgrade: bool) -> asyncio.Future[Answer]:
        """Get ready for the answer to the request that is written next."""
        self._parser = httptools.HttpResponseParser(self)
        self._head = self.loop.create_future()
        self._fields, self._size = [], 0
        self._without_body, self._wants_upgrade = without_body, upgrade
        self._body, self._until_close, self._keeps = None, False, False
        self._in_head, self._answered, self._is_spoilt = True, False, False
        self.is_sent = False
        self.used += 1
        return self._head

    @property
    def is_reusable(self) -> bool:
        """Whether the next request may go here, too."""
        whole = self._answered and self._keeps and self.is_sent
        return whole and not self._is_spoilt and not self._is_held and not self.is_closing

    @property
    def has_unread(self) -> bool:
        """Whether bytes lie here already, or the end: the next answer could not be told from what nobody asked for."""
        if self._unread is None:
            self._unread = select.poll()
            self._unread.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(self._unread.poll(0))

    def rest(self) -> None:
        """Lie idle: whatever comes now, nobody asked for."""
        self._head, self._body = None, None
        self.expect(NEVER)

    def abort(self) -> None:
        """Hang up; an answer that is not whole yet never will be, whatever framing it has."""
        self._is_spoilt = True
        super().abort()

    def tunnel(self) -> Body:
        """Stop speaking HTTP: return all that the upstream sends from now on."""
        assert self._tunnel is not None  # noqa: S101 — after an answer of 101 only
        return self._tunnel

    # Hearing.

    def connection_lost(self, exc: Exception | None) -> None:
        """End. A body without a length ends here; any other is cut short."""
        super().connection_lost(exc)
        self._upstream.lost(self)
        if self._tunnel is not None:
            self._tunnel.end()
        elif self._body is not None and self._until_close and exc is None and not self._is_spoilt:
            self._body.end()
        else:
            self._fail(UpstreamFailed("it closed the connection before its answer was whole"))

    def eof_received(self) -> bool:
        """An upstream that says nothing more is done with."""
        return False

    def read_late(self) -> None:
        """Give up on an answer that does not come."""
        self._fail(UpstreamFailed("it did not answer in time", timed_out=True))
        self.abort()

    def _fail(self, error: UpstreamFailed) -> None:
        self._is_spoilt = True
        if self._head is not None and not self._head.done():
            self._head.set_exception(error)
        elif self._body is not None:
            self._body.fail(error)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the upstream."""
        if self._tunnel is not None:
            self._tunnel.feed(data)
            return
        if self._head is None or self._is_spoilt:
            self.abort()  # nobody asked
            return
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            self._switched(data[pause.args[0] :])
        except httptools.HttpParserError:
            self._fail(UpstreamFailed("its answer cannot be read in one way only"))
            self.abort()
            return
        if self._size > 2 * MAX_HEAD and not self._answered:
            self._fail(UpstreamFailed("its answer has more around its body than it may"))
            self.abort()

    def _switched(self, rest: bytes) -> None:
        if self._tunnel is not None:
            if rest:
                self._tunnel.feed(rest)
            return
        self._fail(UpstreamFailed("it changed to a protocol that nobody asked for"))
        self.abort()

    def on_message_begin(self) -> None:
        """Start a head; the parser's callback."""
        if self._answered:
            self._is_spoilt = True  # more than one answer to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field; what stands in trailers is dropped. The parser's callback."""
        if self._in_head:
            self._fields.append((name.lower(), value.strip(b" \t")))
            if len(self._fields) > MAX_ANSWER_FIELDS:
                raise UpstreamFailed("the head of its answer is too large")

    def on_headers_complete(self) -> None:
        """Hand on the head of an answer. The parser's callback."""
        parser, fields = self._parser, self._fields
        status = parser.get_status_code()
        if self._answered or self._head is None or self._head.done():
            return
        if 100 <= status < 200 and status != 101:
            self._fields = []
            return
        if status == 101 and not self._accepts_upgrade(fields):
            raise UpstreamFailed("it changed to a protocol that nobody asked for")
        if status < 100 or status > 599:
            raise UpstreamFailed("the status of its answer is none")
        self._in_head, self._size = False, 0
        coding = [value for name, value in fields if name == b"transfer-encoding"]
        if coding and (len(coding) > 1 or coding[0].lower() != b"chunked"):
            raise UpstreamFailed("its answer has a transfer coding that is not known")
        lengths = [value for name, value in fields if name == b"content-length"]
        length = int(lengths[0]) if lengths else None
        bodiless = self._without_body or status in (204, 304)
        self._keeps = parser.should_keep_alive() and (bodiless or bool(coding) or length is not None)
        self._until_close = not bodiless and not coding and length is None
        self._body = Body(self.hold)
        if status == 101:
            self._tunnel = Body(self.hold)
            self._keeps = False
        if bodiless or status == 101:
            self._answered = True
            self._body.end()
            self._is_quiet()
        else:
            self.expect(self.stalled_in)
        self._head.set_result(Answer(status, fields, length, self._body))

    def _accepts_upgrade(self, fields: HeaderList) -> bool:
        """Tell whether a 101 is the one that was asked for. Spec: RFC 9110 §15.2.2, RFC 6455 §4.1."""
        to = tokens_of(fields, b"upgrade")
        return self._wants_upgrade and to == {b"websocket"} and b"upgrade" in tokens_of(fields, b"connection")

    def on_body(self, piece: bytes) -> None:
        """Hand on a piece of a body. The parser's callback."""
        if self._answered or self._body is None:
            self._is_spoilt = True
            return
        self._size = 0
        self._body.feed(piece)
        # Events may come slowly; only silence is too long.
        self.expect(self.stalled_in)

    def on_message_complete(self) -> None:
        """End an answer. The parser's callback."""
        if self._head is None or not self._head.done() or self._answered or self._body is None:
            return
        self._answered = True
        self._is_quiet()
        self._body.end()

    def _is_quiet(self) -> None:
        self.expect(NEVER)
