"""The authorization endpoint: a request comes in, perhaps by way of the pages, and an answer goes to the client.

What cannot be trusted ends on a page; everything else travels to the redirect URI, errors too (RFC 6749 §4.1.2.1).
There is no CORS here: browsers come by navigation, never by scripts. Spec: RFC 6749 §3.1, OIDC Core §3.1.2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from starlette.responses import Response

from ..core.authorization_request import (
    MAX_PARAMETERS,
    Parameters,
    ResponseMode,
    ResponseTarget,
    client_id_of,
    error_values,
    parameters_of,
    target_of,
)
from ..core.clients import Client
from ..core.oauth_error import (
    AccessDenied,
    InvalidRequest,
    InvalidRequestObject,
    InvalidRequestUri,
    OAuthError,
    RequestNotSupported,
)
from ..services import authorize, pushed_requests
from ..services.asked import Asked
from ..services.authority import Caller
from ..services.authorize import Answered, AskAccount, AskConsent, AskSignIn, Step
from ..services.response_jwts import response_jwt
from . import flows
from .flows import Flow
from .pages.site import Site, Visit
from .problem import HttpProblem

PATH: Final = "/oauth/authorize"
CONTINUE: Final = "/oauth/continue"
_OVER: Final = (
    "This request is over, or your browser did not keep its cookie. Go back to the application and begin again."
)


class Loaded(NamedTuple):
    """A request whose answers have somewhere to go."""

    client: Client
    parameters: Parameters
    target: ResponseTarget
    pushed: pushed_requests.Pushed | None
    is_signed: bool
    problem: OAuthError | None = None


async def serve(site: Site, visit: Visit) -> Response:
    """Take a request, by GET or POST (OIDC Core §3.1.2.1)."""
    method = visit.request.method
    if method == "HEAD":
        raise HttpProblem(405, "Authorization requests come by GET or POST.", (b"allow", b"GET, POST"))
    raw = visit.request.scope["query_string"] if method == "GET" else await site.raw_form(visit)
    flow = flows.begin(_pairs_of(raw), visit.now)
    if any(name == "request" and value for name, value in flow.pairs):
        loaded = await load(site, visit, flow, is_new=True)
        if loaded.problem is not None:
            return await refuse(site, visit, flow, loaded, loaded.problem)
        # Read once: it may be over before the user has answered, and its client may have other keys by then.
        flow = replace(flow, pairs=tuple(loaded.parameters.pairs()), is_signed=True)
    if method == "GET":
        return await advance(site, visit, flow, is_new=True)
    # A form of another site comes without our cookies (SameSite); the redirect after it comes with them.
    loaded = await load(site, visit, flow, is_new=True)
    try:
        site.keep(visit, flow)
    except OAuthError as error:
        return await answer(site, visit, flow, loaded, error_values(error))
    return site.to(visit, CONTINUE, flow=flow.id)


async def carry_on(site: Site, visit: Visit) -> Response:
    """Go on with a request that the browser carries."""
    if visit.request.method == "HEAD":
        raise HttpProblem(405, "This page is for GET.", (b"allow", b"GET"))
    return await advance(site, visit, require_flow(site, visit, visit.query.get("flow", "")))


def require_flow(site: Site, visit: Visit, flow_id: str) -> Flow:
    """Return a flow of an authorization request; raises ``InvalidRequest`` when the browser has no such."""
    flow = site.flow(visit, flow_id)
    if flow is None or flow.kind != "authorize":
        raise InvalidRequest(_OVER)
    return flow


async def load(site: Site, visit: Visit, flow: Flow, *, is_new: bool = False) -> Loaded:
    """Return the request of a flow; whatever this raises belongs on a page."""
    parameters = parameters_of(flow.pairs)
    client = await authorize.client_in_force(site.authority, client_id_of(parameters), visit.source)
    pushed = None
    if parameters.get("request_uri").startswith(pushed_requests.URN):
        if "request_uri" in parameters.repeated:
            raise InvalidRequest("request_uri stands in this request more than once.")
        if parameters.get("request"):
            # Else a signed request would be gone on with, and what was pushed be neither used up nor bound to its key.
            raise InvalidRequest("request and request_uri must not stand in one request (RFC 9101 §5).")
        uri = parameters.get("request_uri")
        # Only what was pushed counts, whatever else stands beside it (RFC 9126 §4, RFC 9101 §6.3).
        pushed = await pushed_requests.find(site.authority, client.id, uri, begun=not is_new)
        parameters = pushed.parameters
    is_signed = flow.is_signed or pushed is not None or bool(parameters.get("request"))
    try:
        parameters = await authorize.unwrap(site.authority, site.key_sets, client, parameters)
    except (InvalidRequestObject, RequestNotSupported) as error:
        # What stands beside the object counts for one thing: a registered URI may hear that the object is no good.
        return Loaded(client, parameters, target_of(parameters, client), pushed, is_signed, error)
    return Loaded(client, parameters, target_of(parameters, client), pushed, is_signed)


async def understand(site: Site, loaded: Loaded) -> Asked:
    """Return what a request asks for; raises the ``OAuthError`` to answer with."""
    if loaded.problem is not None:
        raise loaded.problem
    pushed = loaded.pushed
    pushed_id = "" if pushed is None else pushed.id
    asked = await authorize.understand(
        site.authority, loaded.client, loaded.parameters, pushed_id, is_signed=loaded.is_signed
    )
    return asked if pushed is None or not pushed.key_thumbprint else authorize.with_key(asked, pushed.key_thumbprint)


async def look(site: Site, visit: Visit, flow: Flow, *, is_new: bool = False) -> tuple[Asked, Step] | Response:
    """Return what a request asks for and the step it is at, or its answer where it has come to an end."""
    loaded = await load(site, visit, flow, is_new=is_new)
    try:
        asked = await understand(site, loaded)
        step = await authorize.proceed(
            site.authority, caller_of(visit), asked, visit.signed_in, flow.begun_at, chosen=flow.chosen
        )
        if is_new and not isinstance(step, Answered):
            site.keep(visit, flow)
    except OAuthError as error:
        return await refuse(site, visit, flow, loaded, error)
    if isinstance(step, Answered):
        return await answer(site, visit, flow, loaded, {"code": step.code.reveal()})
    return asked, step


async def advance(site: Site, visit: Visit, flow: Flow, *, is_new: bool = False) -> Response:
    """Send the browser to the page that is next, or its answer to the client."""
    found = await look(site, visit, flow, is_new=is_new)
    if isinstance(found, Response):
        return found
    asked, step = found
    return await to_step(site, visit, flow, asked, step)


async def agree(site: Site, visit: Visit, flow: Flow, selected: frozenset[str], seen: str) -> Response:
    """Take the user's consent to what the page showed."""
    loaded = await load(site, visit, flow)
    try:
        asked = await understand(site, loaded)
        step = await authorize.agree(
            site.authority,
            caller_of(visit),
            asked,
            visit.signed_in,
            flow.begun_at,
            selected,
            seen=seen,
            chosen=flow.chosen,
        )
    except OAuthError as error:
        return await refuse(site, visit, flow, loaded, error)
    return await to_step(site, visit, flow, loaded, step)


