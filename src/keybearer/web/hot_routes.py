"""Which requests are answered inside the parser's callback, by which edge, and what all connections share."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Final

from ..settings import Settings
from ..verify import Verifier
from . import decision, ext_authz, forward_auth
from .known_requests import KnownRequests
from .outbox import Outbox
from .reply import BOOT, Edge, lines_of, next_number

log = logging.getLogger("keybearer.access")

SUSPENDED: Final = "keybearer.suspended"
CERTIFICATE: Final = "client_certificate"
"""Where the certificate (DER) of a client lies in the state of a request, if it showed one to this server itself."""
REQUEST_ID: Final = "keybearer.request_id"
MAX_HOSTS: Final = 256
HOST: Final = re.compile(rb"(?:[0-9A-Za-z._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def log_access(route: str, status: int, request_id: str) -> None:
    """Log one answer: the route, never the query or what else the client wrote."""
    log.info("request", extra={"route": route, "status": status, "request_id": request_id})


def new_request_id() -> str:
    """Return an id that no other request has: random per process, then counted."""
    return f"req_{BOOT}{next_number():x}"


class HotRoutes:
    """Which request targets are answered at once, and by which edge; and what all connections of a process share.

    ``others`` are edges of POST requests by their target; ``ext_authz`` is asked with whatever method and path.
    """

    def __init__(
        self,
        verifier: Verifier,
        verify: Edge,
        forward_auth: Edge,
        settings: Settings,
        others: Mapping[bytes, Edge] | None = None,
        ext_authz: Edge | None = None,
    ) -> None:
        self.verifier = verifier
        self.max_body = settings.max_body
        self.read_timeout = settings.request_timeout
        self.access_log = settings.access_log
        self.hosts: set[bytes] = set()
        self.known = KnownRequests()
        self.outbox = Outbox()
        self._verify = verify
        self._forward_auth = forward_auth
        self._others = dict(others or {})
        self._ext_authz = ext_authz
        self._default: tuple[Sequence[tuple[bytes, bytes]], bytes] = ((), b"")

    def begin_of_answers(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Return the headers that every answer has, which change once a second, as they are on the wire."""
        known, lines = self._default
        if known is not headers:
            lines = lines_of(headers)
            self._default = (headers, lines)
        return lines

    def is_host(self, value: bytes | None) -> bool:
        """Tell whether a ``Host`` field names one host and perhaps a port; those that did are remembered."""
        if value is None or HOST.fullmatch(value) is None:
            return False
        if len(self.hosts) >= MAX_HOSTS:
            self.hosts.clear()
        self.hosts.add(value)
        return True

    def find(self, method: bytes, target: bytes) -> Edge | None:
        """Return the edge for a request, or ``None`` for the ASGI application."""
        if target == decision.PATH:
            return self._verify if method == b"POST" else None
        if target.startswith(forward_auth.PATH):
            path = target.partition(b"?")[0]
            return self._forward_auth if path in (forward_auth.PATH, forward_auth.NGINX_PATH) else None
        if target.startswith(ext_authz.PREFIX):
            return self._ext_authz
        return self._others.get(target) if method == b"POST" else None

    def log(self, target: bytes, status: int, number: int) -> None:
        """Log one answer, if that is wanted."""
        if self.access_log:
            # Behind this prefix stands the path of the client's request.
            path = ext_authz.PREFIX if target.startswith(ext_authz.PREFIX) else target.partition(b"?")[0]
            log_access(path.decode("latin-1"), status, f"req_{BOOT}{number:x}")
