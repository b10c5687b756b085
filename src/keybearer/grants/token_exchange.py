"""``token-exchange``: a token, or an API key, becomes another token that reaches no further. Spec: RFC 8693.

An API key (``urn:keybearer:params:oauth:token-type:api-key``) becomes a short token that inherits the key's project,
limits, credits and restrictions, and dies with it. An access token becomes a narrower one, and ends no later. An ID
token becomes what its user consented to. An actor token says who acts in the subject's name (``act``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from ..core import scopes
from ..core.clients import GrantType
from ..core.decide_token import decide_token
from ..core.errors import NotFound, Rejected
from ..core.instant import Instant
from ..core.oauth_error import InvalidGrant, InvalidRequest, InvalidScope, InvalidTarget
from ..core.permissions import holds
from ..core.records import NO_RESTRICTIONS, Api, State
from ..core.requirement import Requirement
from ..core.sessions import Session
from ..core.target import choose_api, names_of
from ..core.token_type import TokenType
from ..core.tokens import IDENTITY_SCOPES, TokenRecord
from ..core.users import User
from ..formats.assertion import instant_of
from .desk import Desk, Entitlement, Issued, TokenRequest
from .standing import consent_of

MAX_ACTORS: Final = 5
"""How long a chain of actors may grow."""

_BAD: Final = (
    "The {what} is not good: unknown, expired, revoked, bound to another key, or not this client's to exchange."
)


class TokenExchange:
    """The grant."""

    grant_type: Final = GrantType.TOKEN_EXCHANGE

    async def redeem(self, request: TokenRequest, desk: Desk) -> Issued:
        """Exchange the subject token, in the name of the actor where there is one."""
        form = request.form
        subject_token = form.need("subject_token")
        subject_type = _type_of(form.need("subject_token_type"), "subject_token_type")
        if bool(form.get("actor_token")) != bool(form.get("actor_token_type")):
            raise InvalidRequest("actor_token and actor_token_type come together.")
        wanted = form.get("requested_token_type")
        if wanted and wanted != TokenType.ACCESS_TOKEN:
            raise InvalidRequest(f"Only {TokenType.ACCESS_TOKEN.value} is issued here: say so or leave it out.")
        if subject_type is TokenType.API_KEY:
            entitlement = await _of_key(subject_token, request, desk)
        elif subject_type is TokenType.ID_TOKEN:
            entitlement = await _of_id_token(subject_token, request, desk)
        else:
            entitlement = await _of_access_token(subject_token, request, desk)
        if form.get("actor_token"):
            actor_type = _type_of(form.get("actor_token_type"), "actor_token_type")
            actor = await _actor_of(form.get("actor_token"), actor_type, request, desk)
            entitlement = replace(
                entitlement,
                actor=_chained(actor.claim, entitlement.actor),
                ends_at=_earlier(entitlement.ends_at, actor.ends_at),
            )
        issued = desk.draft(replace(entitlement, issued_token_type=TokenType.ACCESS_TOKEN.value), request)
        await desk.store.transact(partial(desk.keep, issued=issued, request=request))
        return issued


def _type_of(text: str, name: str) -> TokenType:
    accepted = (TokenType.ACCESS_TOKEN, TokenType.ID_TOKEN, TokenType.API_KEY)
    for known in accepted:
        if text == known.value:
            return known
    raise InvalidRequest(f"{name} must be one of {', '.join(known.value for known in accepted)}.")


def _targets(request: TokenRequest) -> tuple[str, ...]:
    """Return what the token is asked for: ``audience`` and ``resource`` both name an API here."""
    return tuple(dict.fromkeys((*request.form.all("resource"), *request.form.all("audience"))))


# Subjects.


async def _of_key(text: str, request: TokenRequest, desk: Desk) -> Entitlement:
    record, version = await desk.own_key(text, request)
    if record.project.id != request.project.id:
        raise InvalidGrant(_BAD.format(what="subject token"))
    reachable = record.restrictions.apis
    apis = tuple(api for api in request.apis if not reachable or api.id in reachable)
    asked = scopes.parse(request.form.get("scope"))

    def may_have(scope: str) -> bool:
        return scope in request.client.scopes and holds(record.permissions, scope)

    if not all(may_have(scope) for scope in asked):
        raise InvalidScope("The scope is more than the API key holds, or than this client may ask for.")
    wanted = asked or tuple(scope for api in apis for scope in names_of(api) if may_have(scope))
    api = choose_api(apis, _targets(request), wanted)
    if api is None:
        raise InvalidTarget("Say which API the token is for, with resource or audience.")
    return Entitlement(
        client=request.client,
        project=request.project,
        subject=record.key.id,
        scopes=_understood(
            api, asked, tuple(permission.name for permission in api.permissions if may_have(permission.name))
        ),
        api=api,
        key=record,
        key_version=version.number,
        key_thumbprint=request.key_thumbprint,
        certificate_thumbprint=request.certificate_thumbprint,
        ends_at=version.expires_at,
    )


async def _of_access_token(text: str, request: TokenRequest, desk: Desk) -> Entitlement:
    record = await _good_token(text, request, desk, "subject token")
    token = record.token
    if record.project.id != request.project.id:
        raise InvalidGrant(_BAD.format(what="subject token"))
    asked = scopes.parse(request.form.get("scope"))
    allowed = record.scopes - IDENTITY_SCOPES
    if not allowed.issuperset(asked):
        raise InvalidScope("The scope is more than the subject token has.")
    consented = record.grant.resources if record.grant is not None and token.client_id == request.client.id else ()
    apis = tuple(api for api in request.apis if api.id == token.api_id or api.id in consented)
    targets = _targets(request)
    api = choose_api(apis, targets, ()) if targets else record.api
    if api is None:
        raise InvalidTarget("The subject token is for no API, so that nothing can be narrowed.")
    return Entitlement(
        client=request.client,
        project=request.project,
        subject=token.subject if record.user is None else desk.subject_for(record.user, request.client),
        scopes=_understood(api, asked, tuple(scope for scope in token.scopes if scope in allowed)),
        api=api,
        user=record.user,
        grant=record.grant,
        session=record.session,
        key=record.key,
        key_version=token.key_version,
        actor=token.actor,
        selected_details=record.authorization_details,
        authenticated_at=token.authenticated_at,
        amr=token.amr,
        acr=token.acr,
        key_thumbprint=request.key_thumbprint,
        certificate_thumbprint=request.certificate_thumbprint,
        ends_at=token.expires_at,
        parent_family_id=token.family_id,
    )


async def _of_id_token(text: str, request: TokenRequest, desk: Desk) -> Entitlement:
    user, session, claims = await _good_id_token(text, request, desk, "subject token")
    client = request.client
    grant = await consent_of(desk.store, user.id, client.id, request.now)
    if grant is None and not client.is_first_party:
        raise InvalidGrant(_BAD.format(what="subject token"))
    allowed = tuple(
        scope for scope in (client.scopes if grant is None else grant.scopes) if scope not in IDENTITY_SCOPES
    )
    asked = scopes.parse(request.form.get("scope"))
    if not set(allowed).issuperset(asked):
        raise InvalidScope("The scope is more than the user agreed to.")
    resources = () if grant is None else grant.resources
    apis = tuple(api for api in request.apis if not resources or api.id in resources)
    api = choose_api(apis, _targets(request), asked or allowed, consented=bool(resources))
    if api is None:
        raise InvalidTarget("Say which API the token is for, with resource or audience.")
    return Entitlement(
        client=client,
        project=request.project,
        subject=desk.subject_for(user, client),
        scopes=_understood(api, asked, allowed),
        api=api,
        user=user,
        grant=grant,
        session=session,
        authenticated_at=instant_of(claims.get("auth_time")),
        key_thumbprint=request.key_thumbprint,
        certificate_thumbprint=request.certificate_thumbprint,
    )


def _understood(api: Api, asked: tuple[str, ...], otherwise: tuple[str, ...]) -> tuple[str, ...]:
    names = names_of(api)
    if not names.issuperset(asked):
        raise InvalidScope("The API does not understand the whole scope.")
    return asked or tuple(scope for scope in otherwise if scope in names)


# Actors.


@dataclass(frozen=True, slots=True)
class _Actor:
    claim: Mapping[str, object]
    ends_at: Instant | None


async def _actor_of(text: str, kind: TokenType, request: TokenRequest, desk: Desk) -> _Actor:
    """Return who acts: this client's own token, its user, or a key of its project."""
    what = "actor token"
    if kind is TokenType.API_KEY:
        record, version = await desk.own_key(text, request)
        if record.project.id != request.project.id:
            raise InvalidGrant(_BAD.format(what=what))
        return _Actor({"sub": record.key.id}, version.expires_at)
    if kind is TokenType.ID_TOKEN:
        user, _, claims = await _good_id_token(text, request, desk, what)
        return _Actor({"sub": desk.subject_for(user, request.client)}, instant_of(claims.get("exp")))
    found = await _good_token(text, request, desk, what)
    if found.token.client_id != request.client.id:
        raise InvalidGrant(_BAD.format(what=what))
    return _Actor({"sub": found.token.subject, "client_id": found.client.client_id}, found.token.expires_at)


