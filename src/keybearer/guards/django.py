"""The guard for Django: a middleware, a decorator, and the settings ``KEYBEARER``.

    KEYBEARER = {"url": …, "key": …, "api": …, "default": "pages:read", "public": ["/health"]}
    MIDDLEWARE = ["keybearer.guards.django.GuardMiddleware", …]

    @guarded("answers:write")
    def post_answer(request): ... request.caller ...

Without ``default`` only decorated views (and REST framework's) ask. Works with synchronous and asynchronous views.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

from ..http.identity_headers import is_identity, without_identity
from .answers import Answer, Refused
from .asgi import incoming_of as incoming_of_asgi
from .doors import Demanded, Doors, to_rule
from .gate import Gate, Passed
from .guard import Guard
from .incoming import Incoming
from .rule import Rule
from .wsgi import incoming_of, strip_identity

_OWN: Final = frozenset({"default", "rules", "public"})


@cache
def gate() -> Gate:
    """Return the gate of this process, made from the settings ``KEYBEARER``."""
    given = dict(getattr(settings, "KEYBEARER", {}))
    try:
        return Gate(Guard(given.pop("url"), **{name: value for name, value in given.items() if name not in _OWN}))
    except (KeyError, TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"KEYBEARER needs url, key and api: {error}") from error


@cache
def _doors() -> Doors | None:
    given = getattr(settings, "KEYBEARER", {})
    if not _OWN & set(given):
        return None
    return Doors(given.get("default"), given.get("rules", {}), given.get("public", ()))


class GuardMiddleware:
    """Takes identity headers that clients wrote away and, where the settings say so, asks for a credential."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Answer a request, or hand it on."""
        return self._acall(request) if self._is_async else self._call(request)

    def _call(self, request: HttpRequest) -> Any:
        _prepare(request)
        try:
            wanted = _wanted(request)
            if wanted is not None:
                _note(request, gate().check(incoming(request), wanted))
        except Refused as refused:
            return response_of(refused.answer)
        return _said(request, self._get_response(request))

    async def _acall(self, request: HttpRequest) -> Any:
        _prepare(request)
        try:
            wanted = _wanted(request)
            if wanted is not None:
                _note(request, await gate().acheck(incoming(request), wanted))
        except Refused as refused:
            return response_of(refused.answer)
        return _said(request, await self._get_response(request))


def guarded(permissions: Demanded = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that lets in to a view who holds these permissions; the caller is ``request.caller``."""
    wanted = to_rule(permissions)

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        if iscoroutinefunction(view):

            @wraps(view)
            async def aguarded(request: HttpRequest, *arguments: Any, **named: Any) -> Any:
                try:
                    _note(request, await gate().acheck(incoming(request), wanted))
                except Refused as refused:
                    return response_of(refused.answer)
                return await view(request, *arguments, **named)

            return aguarded

        @wraps(view)
        def plainly_guarded(request: HttpRequest, *arguments: Any, **named: Any) -> Any:
            try:
                _note(request, gate().check(incoming(request), wanted))
            except Refused as refused:
                return response_of(refused.answer)
            return view(request, *arguments, **named)

        return plainly_guarded

    return decorate


def incoming(request: HttpRequest) -> Incoming:
    """Return a request of Django as guards read it."""
    scope = getattr(request, "scope", None)
    return incoming_of(request.META) if scope is None else incoming_of_asgi(scope)


def response_of(answer: Answer) -> HttpResponse:
    """Return an answer as Django sends it."""
    response = HttpResponse(answer.body, status=answer.status)
    for name, value in answer.text_headers:
        response[name] = value
    return response


def _wanted(request: HttpRequest) -> Rule | None:
    doors = _doors()
    if doors is None:
        return None
    found = incoming(request)
    return doors.rule_for(found.method, found.path)


def _prepare(request: HttpRequest) -> None:
    strip_identity(request.META)
    for name in [name for name in request.META if is_identity(name.removeprefix("HTTP_").encode("latin-1", "replace"))]:
        del request.META[name]
    scope = getattr(request, "scope", None)
    if scope is not None:
        scope["headers"] = without_identity(scope["headers"])
    request.caller = None


def _note(request: HttpRequest, passed: Passed) -> None:
    request.caller = passed.caller
    request.keybearer_headers = passed.headers


def _said(request: HttpRequest, response: Any) -> Any:
    for name, value in getattr(request, "keybearer_headers", ()):
        response[name.decode("latin-1").title()] = value.decode("latin-1")
    return response
