"""The guard for Django REST framework: who calls is ``request.user`` and ``request.auth``, and what it may.

    class Answers(APIView):
        authentication_classes = [KeybearerAuthentication]
        permission_classes = [HasPermissions("answers:write")]

The settings are those of ``keybearer.guards.django``.
"""

from __future__ import annotations

from typing import Any

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from .answers import Answer, Refused
from .caller import Caller
from .django import _note, gate, incoming
from .doors import Demanded, to_rule
from .rule import ANYBODY, Rule


class KeybearerAuthentication(BaseAuthentication):
    """Authenticates by whatever credential the API takes; a request without one stays anonymous."""

    def authenticate(self, request: Request) -> tuple[Authenticated, Caller] | None:
        """Return who calls, or raise what the guard answers."""
        wanted = _demanded(request)
        plain = request._request
        try:
            passed = gate().check(incoming(plain), wanted)
        except Refused as refused:
            if refused.is_anonymous:
                plain.keybearer_challenge = dict(refused.answer.text_headers).get("Www-Authenticate", "Bearer")
                return None
            raise RefusedRequest(refused.answer) from None
        _note(plain, passed)
        plain.keybearer_rule = wanted
        return Authenticated(passed.caller), passed.caller

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge for anonymous requests to views that ask for more."""
        return str(getattr(request._request, "keybearer_challenge", "Bearer"))


class Authenticated:
    """The caller, as REST framework wants a user to be."""

    is_authenticated = True
    is_anonymous = False
    is_active = True

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.pk = self.id = caller.user_id or caller.credential_id

    def __str__(self) -> str:
        return str(self.pk)


class RefusedRequest(exceptions.APIException):
    """A refusal with the guard's own status and headers."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("This request may not pass.")
        self.status_code = answer.status
        for name, value in answer.text_headers:
            if name == "Www-Authenticate":
                self.auth_header = value
            elif name == "Retry-After":
                self.wait = int(value)


class _Demand:
    """Permissions that views ask for, as a class that REST framework can make instances of."""

    rule: Rule = ANYBODY


def HasPermissions(permissions: Demanded = None) -> type[BasePermission]:  # noqa: N802 — used as a class
    """Return a permission class that lets in who holds these; authentication asks for them in the same question."""
    wanted = to_rule(permissions)

    class Holds(BasePermission, _Demand):
        rule = wanted

        def has_permission(self, request: Request, view: Any) -> bool:
            caller = request.auth
            if not isinstance(caller, Caller):
                return False
            plain = request._request
            if getattr(plain, "keybearer_rule", None) is wanted:
                return True
            # Authentication did not see it, in ``get_permissions`` or joined with another.
            return _is_met(wanted, plain) if wanted.asks_more else _holds(wanted, caller)

    return Holds


def _holds(wanted: Rule, caller: Caller) -> bool:
    return wanted.demand is None or not wanted.demand.missing(caller.permissions)


def _is_met(wanted: Rule, request: Any) -> bool:
    """Ask once more: what a rule wants besides permissions, its caller cannot tell."""
    try:
        _note(request, gate().check(incoming(request), wanted))
    except Refused as refused:
        if refused.answer.status in (401, 403):
            return False
        raise RefusedRequest(refused.answer) from None
    return True


def _demanded(request: Request) -> Rule:
    """Return what the view asks for, so that one question answers it and its costs are taken once."""
    view = request.parser_context.get("view") if request.parser_context else None
    for permission in getattr(view, "permission_classes", ()):
        if isinstance(permission, type) and issubclass(permission, _Demand):
            return permission.rule
    return ANYBODY
