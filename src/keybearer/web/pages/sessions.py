"""Where an account is signed in: the sessions, each with its browser in a few words, and the buttons that end them."""

from __future__ import annotations

import contextlib
import re
from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from ...core.errors import InvalidInput, NotFound
from ...services import sessions
from .site import Site, Visit

_BROWSERS: Final = (
    (re.compile(r"\bEdgA?/"), "Edge"),
    (re.compile(r"\bOPR/"), "Opera"),
    (re.compile(r"\b(?:Firefox|FxiOS)/"), "Firefox"),
    (re.compile(r"\b(?:Headless)?(?:Chrome|CriOS)/"), "Chrome"),
    (re.compile(r"\bSafari/"), "Safari"),
)
_SYSTEMS: Final = (
    (re.compile(r"iPhone|iPad"), "iOS"),
    (re.compile(r"Android"), "Android"),
    (re.compile(r"Windows"), "Windows"),
    (re.compile(r"Mac OS X"), "macOS"),
    (re.compile(r"Linux|X11"), "Linux"),
)


def browser_name(user_agent: str) -> str:
    """Return what a browser calls itself in a few words: a hint for people, and nothing to decide by."""
    browser = next((name for pattern, name in _BROWSERS if pattern.search(user_agent)), "")
    system = next((name for pattern, name in _SYSTEMS if pattern.search(user_agent)), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or user_agent[:60] or "A browser that does not say its name"


def routes(site: Site) -> list[Route]:
    """Return the routes of this page."""
    return [site.route("/account/sessions", get=show, post=end)]


async def show(site: Site, visit: Visit) -> Response:
    """Show the sessions."""
    found = await sessions.own(site.authority, visit.who)
    named = [(browser_name(session.user_agent), session) for session in found]
    return site.page(visit, "sessions.html", sessions=named, current=visit.session_id)


async def end(site: Site, visit: Visit) -> Response:
    """End one session, or all the others."""
    who = visit.who
    form = await site.form(visit)
    session_id = form.get("session")
    if form.get("which") == "others":
        await sessions.end_own_others(site.authority, who, source=visit.source)
    elif session_id:
        with contextlib.suppress(NotFound):  # it is gone, which is what was wanted
            await sessions.end_own(site.authority, who, session_id, source=visit.source)
        if session_id == who.session.id:
            site.forget_session(visit)
            return site.to(visit, "/sign-in")
    else:
        raise InvalidInput.of("session", "say which one to end")
    return site.to(visit, "/account/sessions")
