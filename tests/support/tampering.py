"""A TCP proxy that does to a connection what networks do: delay it, stall it, repeat or swap parts of it, cut it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Change = Callable[[bytes], list[bytes]]


class TamperingProxy:
    """Passes all bytes on; ``delay`` and ``stalled`` hold those of the node back, ``change`` alters pieces of them."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.delay = 0.0
        self.stalled = False
        self.change: Change | None = None
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End all connections at once, without a word."""
        for line in tuple(self._open):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closing = True
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._closing:
                client, _ = self._listener.accept()
                self.connections += 1
                try:
                    node = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._open |= {client, node}
                for source, sink, comes_back in ((client, node, False), (node, client, True)):
                    threading.Thread(target=self._pump, args=(source, sink, comes_back), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, comes_back: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(65_536):
                if comes_back:
                    if self.delay:
                        time.sleep(self.delay)
                    while self.stalled and not self._closing:
                        time.sleep(0.005)
                pieces = self.change(piece) if comes_back and self.change is not None else [piece]
                for one in pieces:
                    sink.sendall(one)
        for line in (source, sink):
            self._open.discard(line)
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()


@contextmanager
def tampering(port: int) -> Iterator[TamperingProxy]:
    """A proxy in front of a port of this machine while the context lasts."""
    proxy = TamperingProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
