"""The authorization endpoint's decisions: what is asked for, what the user must do first, and the code at the end.

Nothing is stored before the user has signed in and agreed. Effective rights are the request within the client's
ceiling, what the APIs understand, what the user is entitled to, and the consent.
Spec: DESIGN §7, RFC 6749 §4.1, OIDC Core §3.1.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..core import authorization_details
from ..core.assurance import meets
from ..core.authorization_code import AuthorizationCode
from ..core.authorization_request import AuthorizationRequest, Parameters, Prompt, parameters_of, parse, target_of
from ..core.clients import Client, GrantType, record_id
from ..core.errors import NotFound
from ..core.instant import SECOND, Instant
from ..core.lifecycle import touch
from ..core.oauth_error import (
    AccessDenied,
    ConsentRequired,
    InvalidRequest,
    InvalidRequestObject,
    InvalidScope,
    InvalidTarget,
    LoginRequired,
    UnauthorizedClient,
    UnmetAuthenticationRequirements,
)
from ..core.records import Api, Project, State
from ..core.secret import Secret
from ..core.sessions import Session
from ..core.target import is_target, names_of
from ..core.tokens import IDENTITY_SCOPES
from ..core.users import User
from ..ports import UnitOfWork
from . import client_documents, consent, pushed_requests, request_objects
from .asked import Asked
from .authority import Authority, Caller
from .codes import put_code
from .id_tokens import read_hint
from .key_sets import KeySets
from .sessions import SignedIn
from .subjects import subject_for

_CLIENT_ID: Final = re.compile(r"[\x21-\x7e]{1,2000}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AskSignIn:
    """The user must sign in; ``reason`` says why, to developers. ``again`` when somebody is signed in already."""

    reason: str
    again: bool


@dataclass(frozen=True, slots=True)
class AskAccount:
    """The user must say which account to go on with."""


@dataclass(frozen=True, slots=True)
class AskConsent:
    """The user must agree to this."""

    view: consent.ConsentView


@dataclass(frozen=True, slots=True)
class Answered:
    """The code, for the client's redirect URI."""

    code: Secret


Step = AskSignIn | AskAccount | AskConsent | Answered


async def client_in_force(authority: Authority, client_id: str, source: str | None = None) -> Client:
    """Return an enabled client of an enabled project; what it raises belongs on a page.

    For a client that is the URL of its own description, this is looked at first; ``source`` is who asks.
    """
    unknown = UnauthorizedClient("There is no client with this client_id, or it is switched off.")
    if _CLIENT_ID.fullmatch(client_id) is None:
        raise unknown
    try:
        await client_documents.resolve(authority, client_id, source or "")
        client = await authority.store.get(Client, record_id(client_id))
        project = await authority.store.get(Project, client.project_id)
    except NotFound:
        raise unknown from None
    if client.client_id != client_id or client.state is not State.ENABLED or project.state is not State.ENABLED:
        raise unknown
    return client


async def unwrap(authority: Authority, key_sets: KeySets, client: Client, parameters: Parameters) -> Parameters:
    """Return the parameters that a request object holds, or the request as it is without one. Spec: RFC 9101 §6.

    Raises ``InvalidRequestObject`` and ``RequestNotSupported``.
    """
    text = parameters.get("request")
    if not text:
        return parameters
    if "request" in parameters.repeated or parameters.get("request_uri"):
        raise InvalidRequest("request must stand here once, and without request_uri.")
    issuer, now = authority.settings.issuer_url, authority.clock.now()
    keys = await key_sets.of_client(client)
    try:
        found = request_objects.parameters_of(text, client, keys, issuer=issuer, now=now)
    except InvalidRequestObject:
        # The client may have new keys since they were fetched.
        keys = await key_sets.of_client(client, afresh=True)
        found = request_objects.parameters_of(text, client, keys, issuer=issuer, now=now)
    return parameters_of(found)


async def understand(
    authority: Authority, client: Client, parameters: Parameters, pushed_id: str = "", *, is_signed: bool = False
) -> Asked:
    """Return what a request of a client asks for; raises the ``OAuthError`` to answer with.

    ``is_signed`` says that it came in a request object, or was pushed after it was looked at here.
    """
    target = target_of(parameters, client)
    if client.require_signed_request_object and not is_signed:
        raise InvalidRequest("This client must sign its requests (RFC 9101).")
    request = parse(parameters, client)
    if client.require_pushed_authorization_requests and not pushed_id:
        raise InvalidRequest("This client must push its requests first (RFC 9126).")
    enabled = await apis_of(authority, client)
    apis, scopes = _reach(client, enabled, request)
    details = authorization_details.parse(request.authorization_details, apis if request.resources else enabled)
    if not request.resources:
        apis = tuple(api for api in enabled if api in apis or authorization_details.at(api, details))
    if not scopes and not details:
        raise InvalidScope("scope is missing, and this client has no scopes of its own to fall back on.")
    subject = request.required_subject
    if request.id_token_hint:
        hint = await read_hint(authority, request.id_token_hint)
        if hint is None or hint["aud"] != client.client_id:
            raise InvalidRequest("id_token_hint is not an ID token that this issuer gave to this client.")
        subject = str(hint["sub"])
    return Asked(client, request, target, apis, scopes, details, subject, pushed_id)


