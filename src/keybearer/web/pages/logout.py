"""Signing out: from our own pages, or because a client asks for it (RP-Initiated Logout 1.0)."""

from __future__ import annotations

import contextlib
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import Response
from starlette.routing import Route

from ...core.authorization_request import MAX_PARAMETERS, parameters_of
from ...core.errors import NotFound
from ...core.oauth_error import InvalidRequest
from ...services import logout, sessions
from ...services.logout import LogoutRequest
from .. import flows
from ..browser_cookies import FLOW
from .site import Site, Visit


def routes(site: Site) -> list[Route]:
    """Return the routes of these pages."""
    return [
        site.route("/oauth/logout", get=asked, post=asked),
        site.route("/sign-out", get=show, post=submit),
    ]


async def asked(site: Site, visit: Visit) -> Response:
    """Take a client's request, by GET or POST."""
    is_form = visit.request.method == "POST"
    raw = await site.raw_form(visit) if is_form else visit.request.scope["query_string"]
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise InvalidRequest("The parameters are not encoded as application/x-www-form-urlencoded.") from None
    flow = flows.begin([(name, value) for name, value in pairs if value], visit.now, "logout")
    request = await logout.understand(site.authority, parameters_of(flow.pairs), visit.source)
    if is_form and visit.signed_in is None:
        # A form of another site comes without our cookies (SameSite); the redirect after it comes with them.
        site.keep(visit, flow)
        return site.to(visit, "/sign-out", flow=flow.id)
    if visit.request.method != "HEAD" and logout.is_sure(site.authority, request, visit.signed_in):
        return await _end(site, visit, request)
    site.keep(visit, flow)
    return site.to(visit, "/sign-out", flow=flow.id)


async def show(site: Site, visit: Visit) -> Response:
    """Ask whether to sign out."""
    flow_id = visit.query.get("flow", "")
    request = await _request_of(site, visit, flow_id)
    is_sure = logout.is_sure(site.authority, request, visit.signed_in)
    if visit.request.method != "HEAD" and is_sure:
        return await _end(site, visit, request, flow_id)
    return site.page(visit, "sign_out.html", form_targets=_targets(request), client=request.client, flow_id=flow_id)


async def submit(site: Site, visit: Visit) -> Response:
    """Sign out, or stay."""
    form = await site.form(visit)
    if form.get("decision") != "sign-out":
        return site.to(visit, "/account")
    flow_id = form.get("flow")
    return await _end(site, visit, await _request_of(site, visit, flow_id), flow_id)


async def _request_of(site: Site, visit: Visit, flow_id: str) -> LogoutRequest:
    if not flow_id:
        return LogoutRequest(None)
    flow = site.flow(visit, flow_id)
    if flow is None or flow.kind != "logout":
        raise InvalidRequest("This request is over, or your browser did not keep its cookie.")
    return await logout.understand(site.authority, parameters_of(flow.pairs), visit.source)


async def _end(site: Site, visit: Visit, request: LogoutRequest, flow_id: str = "") -> Response:
    """End the session, and with it what is bound to it; grants and ``offline_access`` stay."""
    if visit.signed_in is not None:
        with contextlib.suppress(NotFound):  # swept meanwhile
            await sessions.end_own(site.authority, visit.signed_in, visit.signed_in.session.id, source=visit.source)
        visit.signed_in = None
    site.forget_session(visit)
    if flow_id:
        site.clear_cookie(visit, FLOW + flow_id)
    if request.destination:
        return site.away(visit, request.destination)
    return site.page(visit, "signed_out.html", client=request.client)


def _targets(request: LogoutRequest) -> list[str]:
    if not request.redirect_uri:
        return []
    parts = urlsplit(request.redirect_uri)
    return [f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"]
