"""The account: its name, and the connected applications, which are shown, narrowed and disconnected here."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from ...core.errors import InvalidInput
from ...services import account, connections, sessions
from .mailbox import in_words
from .site import Site, Visit

KEPT: Final = "allow."
"""What the name of a scope's box begins with."""
DETAIL: Final = "detail."
"""What the name of an authorization detail's box begins with."""


def routes(site: Site) -> list[Route]:
    """Return the routes of these pages."""
    return [
        site.route("/", get=enter),
        site.route("/account", get=show),
        site.route("/account/name", post=rename),
        site.route("/account/applications", get=show_applications),
        site.route("/account/applications/{grant_id}", get=show_application, post=change_application),
    ]


async def enter(site: Site, visit: Visit) -> Response:
    """Send whoever opens the issuer's address to their account."""
    return site.to(visit, "/account")


async def show(site: Site, visit: Visit) -> Response:
    """Show who is signed in, and where everything is."""
    who = visit.who
    return site.page(
        visit,
        "account.html",
        user=who.user,
        factors=await account.factors_of(site.authority, who),
        sessions=len(await sessions.own(site.authority, who)),
        applications=len(await connections.own(site.authority, who)),
        problem="",
    )


async def rename(site: Site, visit: Visit) -> Response:
    """Change the name."""
    who = visit.who
    form = await site.form(visit)
    await account.rename(site.authority, who, form.get("name"), source=visit.source)
    return site.to(visit, "/account")


async def show_applications(site: Site, visit: Visit) -> Response:
    """Show the connected applications."""
    return site.page(visit, "applications.html", connections=await connections.own(site.authority, visit.who))


async def show_application(site: Site, visit: Visit) -> Response:
    """Show what one application may do."""
    return await _application_page(site, visit)


async def _application_page(site: Site, visit: Visit, problem: str = "") -> Response:
    grant_id = str(visit.request.path_params["grant_id"])
    connection = await connections.own_one(site.authority, visit.who, grant_id)
    return site.page(visit, "application.html", status=400 if problem else 200, connection=connection, problem=problem)


async def change_application(site: Site, visit: Visit) -> Response:
    """Narrow what an application may do, or disconnect it."""
    who = visit.who
    form = await site.form(visit)
    grant_id = str(visit.request.path_params["grant_id"])
    match form.get("change"):
        case "disconnect":
            await connections.revoke(site.authority, visit.caller, who, grant_id)
            return site.to(visit, "/account/applications")
        case "narrow":
            kept, details = (
                frozenset(name.removeprefix(prefix) for name in form.one if name.startswith(prefix))
                for prefix in (KEPT, DETAIL)
            )
            try:
                await connections.narrow(site.authority, visit.caller, who, grant_id, kept, details)
            except InvalidInput as wrong:
                return await _application_page(site, visit, in_words(wrong))
            return site.to(visit, f"/account/applications/{grant_id}")
        case _:
            raise InvalidInput.of("change", "say what to do: narrow or disconnect")
