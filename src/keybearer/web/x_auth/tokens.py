"""``/v3/auth/tokens``: Keystone's tokens are issued, shown, checked and revoked.

The methods are ``password`` and ``application_credential``, which are the same here, and ``token``.
"""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...core.errors import Code, InvalidInput, Rejected
from ...core.secret import Secret
from ...services.x_auth import Claim, describe
from ...wire.x_auth import Auth, AuthRequest, Domain, Identity, ProjectScope
from ..bodies import decode_json
from ..dispatch import body_of, request_id_of
from .answers import answer, nothing
from .door import Door, header
from .token_view import token_view

PATH: Final = "/v3/auth/tokens"
_DECODER: Final = msgspec.json.Decoder(AuthRequest)
_METHODS: Final = ("password", "application_credential", "token")


def routes(door: Door) -> list[Route]:
    """Return the routes."""

    async def issue(request: Request) -> Response:
        body = await body_of(request, door.authority.settings.max_body)
        auth = decode_json(_DECODER, request.scope["headers"], body).auth
        method, claim = _claim_of(auth)
        if method == "token":
            text, described = claim.secret, describe(await door.tokens.traded(claim, door.source(request)))
        else:
            text, described = await door.x_auth.sign_in(claim, door.source(request), request_id_of(request))
        said = token_view(described, method, with_catalog=_wants_catalog(request))
        return answer(said, request_id_of(request), 201, subject_token=text.reveal())

    async def show(request: Request) -> Response:
        caller = await door.caller(request)
        text = _subject_of(request)
        described = describe(await door.tokens.subject(text, caller))
        method = "token" if described.is_person else "application_credential"
        said = token_view(described, method, with_catalog=_wants_catalog(request))
        return answer(said, request_id_of(request), subject_token=text)

    async def revoke(request: Request) -> Response:
        caller = await door.caller(request)
        subject = await door.tokens.subject(_subject_of(request), caller)
        await door.tokens.revoke(caller, subject, door.source(request), request_id_of(request))
        return nothing(request_id_of(request))

    by_method = {"POST": issue, "GET": show, "HEAD": show, "DELETE": revoke}

    async def serve(request: Request) -> Response:
        return await by_method[request.method](request)

    return [Route(PATH, door.endpoint(serve), methods=list(by_method))]


def _subject_of(request: Request) -> str:
    text = header(request, "x-subject-token")
    if not text:
        raise InvalidInput.of("x-subject-token", "this field is needed")
    return text


def _wants_catalog(request: Request) -> bool:
    return "nocatalog" not in request.query_params


def _claim_of(auth: Auth) -> tuple[str, Claim]:
    """Return the method and what it claims; raises ``InvalidInput``, and ``Rejected`` for methods that are not here."""
    identity = auth.identity
    if len(identity.methods) != 1:
        raise InvalidInput.of("auth.identity.methods", "name one method")
    method = identity.methods[0]
    if method not in _METHODS:
        raise Rejected(Code.KIND_NOT_ACCEPTED)
    present = [name for name in _METHODS if getattr(identity, name) is not None]
    if present != [method]:
        raise InvalidInput.of("auth.identity", f"must have the member {method}, and that of no other method")
    project = _project_of(auth)
    user, secret = _named(identity)
    return method, Claim(
        secret=Secret(secret),
        user=user,
        project="" if project is None else _only(project.id, project.name, "auth.scope.project"),
        domain="" if project is None or project.domain is None else _domain(project.domain),
    )


def _project_of(auth: Auth) -> ProjectScope | None:
    """Return the project of the scope, ``None`` for the credential's own; raises ``InvalidInput`` for other scopes."""
    scope = auth.scope
    if scope is msgspec.UNSET or scope is None:
        return None
    if isinstance(scope, str) or scope.project is None or scope.domain or scope.system or scope.trust:
        raise InvalidInput.of("auth.scope", "tokens are for a project: name one, or leave the scope out")
    return scope.project


def _named(identity: Identity) -> tuple[str, str]:
    """Return who is named and the secret."""
    if identity.password is not None:
        user = identity.password.user
        return _only(user.id, user.name, "auth.identity.password.user"), user.password
    if identity.application_credential is not None:
        one = identity.application_credential
        return _only(one.id, one.name, "auth.identity.application_credential"), one.secret
    if identity.token is not None:
        return "", identity.token.id
    raise InvalidInput.of("auth.identity", "names no credential")


def _domain(domain: Domain) -> str:
    return _only(domain.id, domain.name, "auth.scope.project.domain")


def _only(record_id: str | None, name: str | None, field: str) -> str:
    """Return the id or the name, whichever is there; raises ``InvalidInput`` for none, or both."""
    if (record_id is None) == (name is None):
        raise InvalidInput.of(field, "must have either id or name")
    return record_id or name or ""
