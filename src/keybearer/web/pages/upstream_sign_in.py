"""Signing in with an upstream provider: away to it, and back with its answer.

What must be remembered meanwhile is in one sealed cookie of this browser, which the answer uses up.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from ...core import form as forms
from ...core.authorization_request import Prompt
from ...core.oauth_error import OAuthError
from ...services import upstream_sign_in
from ...services.providers import Providers
from ...services.upstream_sign_in import UpstreamRefused
from ...services.upstreams import CALLBACK
from ..browser_cookies import UPSTREAM
from .sign_in import Way, go_on, password_page, way_of, way_to
from .site import Site, Visit

COOKIE_IN: Final = upstream_sign_in.LIFETIME_IN // 1_000_000


def routes(site: Site) -> list[Route]:
    """Return the routes of these pages."""
    providers = Providers(site.authority)
    return [
        site.route("/sign-in/with/{id}", get=partial(begin, providers)),
        site.route(CALLBACK, get=partial(finish, providers)),
    ]


async def begin(providers: Providers, site: Site, visit: Visit) -> Response:
    """Send the browser to a provider."""
    way = await way_of(site, visit)
    try:
        begun = await upstream_sign_in.begin(
            site.authority,
            providers,
            visit.request.path_params["id"],
            flow=way.flow.id if way.flow is not None else "",
            to=way.to,
            again=_is_to_be_looked_at_anew(visit, way),
        )
    except UpstreamRefused as refused:
        return await password_page(site, visit, way, problem=refused.public)
    site.set_cookie(visit, UPSTREAM, begun.sealed, COOKIE_IN)
    return site.away(visit, begun.url)


def _is_to_be_looked_at_anew(visit: Visit, way: Way) -> bool:
    """Tell whether an old session at the provider must not do: somebody is to sign in once more."""
    if visit.signed_in is not None:
        return True
    request = way.asked.request if way.asked is not None else None
    return request is not None and (Prompt.LOGIN in request.prompts or request.max_age is not None)


async def finish(providers: Providers, site: Site, visit: Visit) -> Response:
    """Take a provider's answer, and sign in whom it names."""
    way = Way(None, "", None)
    try:
        answer = _answer(visit)
        started = upstream_sign_in.opened(site.authority, visit.cookies.get(UPSTREAM, ""), answer.get("state"))
        site.clear_cookie(visit, UPSTREAM)
        way = await way_to(site, visit, started.flow, started.to)
        step = await upstream_sign_in.finish(site.authority, providers, started, answer, visit.sign_in_visit())
    except UpstreamRefused as refused:
        return await password_page(site, visit, way, problem=refused.public)
    return await go_on(site, visit, way, step)


def _answer(visit: Visit) -> forms.Form:
    try:
        return forms.parse(visit.request.scope["query_string"])
    except OAuthError as error:
        raise UpstreamRefused(error.description) from None
