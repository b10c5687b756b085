"""One TCP connection that sends bytes as they are, also those that no HTTP library would."""

import socket
from types import TracebackType
from typing import NamedTuple


class Response(NamedTuple):
    """One answer as it stood on the wire; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Closed(Exception):
    """The server has closed the connection."""


class Raw:
    """A connection to 127.0.0.1; reads are bounded by ten seconds."""

    def __init__(self, port: int, seconds: float = 10) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self._unread = b""

    def __enter__(self) -> "Raw":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Writes these bytes; a connection that the server closed swallows them."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def receive(self, *, to_head: bool = False) -> Response:
        """The next answer; raises ``Closed`` when none comes any more. ``to_head``: it has no body."""
        head = self._read_until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        status = int(first.split()[1])
        if to_head or status < 200 or status in (204, 304):
            return Response(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Response(status, headers, self._chunks())
        if "content-length" in headers:
            return Response(status, headers, self._read(int(headers["content-length"])))
        return Response(status, headers, self.rest())

    def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        while self._more():
            pass
        rest, self._unread = self._unread, b""
        return rest

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._read_until(b"\r\n"), 16):
            body += self._read(size)
            self._read(2)
        self._read_until(b"\r\n")
        return body

    def _read_until(self, end: bytes) -> bytes:
        while end not in self._unread:
            if not self._more():
                raise Closed
        found, _, self._unread = self._unread.partition(end)
        return found

    def _read(self, count: int) -> bytes:
        while len(self._unread) < count:
            if not self._more():
                raise Closed
        found, self._unread = self._unread[:count], self._unread[count:]
        return found

    def _more(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            return False
        self._unread += data
        return bool(data)


def request(method: str, target: str, *headers: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """The bytes of a request; ``Content-Length`` is added when there is a body."""
    lines = [f"{method} {target} HTTP/{version}", "Host: keys.example", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