def _chained(actor: Mapping[str, object], before: Mapping[str, object] | None) -> Mapping[str, object]:
    """Return the ``act`` claim with the actors of before inside. Spec: RFC 8693 §4.1."""
    depth, inner = 1, before
    while isinstance(inner, Mapping):
        depth, inner = depth + 1, inner.get("act")  # type: ignore[assignment]
    if depth > MAX_ACTORS:
        raise InvalidRequest(f"The chain of actors would be longer than {MAX_ACTORS}.")
    return actor if before is None else {**actor, "act": before}


# What was presented.


async def _good_token(text: str, request: TokenRequest, desk: Desk, what: str) -> TokenRecord:
    """Return an access token that is good now, for whoever has the key it is bound to."""
    record = await desk.own_token(text)
    if record is None:
        raise InvalidGrant(_BAD.format(what=what))
    # Where the key's restrictions allow its use is for the new token's verify, which inherits them.
    requirement = Requirement(
        api=record.api,
        key_thumbprint=request.key_thumbprint if record.token.key_thumbprint else "",
        certificate_thumbprint=request.certificate_thumbprint,
    )
    bare = replace(record, restrictions=NO_RESTRICTIONS, networks=(), is_restricted=False)
    try:
        decide_token(bare, requirement, request.now)
    except Rejected:
        raise InvalidGrant(_BAD.format(what=what)) from None
    return record


