"""The consent page: who asks, where the answer goes, what it may do in the API's own words, and for how long."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from ...core.oauth_error import InvalidRequest
from ...services.authorize import AskConsent
from .. import authorize
from .site import Site, Visit

SELECTED: Final = "allow."
"""What the name of a scope's box begins with."""
SEEN: Final = "seen"
"""The fingerprint of what the page showed."""


def routes(site: Site) -> list[Route]:
    """Return the routes of this page."""
    return [site.route("/consent", get=show, post=submit)]


async def show(site: Site, visit: Visit) -> Response:
    """Ask for consent."""
    flow = authorize.require_flow(site, visit, visit.query.get("flow", ""))
    found = await authorize.look(site, visit, flow)
    if isinstance(found, Response):
        return found
    asked, step = found
    if not isinstance(step, AskConsent):
        return await authorize.to_step(site, visit, flow, asked, step)
    view = step.view
    return site.page(
        visit,
        "consent.html",
        form_targets=[asked.target.source],
        image_sources=view.about.logo_sources,
        view=view,
        flow=flow,
    )


async def submit(site: Site, visit: Visit) -> Response:
    """Take the answer. A form that says neither yes nor no is neither."""
    form = await site.form(visit)
    flow = authorize.require_flow(site, visit, form.get("flow"))
    match form.get("decision"):
        case "allow":
            selected = frozenset(name.removeprefix(SELECTED) for name in form.one if name.startswith(SELECTED))
            return await authorize.agree(site, visit, flow, selected, form.get(SEEN))
        case "deny":
            return await authorize.deny(site, visit, flow)
        case _:
            raise InvalidRequest("Say yes or no: the form had no decision in it.")