async def deny(site: Site, visit: Visit, flow: Flow) -> Response:
    """Tell the client that the user said no."""
    loaded = await load(site, visit, flow)
    return await refuse(site, visit, flow, loaded, AccessDenied("The user said no."))


def choose(site: Site, visit: Visit, flow: Flow) -> Response:
    """Note that the user goes on with the account that is signed in."""
    site.keep(visit, replace(flow, chosen=True))
    return site.to(visit, CONTINUE, flow=flow.id)


async def to_step(site: Site, visit: Visit, flow: Flow, asked: Loaded | Asked, step: Step) -> Response:
    """Send the browser where a step takes place."""
    match step:
        case Answered(code):
            return await answer(site, visit, flow, asked, {"code": code.reveal()})
        case AskSignIn():
            return site.to(visit, "/sign-in", flow=flow.id)
        case AskAccount():
            return site.to(visit, "/choose-account", flow=flow.id)
        case AskConsent():
            return site.to(visit, "/consent", flow=flow.id)


async def refuse(site: Site, visit: Visit, flow: Flow, asked: Loaded | Asked, error: OAuthError) -> Response:
    """Send an error to the client; a pushed request that was answered before gets a page, and no second answer."""
    if isinstance(error, InvalidRequestUri):
        raise error
    return await answer(site, visit, flow, asked, error_values(error))


async def answer(site: Site, visit: Visit, flow: Flow, asked: Loaded | Asked, values: dict[str, str]) -> Response:
    """Send an answer to the client, in the mode that it asked for."""
    site.drop(visit, flow)
    target = asked.target
    fields = target.answer(site.authority.settings.issuer_url, values)
    if target.mode.is_jwt:
        fields = {"response": await response_jwt(site.authority, asked.client, fields)}
    if target.mode.carrier is ResponseMode.FORM_POST:
        return site.page(
            visit,
            "form_post.html",
            form_targets=[target.source],
            scripts=True,
            action=target.redirect_uri,
            fields=fields,
        )
    return site.away(visit, target.url(fields))


def caller_of(visit: Visit) -> Caller:
    """Return who acts: the user, or nobody yet."""
    if visit.signed_in is not None:
        return visit.caller
    return Caller("anonymous", frozenset(), source=visit.source, request_id=visit.request_id)


def _pairs_of(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise InvalidRequest("The parameters are not encoded as application/x-www-form-urlencoded.") from None
