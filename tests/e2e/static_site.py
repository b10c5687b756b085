"""A static site that serves real files and keeps the raw headers of each request it got."""

import functools
import http.server
import ssl
import threading
from pathlib import Path
from typing import Any

from tests.support.ports import free_port


class StaticSite:
    """Serves a directory on a free port of 127.0.0.1, as HTTP/1.1 with keep-alive; over TLS with a context for it."""

    def __init__(self, folder: Path, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, list[tuple[str, str]]]] = []
        self.connections = 0
        self.port = free_port()
        handler = functools.partial(_Handler, directory=str(folder), site=self)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def forget(self) -> None:
        """Begins to count anew."""
        self.requests.clear()
        self.connections = 0

    @property
    def last_headers(self) -> list[tuple[str, str]]:
        """The headers of the newest request, as they were written."""
        return self.requests[-1][1]


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, site: StaticSite, **more: Any) -> None:
        self._site = site
        super().__init__(*arguments, **more)

    def setup(self) -> None:
        super().setup()
        self._site.connections += 1

    def do_GET(self) -> None:
        self._site.requests.append((self.path, self.headers.items()))
        super().do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        self._site.requests.append((self.path, self.headers.items()))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Stay quiet."""
