"""The hot protocol: verify and forward-auth are answered inside the HTTP parser's callback, before any ASGI machinery.

A subclass of uvicorn's ``HttpToolsProtocol``. What it recognises and can answer at once, it writes; everything else is
handed to the ASGI application untouched: other routes, bodies over the limit, ``Expect``, upgrades, requests that are
pipelined behind an unfinished one, and work that has to wait for the database (which goes on where it stopped).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from ..http.carriage import query_may_carry
from ..verify import Verifier
from .hot_routes import CERTIFICATE, REQUEST_ID, SUSPENDED, HotRoutes, new_request_id
from .known_requests import BEGINNINGS, FORWARD_AUTH, MAX_BYTES, fingerprint_of
from .problem import reply_for
from .reply import (
    BOOT,
    Again,
    Edge,
    EdgeRequest,
    Later,
    Repeat,
    Reply,
    Steps,
    Suspended,
    WrittenHeaders,
    lines_of,
    next_number,
    run_now,
)

MAX_HEADERS: Final = 32_768
MAX_HEADER_LINES: Final = 100
MAX_UNFINISHED: Final = 4 * MAX_HEADERS
MIN_PROGRESS: Final = 512
_OK: Final = STATUS_LINE[200]


def _run_now(steps: Steps | None, verifier: Verifier) -> Reply | Suspended | None:
    return None if steps is None else run_now(steps, verifier)


def hot_protocol(routes: HotRoutes) -> type[HttpToolsProtocol]:
    """Return the protocol class that serves these routes; pass it as uvicorn's ``http``."""
    return type("HotProtocol", (_HotProtocol,), {"routes": routes})


class _Unfinished:
    """A request whose answer is on its way, as the base class sees it: what it asks of its own cycles."""

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NOBODY_WAITS


class _Nobody:
    """Stands where the base class wakes whoever waits for the rest of a request."""

    def set(self) -> None:
        """Wake nobody: the request was here whole."""


_NOBODY_WAITS: Final = _Nobody()