async def apis_of(authority: Authority, client: Client) -> tuple[Api, ...]:
    """Return the APIs that a client's project may ask tokens for."""
    project = await authority.store.get(Project, client.project_id)
    found = []
    for api_id in project.enabled_apis:
        try:
            found.append(await authority.store.get(Api, api_id))
        except NotFound:
            continue
    return tuple(api for api in found if is_target(api))


def _reach(
    client: Client, enabled: Sequence[Api], request: AuthorizationRequest
) -> tuple[tuple[Api, ...], tuple[str, ...]]:
    """Return the APIs and the scopes that a request reaches. Spec: RFC 8707 §2, RFC 6749 §3.3."""
    by_identifier = {api.identifier: api for api in enabled}
    for resource in request.resources:
        if resource not in by_identifier:
            raise InvalidTarget(f"This client may not ask for the resource {resource[:200]}.")
    named = tuple(by_identifier[resource] for resource in request.resources)
    wanted = request.scopes or (() if request.authorization_details else client.scopes)
    if GrantType.REFRESH_TOKEN not in client.grant_types:
        wanted = tuple(scope for scope in wanted if scope != "offline_access")  # OIDC Core §11: ignored
    ceiling = IDENTITY_SCOPES | frozenset(client.scopes)
    beyond = [scope for scope in wanted if scope not in ceiling]
    if beyond:
        raise InvalidScope(f"This client may not ask for the scope {' '.join(beyond)[:300]}.")
    candidates = named or tuple(enabled)
    for scope in wanted:
        if scope not in IDENTITY_SCOPES and not any(scope in names_of(api) for api in candidates):
            where = "of the resources asked for" if named else "that this client's project may call"
            raise InvalidScope(f"No API {where} knows the scope {scope}.")
    understanding = tuple(api for api in candidates if names_of(api).intersection(wanted))
    return named or understanding, wanted


async def proceed(
    authority: Authority, caller: Caller, asked: Asked, signed_in: SignedIn | None, begun_at: Instant, *, chosen: bool
) -> Step:
    """Return what the user must do next, or the code.

    ``begun_at`` is when the request first came in: a sign-in after that is fresh. ``chosen`` says that the user has
    picked the account. Raises the ``OAuthError`` to answer with, above all where ``prompt=none`` forbids to ask.
    """
    ready = _before_consent(authority, asked, signed_in, begun_at, chosen=chosen)
    if not isinstance(ready, SignedIn):
        return ready
    signed_in = ready
    scopes = _entitled(asked, signed_in.user)
    standing = await consent.standing(authority, signed_in.user.id, asked.client.id)
    needed = Prompt.CONSENT in asked.request.prompts or (
        not asked.client.is_first_party and not consent.covers(standing, asked, scopes)
    )
    if needed and Prompt.NONE in asked.request.prompts:
        raise ConsentRequired("The user has not agreed to this yet, and prompt=none forbids to ask.")
    if needed:
        return AskConsent(_view(asked, scopes))
    return Answered(await _answer(authority, caller, asked, signed_in, scopes, frozenset()))


def _view(asked: Asked, scopes: tuple[str, ...]) -> consent.ConsentView:
    claims, uri = consent.further_claims(asked, scopes), asked.target.redirect_uri
    return consent.view(asked.client, asked.apis, scopes, asked.details, redirect_uri=uri, claims=claims)


async def agree(
    authority: Authority,
    caller: Caller,
    asked: Asked,
    signed_in: SignedIn | None,
    begun_at: Instant,
    selected: frozenset[str],
    *,
    seen: str,
    chosen: bool,
) -> Step:
    """Take the user's consent to what is required and to ``selected`` of what is optional, and return the code.

    All that had to come before is looked at again: a form that is sent without its page skips nothing. ``seen`` is the
    fingerprint of what the page showed: what has changed since, the user is asked again (a client that describes
    itself could add scopes while its user reads). Raises ``AccessDenied`` when nothing is left.
    """
    ready = _before_consent(authority, asked, signed_in, begun_at, chosen=chosen)
    if not isinstance(ready, SignedIn):
        return ready
    signed_in = ready
    offered = _entitled(asked, signed_in.user)
    view = _view(asked, offered)
    if view.fingerprint != seen:
        return AskConsent(view)
    optional = frozenset(asked.client.optional_scopes)
    granted = tuple(scope for scope in offered if scope not in optional or scope in selected)
    if not granted and not asked.details:
        raise AccessDenied("The user deselected everything that was asked for.")
    return Answered(await _answer(authority, caller, asked, signed_in, granted, frozenset(offered) - set(granted)))


