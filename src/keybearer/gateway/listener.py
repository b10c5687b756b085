"""The gateway's listener: it accepts connections, with TLS where that is set up."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Final

from ..settings import Settings
from .gateway import Gateway

TLS12_CIPHERS: Final = "ECDHE+AESGCM"
"""What TLS 1.2 may use, the oldest version that is spoken. Spec: RFC 9325 §4.2."""
HANDSHAKE_IN: Final = 10.0


@contextlib.asynccontextmanager
async def listening(gateway: Gateway, listener: socket.socket) -> AsyncIterator[None]:
    """Accept connections while the context lasts, then let open requests finish."""
    settings = gateway.settings
    tls = _tls(settings)
    server = await gateway.loop.create_server(
        gateway.connect, sock=listener, ssl=tls, ssl_handshake_timeout=HANDSHAKE_IN if tls is not None else None
    )
    gateway.start()
    try:
        yield
    finally:
        server.close()
        await gateway.stop(settings.shutdown_timeout)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(TLS12_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    return context
