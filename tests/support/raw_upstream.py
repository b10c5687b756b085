"""A server on a bare socket that keeps exactly what it received, and notes whatever could be read in two ways."""

from __future__ import annotations

import re
import socket
import threading
from typing import NamedTuple

from tests.support.ports import free_port

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Received(NamedTuple):
    """One message as it stood on the wire. ``oddities``: in what way another server could read it otherwise."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...]
    oddities: tuple[str, ...]

    def field(self, name: str) -> list[bytes]:
        """The values of a field, whatever the case of its name."""
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]


class RawUpstream:
    """Listens on a free port of 127.0.0.1 and answers 200 to whatever it takes for a request."""

    def __init__(self) -> None:
        self.port = free_port()
        self._received: list[Received] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def received(self) -> list[Received]:
        """What came so far."""
        with self._lock:
            return list(self._received)

    def forget(self) -> None:
        """Begins anew."""
        with self._lock:
            self._received.clear()

    def stop(self) -> None:
        """Ends it, with its connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(60)
        reader = _Reader(connection)
        try:
            while (message := reader.message()) is not None:
                with self._lock:
                    self._received.append(message)
                connection.sendall(_ANSWER)
        except OSError:
            return
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


class _Reader:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unread = b""

    def message(self) -> Received | None:
        """The next message; what is cut short counts too, as soon as its head is there."""
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        oddities: list[str] = []
        first, *lines = head.split(b"\r\n")
        if b"\n" in head.replace(b"\r\n", b"") or b"\r" in head.replace(b"\r\n", b"") or b"\0" in head:
            oddities.append("a bare CR, LF or NUL in the head")
        parts = first.split(b" ")
        if len(parts) != 3 or parts[2] != b"HTTP/1.1":
            oddities.append(f"the line {first!r}")
        fields = _fields_of(lines, oddities)
        hosts = [value for name, value in fields if name.lower() == b"host"]
        if len(hosts) != 1 or b"," in hosts[0]:
            oddities.append(f"the hosts {hosts!r}")
        body, trailers = self._body(fields, oddities)
        target = parts[1] if len(parts) > 1 else b""
        return Received(parts[0], target, fields, body, trailers, tuple(oddities))

    def _body(
        self, fields: tuple[tuple[bytes, bytes], ...], oddities: list[str]
    ) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
        lengths = [value for name, value in fields if name.lower() == b"content-length"]
        codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
        if codings:
            if lengths:
                oddities.append("Content-Length beside Transfer-Encoding")
            if codings != [b"chunked"]:
                oddities.append(f"the coding {codings!r}")
            return self._chunks(oddities)
        if not lengths:
            return b"", ()
        if len(lengths) > 1 or re.fullmatch(rb"[0-9]{1,15}", lengths[0]) is None:
            oddities.append(f"the length {lengths!r}")
            return b"", ()
        return self._exactly(int(lengths[0])), ()

    def _chunks(self, oddities: list[str]) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
        body = b""
        while (line := self._until(b"\r\n")) is not None:
            if re.fullmatch(rb"[0-9A-Fa-f]{1,8}", line) is None:
                oddities.append(f"the chunk size {line!r}")
                return body, ()
            size = int(line, 16)
            if not size:
                trailers = []
                while line := self._until(b"\r\n"):
                    trailers.append(line)
                return body, _fields_of(trailers, oddities)
            body += self._exactly(size)
            if self._exactly(2) != b"\r\n":
                oddities.append("a chunk without its end")
                return body, ()
        return body, ()

    def _until(self, end: bytes) -> bytes | None:
        while end not in self._unread:
            if not self._more():
                return None
        found, _, self._unread = self._unread.partition(end)
        return found

    def _exactly(self, count: int) -> bytes:
        """These bytes, or fewer where the proxy gave the request up, as it should where it finds out late."""
        while len(self._unread) < count and self._more():
            pass
        found, self._unread = self._unread[:count], self._unread[count:]
        return found

    def _more(self) -> bool:
        data = self._connection.recv(65536)
        self._unread += data
        return bool(data)


def _fields_of(lines: list[bytes], oddities: list[str]) -> tuple[tuple[bytes, bytes], ...]:
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or _TOKEN.fullmatch(name) is None:
            oddities.append(f"the field {line!r}")
        fields.append((name, value.strip(b" \t")))
    return tuple(fields)
