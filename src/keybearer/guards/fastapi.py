"""The guard as FastAPI dependencies, which show up in the application's OpenAPI as its security schemes.

    guarded = Guarded(guard)
    guarded.install(app)

    @app.post("/answers")
    async def post_answer(caller: Annotated[Caller, Depends(guarded("answers:write"))]) -> …

``Security(guarded(), scopes=["answers:write"])`` asks for the same.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import FastAPI, Request, Response, Security
from fastapi.responses import Response as PlainResponse
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPBearer, SecurityScopes
from starlette.exceptions import HTTPException

from ..core.records import CredentialKind
from ..http.identity_headers import without_identity
from .answers import Answer, Refused
from .asgi import SCOPE_KEY, App, Receive, Scope, Send, closing, incoming_of
from .caller import Caller
from .doors import Demanded, to_rule
from .gate import Gate
from .guard import Guard
from .rule import Rule

Dependency = Callable[..., Coroutine[Any, Any, Caller]]


class RefusedRequest(HTTPException):
    """A refusal as FastAPI answers it; ``Guarded.install`` makes it a problem with its own body."""

    def __init__(self, answer: Answer) -> None:
        headers = {name: value for name, value in answer.text_headers if name != "Content-Type"}
        super().__init__(answer.status, headers=headers)
        self.answer = answer


class Guarded:
    """Makes dependencies. ``key_header`` and ``token_cookie`` are what the documentation of the application shows: the
    same as the API has at the authority, which alone decides.
    """

    def __init__(self, guard: Guard, *, key_header: str = "X-API-Key", token_cookie: str = "") -> None:
        self._gate = Gate(guard)
        self._key = APIKeyHeader(name=key_header, scheme_name="ApiKey", auto_error=False, description="An API key.")
        self._bearer = HTTPBearer(scheme_name="Bearer", auto_error=False, description="An access token, or an API key.")
        self._cookie = None
        if token_cookie:
            words = "An access token, for requests of this very site."
            self._cookie = APIKeyCookie(name=token_cookie, scheme_name="Cookie", auto_error=False, description=words)

    def install(self, app: FastAPI) -> None:
        """Answer refusals as problems, and take identity headers that a client wrote away before anybody sees them."""
        app.add_exception_handler(RefusedRequest, _answer)
        app.add_middleware(_WithoutIdentity, guard=self._gate.guard)

    def __call__(self, permissions: Demanded = None) -> Dependency:
        """Return a dependency that lets in who holds these permissions, and gives the :class:`Caller`."""
        own = to_rule(permissions)
        names = list(own.demand.names) if own.demand is not None else []

        async def admit(request: Request, response: Response, asked: SecurityScopes, **shown: Any) -> Caller:
            return await self._admit(request, response, _with_scopes(own, tuple(asked.scopes)))

        # Where keys are not taken, the documentation does not offer that header.
        only_tokens = own.accept == frozenset({CredentialKind.ACCESS_TOKEN})
        found = (None if only_tokens else self._key, self._bearer, self._cookie)
        schemes = [scheme for scheme in found if scheme is not None]
        admit.__signature__ = _signature(admit, schemes, names)  # type: ignore[attr-defined]
        return admit

    async def _admit(self, request: Request, response: Response, wanted: Rule) -> Caller:
        try:
            passed = await self._gate.acheck(incoming_of(request.scope), wanted)
        except Refused as refused:
            raise RefusedRequest(refused.answer) from None
        for name, value in passed.headers:
            response.headers.append(name.decode("latin-1"), value.decode("latin-1"))
        request.scope[SCOPE_KEY] = passed.caller
        return passed.caller


_WITH_SCOPES: dict[tuple[Rule, tuple[str, ...]], Rule] = {}


def _with_scopes(own: Rule, scopes: tuple[str, ...]) -> Rule:
    """Return a rule that asks for scopes too; the same each time, since routes are few."""
    if not scopes:
        return own
    found = _WITH_SCOPES.get((own, scopes))
    if found is None:
        expressions = [*scopes, *([f"({own.expression})"] if own.expression else [])]
        found = _WITH_SCOPES[own, scopes] = Rule(
            " and ".join(expressions),
            accept=own.accept,
            acr_values=own.acr_values,
            max_age=None if own.max_age is None else own.max_age // 1_000_000,
            cost=own.cost,
            limits=own.limits,
            credits=own.credits,
        )
    return found


def _signature(admit: Callable[..., Any], schemes: list[Any], names: list[str]) -> Any:
    """Return the signature that FastAPI reads: what the function takes, and the schemes, any one of which will do."""
    import inspect

    plain = inspect.signature(admit, eval_str=True)
    kept = [one for one in plain.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    shown = [
        inspect.Parameter(f"scheme_{number}", inspect.Parameter.KEYWORD_ONLY, default=Security(scheme, scopes=names))
        for number, scheme in enumerate(schemes)
    ]
    return plain.replace(parameters=[*kept, *shown])


async def _answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedRequest)  # noqa: S101 — it is registered for nothing else
    response = PlainResponse(error.answer.body, error.answer.status)
    response.raw_headers.extend(error.answer.headers)
    return response


class _WithoutIdentity:
    def __init__(self, app: App, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            await self._app({**scope, "headers": without_identity(scope["headers"]), SCOPE_KEY: None}, receive, send)
            return
        await self._app(scope, receive, closing(self._guard, send))
