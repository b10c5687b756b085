"""Pages of several sites, served on one port: browsers find every name below ``localhost`` on this machine."""

from __future__ import annotations

import http.server
import threading
from urllib.parse import urlsplit

from tests.support.ports import free_port


class Pages:
    """Serves each page that was written at its path, whatever the site; remembers nothing."""

    def __init__(self) -> None:
        self.port = free_port()
        self._pages: dict[str, str] = {}
        pages = self._pages

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = pages.get(urlsplit(self.path).path)
                body = (found or "").encode()
                self.send_response(200 if found is not None else 404)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def origin(self, site: str) -> str:
        """The origin of a site, such as ``shop``."""
        return f"http://{site}.localhost:{self.port}"

    def write(self, path: str, body: str) -> None:
        """Put a page at a path of every site."""
        self._pages[path] = f"<!doctype html><title>Page</title><link rel=icon href='data:,'>{body}"

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