class _HotProtocol(HttpToolsProtocol):
    routes: HotRoutes

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._edge: Edge | None = None
        self._body: bytes | bytearray = b""
        self._method = b""
        self._expects = False
        self._host: bytes | None = None
        self._head_is_read = True
        self._trailer_bytes = 0
        self._reading_since: float | None = None
        self._idle_since = 0.0
        self._leaves = False
        self._peer: str | None = None
        self._sender = b""
        self._certificate: bytes | None = None
        # What the bytes received last brought: their size, those of earlier chunks of the same message, and how many
        # messages began in them.
        self._chunk = 0
        self._before = 0
        self._begun = 0
        self._between = True
        self._repeats = False
        self._again: Again | Repeat | None = None
        # Bytes that came in a row without any data of a body.
        self._heard = False
        self._silent = 0

    # Time: one timer a connection, which looks when it fires. Arming one per request would cost as much as a verify.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else None
        tls = transport.get_extra_info("ssl_object")
        self._certificate = None if tls is None else tls.getpeercert(binary_form=True)
        self._sender = self.routes.known.sender(self._peer)
        self._idle_since = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(self.routes.read_timeout, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        super().connection_lost(exc)

    def _unset_keepalive_if_required(self) -> None:
        """Keep the timer: it finds out itself whether the connection was busy."""

    def _look(self) -> None:
        if self.transport.is_closing():
            if self._leaves:
                # What was written last is not read: a flush would hold connection and memory for ever.
                self.transport.abort()
                return
            self._leaves = True
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._look)
            return
        now = self.loop.time()
        if self._reading_since is not None:
            # A request that does not arrive whole in time is a slow client holding a connection (SECURITY-BAR 26).
            due = self._reading_since + self.routes.read_timeout
        elif self._is_busy():
            due = now + self.timeout_keep_alive
        else:
            due = self._idle_since + self.timeout_keep_alive
        if due <= now:
            self.routes.outbox.send()
            self.transport.close()
            due = now
        self.timeout_keep_alive_task = self.loop.call_later(max(due - now, 0.05), self._look)

    def _is_busy(self) -> bool:
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def on_response_complete(self) -> None:
        """Count and go on, like the base class, but without a timer per request."""
        self.server_state.total_requests += 1
        self._idle_since = self.loop.time()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    # Bytes in, and whatever else writes or closes: first goes out what was answered before.

    def data_received(self, data: bytes) -> None:
        """Answer what is known without reading it; give everything else to the parser."""
        self._chunk = len(data)
        cycle: Any = self.cycle
        if (
            not self._between
            or self._chunk > MAX_BYTES
            or not data.startswith(BEGINNINGS)
            or (cycle is not None and not cycle.response_complete)
            or self._is_full()
        ):
            self._repeats = False
            self._before += self._chunk
            self._heard = False
            super().data_received(data)
            if not self._head_is_read and self._before > MAX_UNFINISHED:
                self._refuse(431, b"The headers are too large.")
            # Behind the head, the parser keeps what is neither data nor a whole field: a trailer or an extension.
            self._silent = 0 if self._heard or self._between else self._silent + self._chunk
            if self._head_is_read and self._silent > MAX_UNFINISHED:
                self._refuse(431, b"The trailers are too large.")
            return
        known = self.routes.known
        asked, uri = known.without_uri(data) if data.startswith(FORWARD_AUTH) else (data, b"")
        fingerprint = fingerprint_of(self._sender, asked)
        again = known.recall(fingerprint)
        if again is not None and not (uri and query_may_carry(uri)) and self._answer_again(again, data):
            return
        self._repeats = known.was_seen(fingerprint)
        self._begun = 0
        self._again = None
        super().data_received(data)
        self._remember(fingerprint)

    def _answer_again(self, again: Again | Repeat, data: bytes) -> bool:
        """Answer a known request, if what its answer hangs on still stands."""
        routes = self.routes
        if isinstance(again, Repeat):
            reply = again.begin()
            if reply is None:
                return False
            target, number = data.split(b" ", 2)[1], next_number()
            if isinstance(reply, Later):
                self._answer_later(reply, target, number, keep_alive=True)
            else:
                self._send(reply, keep_alive=True)
                self.server_state.total_requests += 1
                routes.log(target, reply.status, number)
            return True
        try:
            states = routes.verifier.verify_again(again.standing)
            if states is None:
                return False
            lines = again.render(states)
        except Exception:
            return False  # the ordinary way meets it again, and answers it
        begin = routes.begin_of_answers(self.server_state.default_headers)
        routes.outbox.put(self.loop, self.transport, b"".join((_OK, begin, lines)))
        self.server_state.total_requests += 1
        self._idle_since = self.loop.time()
        if routes.access_log:
            routes.log(data.split(b" ", 2)[1], 200, next_number())
        return True

    def _remember(self, fingerprint: bytes) -> None:
        if self._again is not None and self._begun == 1 and self._between:
            self.routes.known.remember(fingerprint, self._again)

    def _is_full(self) -> bool:
        return self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self.routes.outbox.send()
        super().send_400_response(msg)

    def shutdown(self) -> None:
        """Let the connection end when its request is answered."""
        self.routes.outbox.send()
        super().shutdown()

    def pause_writing(self) -> None:
        """Read no more requests of a client that does not read the answers."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if not self.pipeline:
            self.flow.resume_reading()

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._edge = None
        self._expects = False
        self._host = None
        self._head_is_read = False
        self._trailer_bytes = 0
        self._before = 0
        self._begun += 1
        self._heard = True
        self._between = False
        self._reading_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > MAX_HEADERS:
            self._refuse(414, b"The request target is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if self._head_is_read:
            # A trailer field. Merged into the header it would be one that no proxy before us looked at. RFC 9110 §6.5.1
            self._trailer_bytes += len(name) + len(value)
            if self._trailer_bytes > MAX_HEADERS:
                self._refuse(431, b"The trailers are too large.")
            return
        if name == b"host":
            self._host = value if self._host is None else b""
        elif name == b"expect":
            self._expects = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._head_is_read = True
        if self.transport.is_closing():
            return
        if (
            self._host not in self.routes.hosts
            and not self.routes.is_host(self._host)
            and (self._host is not None or self.parser.get_http_version() != "1.0")
        ):
            # None, several, or what is no host: whoever stands before us may have read another one. RFC 9112 §3.2
            self._refuse(400, b"Send one valid Host.")
            return
        if len(self.headers) > MAX_HEADER_LINES or (
            # What came in one small piece cannot be too large.
            (self._before or self._chunk > MAX_HEADERS)
            and sum(len(name) + len(value) for name, value in self.headers) > MAX_HEADERS
        ):
            self._refuse(431, b"The headers are too large.")
            return
        self._method = self.parser.get_method()
        edge = self.routes.find(self._method, self.url)
        if (
            edge is None
            or self._expects
            or self.parser.should_upgrade()
            or self.pipeline
            or self._is_busy()
            or self._is_full()
        ):
            self._hand_over(None)
            return
        self._edge = edge
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._heard = True
        if self._edge is None:
            if not self.transport.is_closing():
                if len(body) >= MIN_PROGRESS:
                    self._reading_since = self.loop.time()
                super().on_body(body)
            return
        if not self._body:
            self._body = body
        else:
            # Most bodies come in one piece. Where they do not, bytes would be copied again for each.
            if type(self._body) is bytes:
                self._body = bytearray(self._body)
            self._body += body
        if len(self._body) > self.routes.max_body:
            collected = bytes(self._body)
            self._hand_over(None)
            super().on_body(collected)

    def on_message_complete(self) -> None:
        self._reading_since = None
        if self._edge is None:
            if not self.transport.is_closing():
                super().on_message_complete()
                self._between = self.parser.should_keep_alive() and not self.parser.should_upgrade()
            return
        routes = self.routes
        body = bytes(self._body)  # itself, if it came in one piece
        request = EdgeRequest(
            self._method,
            self.url,
            self.headers,
            body,
            self._peer,
            next_number(),
            self._repeats,
        )
        edge = self._edge
        try:
            reply = edge.at_once(request) or _run_now(edge.steps(request), routes.verifier)
        except Exception as error:
            # Raised into the parser, it would look like the client's fault.
            reply = reply_for(error, request.request_id)
        if isinstance(reply, Later):
            self._edge = None
            self._again = reply.again
            self._between = self._keeps_alive()
            self._answer_later(reply, request.target, request.number, keep_alive=self._between)
            return
        if not isinstance(reply, Reply):
            self._hand_over(reply, request.request_id)
            if body:
                super().on_body(body)
            super().on_message_complete()
            self._between = self.parser.should_keep_alive()
            return
        self._edge = None
        self._again = reply.again
        self._write(reply)
        routes.log(request.target, reply.status, request.number)

    def _keeps_alive(self) -> bool:
        # llhttp keeps an HTTP/1.0 connection only where the client asked for it; uvicorn then closes, and so do we.
        return bool(self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0")

    def _write(self, reply: Reply) -> None:
        self._between = self._keeps_alive()
        self.server_state.total_requests += 1
        self._send(reply, keep_alive=self._between, has_body=self._method != b"HEAD")

    def _send(self, reply: Reply, *, keep_alive: bool, has_body: bool = True) -> None:
        status, headers, body, more, _ = reply
        routes = self.routes
        answer = b"%s%s%s%scontent-length: %d\r\n%s%s" % (
            STATUS_LINE[status],
            routes.begin_of_answers(self.server_state.default_headers),
            headers.lines if type(headers) is WrittenHeaders else lines_of(headers),
            lines_of(more) if more else b"",
            len(body),
            b"\r\n" if keep_alive else b"connection: close\r\n\r\n",
            body if has_body else b"",
        )
        self._idle_since = self.loop.time()
        if keep_alive:
            routes.outbox.put(self.loop, self.transport, answer)
        else:
            routes.outbox.send()
            self.transport.write(answer)
            self.transport.close()

    def _answer_later(self, later: Later, target: bytes, number: int, *, keep_alive: bool) -> None:
        """Go on when the answer is there; until then the connection is busy, like with a cycle of the base class."""
        unfinished = _Unfinished(keep_alive)
        self.cycle = unfinished  # type: ignore[assignment]
        task = self.loop.create_task(self._finish(later, unfinished, target, number))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _finish(self, later: Later, unfinished: _Unfinished, target: bytes, number: int) -> None:
        try:
            reply = await later.reply
        except Exception as error:
            reply = reply_for(error, f"req_{BOOT}{number:x}")
        unfinished.response_complete = True
        if not self.transport.is_closing():
            self._send(reply, keep_alive=unfinished.keep_alive)
            self.routes.log(target, reply.status, number)
        self.on_response_complete()

    def _hand_over(self, suspended: Suspended | None, request_id: str | None = None) -> None:
        """Begin the ordinary ASGI cycle of the base class with what the parser has said so far."""
        self._edge = None
        url, headers, expects = self.url, self.headers, self._expects
        super().on_message_begin()
        self.url = url
        self.headers.extend(headers)
        self.expect_100_continue = expects
        state: dict[str, Any] = self.scope["state"]
        state[REQUEST_ID] = request_id or new_request_id()
        if self._certificate is not None:
            state[CERTIFICATE] = self._certificate
        if suspended is not None:
            state[SUSPENDED] = suspended
        super().on_headers_complete()

    def _refuse(self, status: int, message: bytes) -> None:
        if self.transport.is_closing():
            return
        self.routes.outbox.send()
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: "
            + b"%d\r\n\r\n" % len(message)
            + message
        )
        self.transport.close()
