"""The guard as WSGI middleware, in front of a whole application.

    application = GuardMiddleware(application, guard, rules={"GET /orders/*": "orders:read"}, public=("/health",))

The application finds the :class:`Caller` in ``environ["keybearer"]``, ``None`` at public paths. Spec: PEP 3333.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from ..http.identity_headers import is_identity
from .answers import Answer, Headers, Refused
from .doors import Demanded, Doors
from .gate import Gate
from .guard import Guard
from .incoming import Incoming

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

ENVIRON_KEY: Final = "keybearer"


class GuardMiddleware:
    """Lets requests with a good credential through. See :class:`Doors` for ``rules`` and ``public``."""

    def __init__(
        self,
        app: App,
        guard: Guard,
        *,
        permissions: Demanded = None,
        rules: Mapping[str, Demanded] | None = None,
        public: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._gate = Gate(guard)
        self._doors = Doors(permissions, rules or {}, public)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, or hand it on."""
        strip_identity(environ)
        environ[ENVIRON_KEY] = None
        incoming = incoming_of(environ)
        try:
            wanted = self._doors.rule_for(incoming.method, incoming.path)
            if wanted is None:
                return self._app(environ, start_response)
            passed = self._gate.check(incoming, wanted)
        except Refused as refused:
            return _refuse(refused.answer, incoming.method, start_response)
        environ[ENVIRON_KEY] = passed.caller
        return self._app(environ, _saying(passed.headers, start_response) if passed.headers else start_response)


def strip_identity(environ: Environ) -> None:
    """Take away the identity headers that a client wrote, in place, in whatever spelling the server took them."""
    for name in [name for name in environ if name.startswith("HTTP_") and is_identity(name[5:].encode("latin-1"))]:
        del environ[name]


def incoming_of(environ: Mapping[str, Any]) -> Incoming:
    """Return a request of WSGI as guards read it. The path is what the application will see, encoded again."""
    headers = [
        (name[5:].lower().replace("_", "-").encode("latin-1"), str(value).encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")) or "/"
    return Incoming(
        method=environ["REQUEST_METHOD"],
        path=quote(path.encode("latin-1"), safe="/:@!$&'()*+,;=-._~"),
        query=environ.get("QUERY_STRING", ""),
        headers=headers,
        peer=environ.get("REMOTE_ADDR") or None,
        scheme="https" if environ.get("wsgi.url_scheme") == "https" else "http",
    )


def _saying(headers: Headers, start_response: StartResponse) -> StartResponse:
    more = [(name.decode("latin-1").title(), value.decode("latin-1")) for name, value in headers]

    def saying(status: str, given: list[tuple[str, str]], *rest: Any) -> Any:
        return start_response(status, [*given, *more], *rest)

    return saying


def _refuse(answer: Answer, method: str, start_response: StartResponse) -> Iterable[bytes]:
    headers = [*answer.text_headers, ("Content-Length", str(len(answer.body)))]
    start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
    return [] if method == "HEAD" else [answer.body]
