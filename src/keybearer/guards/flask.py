"""The guard as a decorator for Flask views, and for all views of an application.

    guarded = Guarded(guard, app)

    @app.post("/answers")
    @guarded("answers:write")
    def post_answer(): ... g.caller ...

With ``default=`` every view of the application asks for that, but those under ``@guarded.public``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

from flask import Flask, Response, current_app, g, request

from .answers import Refused
from .doors import Demanded, to_rule
from .gate import Gate
from .guard import Guard
from .rule import Rule
from .wsgi import incoming_of, strip_identity

View = TypeVar("View", bound=Callable[..., Any])
NOBODY_ASKED: Final = "_keybearer_public"
ASKS_ITSELF: Final = "_keybearer_guarded"
NO_DEFAULT: Final = object()


class Guarded:
    """Makes decorators; ``install`` also takes identity headers that a client wrote away before any view sees them."""

    def __init__(self, guard: Guard, app: Flask | None = None, *, default: Demanded | object = NO_DEFAULT) -> None:
        self._gate = Gate(guard)
        self._default = None if default is NO_DEFAULT else to_rule(default)  # type: ignore[arg-type]
        if app is not None:
            self.install(app)

    def install(self, app: Flask) -> None:
        """Guard an application."""
        app.wsgi_app = _WithoutIdentity(app.wsgi_app)  # type: ignore[method-assign]
        app.before_request(self._before)
        app.after_request(_after)

    def __call__(self, permissions: Demanded = None) -> Callable[[View], View]:
        """Return a decorator that lets in who holds these permissions; the :class:`Caller` is ``flask.g.caller``."""
        wanted = to_rule(permissions)

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(*arguments: Any, **named: Any) -> Any:
                refusal = self._check(wanted)
                if refusal is not None:
                    return refusal
                return current_app.ensure_sync(view)(*arguments, **named)

            setattr(guarded, ASKS_ITSELF, True)
            return guarded  # type: ignore[return-value]

        return decorate

    @staticmethod
    def public(view: View) -> View:
        """Let everybody in to a view, whatever the default is."""
        setattr(view, NOBODY_ASKED, True)
        return view

    def _before(self) -> Response | None:
        g.caller = None
        view = current_app.view_functions.get(request.endpoint or "")
        if self._default is None or getattr(view, NOBODY_ASKED, False) or getattr(view, ASKS_ITSELF, False):
            return None
        return self._check(self._default)

    def _check(self, wanted: Rule) -> Response | None:
        try:
            passed = self._gate.check(incoming_of(request.environ), wanted)
        except Refused as refused:
            answer = refused.answer
            return Response(answer.body, answer.status, answer.text_headers)
        g.caller = passed.caller
        g.keybearer_headers = passed.headers
        return None


def _after(response: Response) -> Response:
    for name, value in g.pop("keybearer_headers", ()):
        response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return response


class _WithoutIdentity:
    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        strip_identity(environ)
        return self._app(environ, start_response)
