"""A relay before a server that keeps the bytes which clients send to it, to see what a proxy really asked."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.support.ports import free_port


class Relay:
    """Passes connections to a free port of 127.0.0.1 on to ``target``."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._asked = bytearray()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def asked(self) -> bytes:
        """All that clients sent so far."""
        with self._lock:
            return bytes(self._asked)

    def stop(self) -> None:
        """Takes no more connections; those that are open end with either side."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            threading.Thread(target=self._pass_on, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, keep: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if keep:
                    with self._lock:
                        self._asked += data
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