def _before_consent(
    authority: Authority, asked: Asked, signed_in: SignedIn | None, begun_at: Instant, *, chosen: bool
) -> SignedIn | AskSignIn | AskAccount:
    """Return who is signed in as it was asked, or what is still open before consent. Spec: OIDC Core §3.1.2.3."""
    request = asked.request
    silent = Prompt.NONE in request.prompts
    reason = _why_sign_in(authority, asked, signed_in, begun_at)
    if signed_in is None or reason:
        if silent:
            raise LoginRequired(f"{reason} prompt=none forbids to ask.")
        return AskSignIn(reason, signed_in is not None)
    fresh = signed_in.session.authenticated_at >= begun_at
    if request.required_acrs and not any(meets(signed_in.session.acr, wanted) for wanted in request.required_acrs):
        if fresh or silent:
            raise UnmetAuthenticationRequirements("The user could not be authenticated as strongly as was asked.")
        return AskSignIn("A stronger sign-in is asked for.", True)
    if Prompt.SELECT_ACCOUNT in request.prompts and not (chosen or fresh):
        return AskAccount()
    return signed_in


def _why_sign_in(authority: Authority, asked: Asked, signed_in: SignedIn | None, begun_at: Instant) -> str:
    """Return why a sign-in is needed, empty when it is not. What happened since the request came is fresh."""
    if signed_in is None:
        return "Nobody is signed in."
    request, at = asked.request, signed_in.session.authenticated_at
    subject = asked.required_subject
    if subject is not None and subject != subject_for(authority.keyring, signed_in.user, asked.client):
        return "Another user is signed in than the one that was asked for."
    if at >= begun_at:
        return ""
    if Prompt.LOGIN in request.prompts:
        return "A new sign-in is asked for."
    # At max_age=0 even a sign-in of this very microsecond is too old: it is the same as prompt=login.
    if request.max_age is not None and authority.clock.now() - at > request.max_age * SECOND - (request.max_age == 0):
        return "The sign-in is older than max_age."
    return ""


def _entitled(asked: Asked, user: User) -> tuple[str, ...]:
    scopes = asked.scopes_of(user)
    if not scopes and not asked.details:
        raise AccessDenied("The user does not hold any of the permissions that were asked for.")
    return scopes


async def _answer(
    authority: Authority,
    caller: Caller,
    asked: Asked,
    signed_in: SignedIn,
    scopes: tuple[str, ...],
    refused: frozenset[str],
) -> Secret:
    """Write the grant down and return the code, in one transaction. ``refused`` scopes leave the grant."""
    request, client = asked.request, asked.client

    async def work(uow: UnitOfWork) -> Secret:
        now = authority.clock.now()
        # The user's row is locked first, so that two consents at once make one grant.
        user = await uow.get(User, signed_in.user.id)
        session = await uow.get(Session, signed_in.session.id)
        if user.state is not State.ENABLED or session.state is not State.ENABLED or session.is_over(now):
            raise LoginRequired("The session has ended.")
        if asked.pushed_id:
            await pushed_requests.use_up(uow, asked.pushed_id, now)
        grant = await consent.write(uow, caller, now, user.id, client, asked.apis, scopes, asked.details, refused)
        if client.id not in session.client_ids:
            await uow.update(touch(session, now, client_ids=(*session.client_ids, client.id)[-100:]))
        return await put_code(
            uow,
            authority,
            AuthorizationCode(
                client_id=client.id,
                user_id=user.id,
                grant_id=grant.id,
                session_id=session.id,
                scopes=scopes,
                authenticated_at=session.authenticated_at,
                redirect_uri=request.redirect_uri,
                code_challenge=request.code_challenge,
                resources=tuple(api.id for api in asked.apis),
                authorization_details=asked.details,
                nonce=request.nonce,
                claims=request.claims,
                amr=session.amr,
                acr=session.acr,
                key_thumbprint=request.key_thumbprint,
                offline="offline_access" in scopes,
            ),
        )

    return await authority.store.transact(work)


async def push(
    authority: Authority, key_sets: KeySets, client: Client, parameters: Parameters, key_thumbprint: str = ""
) -> str:
    """Check a request as the authorization endpoint would, keep it, and return its ``request_uri``.

    ``key_thumbprint`` is of the key that a DPoP proof came with. Raises ``OAuthError``. Spec: RFC 9126 §2.1.
    """
    pushed_requests.check_pushable(parameters)
    if parameters.get("client_id") not in ("", client.client_id):
        raise InvalidRequest("client_id is not the client that authenticated.")
    is_signed = bool(parameters.get("request"))
    parameters = await unwrap(authority, key_sets, client, parameters)
    pushed_requests.check_pushable(parameters)
    asked = await understand(authority, client, parameters, pushed_id="pushed", is_signed=is_signed)
    if key_thumbprint:
        with_key(asked, key_thumbprint)
    return await pushed_requests.push(authority, client, parameters, key_thumbprint)


def with_key(asked: Asked, thumbprint: str) -> Asked:
    """Return the request bound to a key that was proved when it was pushed. Spec: RFC 9449 §10.1."""
    if asked.request.key_thumbprint not in ("", thumbprint):
        raise InvalidRequest("dpop_jkt is not the thumbprint of the key in the DPoP proof.")
    return replace(asked, request=replace(asked.request, key_thumbprint=thumbprint))
