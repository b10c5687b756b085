"""The HTTP server of one process: uvicorn with the hot protocol, and a graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Callable, Generator
from typing import Any, Final

import uvicorn

from .process import allow_open_files, until_orphaned
from .settings import Settings
from .web.hot import hot_protocol
from .web.hot_routes import HotRoutes


class _Server(uvicorn.Server):
    """Uvicorn that says when it accepts, and leaves the process alive after a signal so that engines can be closed."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, then say so."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what would never end by itself, then let open requests finish."""
        self._stopping()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take SIGTERM and SIGINT as requests to stop gracefully; a second SIGINT stops at once."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def serve(
    web: Any,
    routes: HotRoutes,
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[], None],
    stopping: Callable[[], None],
) -> int:
    """Serve until a signal, then let open requests finish within ``settings.shutdown_timeout``; returns 0.

    ``stopping`` is called between the two, to end what would go on for ever.
    """
    config = uvicorn.Config(
        web,
        http=hot_protocol(routes),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        # The client's address is worked out by http/client_address.py, from trusted proxies only.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, int(settings.shutdown_timeout)),
        limit_concurrency=settings.max_connections,
        **_tls(settings),
    )
    loud = logging.getLogger("uvicorn.error")
    loud.setLevel(logging.WARNING)
    loud.addFilter(_is_news)
    allow_open_files(settings.max_connections * (2 if settings.gateway_port else 1))
    server = _Server(config, ready, stopping)
    # What is there now stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    if settings.workers == 1:
        await server.serve(sockets=[listener])
        return 0
    watch = asyncio.create_task(_stop_when_orphaned(server))
    try:
        await server.serve(sockets=[listener])
    finally:
        watch.cancel()
    return 0


TLS12_CIPHERS: Final = "ECDHE+AESGCM"
"""What TLS 1.2 may use, the oldest version that is spoken. Spec: RFC 9325 §4.2, FAPI 2.0 §5.2.2."""


def _tls(settings: Settings) -> dict[str, Any]:
    """Return uvicorn's settings for TLS: clients may show a certificate that ``client_ca`` vouches for (RFC 8705)."""
    if not settings.tls_certificate:
        return {}
    import ssl

    found: dict[str, Any] = {
        "ssl_certfile": settings.tls_certificate,
        "ssl_keyfile": settings.tls_key,
        "ssl_ciphers": TLS12_CIPHERS,
    }
    if settings.client_ca:
        found |= {"ssl_ca_certs": settings.client_ca, "ssl_cert_reqs": ssl.CERT_OPTIONAL}
    return found


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out the lines about each request that is no HTTP, which names nobody and in a flood would fill the disk,
    and about each reader of events that was dropped because it did not read.
    """
    message = record.getMessage()
    return "Invalid HTTP request" not in message and "without completing response" not in message


async def _stop_when_orphaned(server: uvicorn.Server) -> None:
    await until_orphaned()
    server.should_exit = True