async def _good_id_token(
    text: str, request: TokenRequest, desk: Desk, what: str
) -> tuple[User, Session | None, Mapping[str, object]]:
    """Return the user of an ID token that was issued to this client and is not over, and the session it came from."""
    claims = await desk.own_id_token(text)
    expires_at = None if claims is None else instant_of(claims.get("exp"))
    if (
        claims is None
        or expires_at is None
        or request.now >= expires_at
        or claims.get("aud") != request.client.client_id
    ):
        raise InvalidGrant(_BAD.format(what=what))
    sid = claims.get("sid")
    try:
        session = await desk.store.get(Session, sid) if isinstance(sid, str) else None
        user_id = str(claims["sub"]) if session is None else session.user_id
        user = await desk.store.get(User, user_id)
    except NotFound:
        raise InvalidGrant(_BAD.format(what=what)) from None
    if (
        user.state is not State.ENABLED
        or desk.subject_for(user, request.client) != claims["sub"]
        or (session is not None and (session.state is not State.ENABLED or session.is_over(request.now)))
    ):
        raise InvalidGrant(_BAD.format(what=what))
    return user, session, claims


def _earlier(one: Instant | None, other: Instant | None) -> Instant | None:
    known = [at for at in (one, other) if at is not None]
    return min(known) if known else None


GRANT: Final = TokenExchange()
