"""The device page: a signed-in user types the code that a device shows, sees what it is, and says yes or no.

A code that comes in the address is only filled in: nothing happens before the user has seen and confirmed it.
Spec: RFC 8628 §3.3, §5.4.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from ...core.device_request import normalised_user_code, shown_user_code
from ...core.errors import Conflict
from ...core.oauth_error import InvalidRequest, OAuthError, TooManyRequests
from ...services import device, device_consent
from ...services.device import FoundDevice
from .consent import SEEN, SELECTED
from .sessions import browser_name
from .site import Site, Visit

MAX_CODE: Final = 20
_UNKNOWN: Final = "No device waits with this code. Look at the code again, or let the device show a new one."


def routes(site: Site) -> list[Route]:
    """Return the routes of this page."""
    return [site.route("/device", get=show, post=submit)]


async def show(site: Site, visit: Visit) -> Response:
    """Ask for the code."""
    _ = visit.who
    return _code_page(site, visit, visit.query.get("user_code", ""))


def _code_page(site: Site, visit: Visit, typed: str, problem: str = "") -> Response:
    return site.page(visit, "device.html", status=400 if problem else 200, user_code=typed[:MAX_CODE], problem=problem)


async def submit(site: Site, visit: Visit) -> Response:
    """Find the device, or take the answer. A form that says neither yes nor no is neither."""
    who = visit.who
    form = await site.form(visit)
    typed, letters = form.get("user_code"), normalised_user_code(form.get("user_code"))
    try:
        found = await device.find_by_user_code(
            site.authority, site.limiter, typed, source=visit.source, user_id=who.user.id
        )
        if found is None or letters is None:
            return _code_page(site, visit, typed, _UNKNOWN)
        if form.get("step") == "find":
            return await _consent_page(site, visit, found, letters)
        match form.get("decision"):
            case "allow":
                selected = frozenset(name.removeprefix(SELECTED) for name in form.one if name.startswith(SELECTED))
                seen = form.get(SEEN)
                if not await device_consent.approve(site.authority, visit.caller, found, who, selected, seen=seen):
                    return await _consent_page(site, visit, found, letters)
                title, text = "The device is connected", "You can go back to it now."
            case "deny":
                await device_consent.deny(site.authority, visit.caller, found, who)
                title, text = "The device is not connected", "It was told that you said no."
            case _:
                raise InvalidRequest("Say yes or no: the form had no decision in it.")
    except Conflict:
        return _code_page(site, visit, "", _UNKNOWN)
    except TooManyRequests:
        raise
    except OAuthError as error:
        return _code_page(site, visit, typed, error.description)
    return site.page(visit, "done.html", title=title, text=text, to="/account")


async def _consent_page(site: Site, visit: Visit, found: FoundDevice, letters: str) -> Response:
    offer = await device_consent.offered(site.authority, found, visit.who.user)
    asked = found.request
    facts = [("Asked from", asked.source), ("Program", browser_name(asked.user_agent) if asked.user_agent else "")]
    return site.page(
        visit,
        "device_consent.html",
        view=offer.view,
        user_code=letters,
        shown_code=shown_user_code(letters),
        device=[(name, value) for name, value in facts if value],
    )
