"""Pages around a mailbox: registering, asking for a new password, and what the links in the letters open.

Every answer is the same whether an address has an account or not (SECURITY-BAR 21).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from ...core.artefacts import ArtefactKind
from ...core.errors import InvalidInput, NotFound
from ...services import mail_links, registration
from .site import Site, Visit

_NAMED: Final[Mapping[str, str]] = {
    "password": "The password",
    "new": "The password",
    "email": "The address",
    "name": "The name",
    "code": "That",
    "response": "What the browser sent",
}


def routes(site: Site) -> list[Route]:
    """Return the routes of these pages."""
    return [
        site.route("/register", get=show_register, post=register),
        site.route("/forgot-password", get=show_forgot, post=forgot),
        site.route("/reset-password", get=show_reset, post=reset),
        site.route("/invitation", get=show_invitation, post=accept),
        site.route("/verify-email", get=show_verify, post=verify),
    ]


async def show_register(site: Site, visit: Visit) -> Response:
    """Ask for an address and a name."""
    if not registration.is_open(site.authority):
        raise NotFound("page", "/register")
    return site.page(visit, "register.html", email="", name="", problem="")


async def register(site: Site, visit: Visit) -> Response:
    """Send the letter that makes the account."""
    form = await site.form(visit)
    email, name = form.get("email").strip(), form.get("name").strip()
    try:
        registration.register(site.authority, visit.source, email, name)
    except InvalidInput:
        problem = "Fill in an e-mail address such as ada@example.com."
        return site.page(visit, "register.html", status=400, email=email[:254], name=name[:200], problem=problem)
    return site.page(visit, "letter.html", what="to finish your account", email=email)


async def show_forgot(site: Site, visit: Visit) -> Response:
    """Ask for the address whose password is forgotten."""
    return site.page(visit, "forgot_password.html", email=visit.query.get("email", "")[:254], problem="")


async def forgot(site: Site, visit: Visit) -> Response:
    """Send the letter that sets a new password, or that signs in once."""
    form = await site.form(visit)
    email = form.get("email").strip()
    if "@" not in email:
        problem = "Fill in an e-mail address such as ada@example.com."
        return site.page(visit, "forgot_password.html", status=400, email=email[:254], problem=problem)
    mail_links.request_reset(site.authority, email, visit.source)
    return site.page(visit, "letter.html", what="to set a new password", email=email)


async def show_reset(site: Site, visit: Visit) -> Response:
    """Ask for the new password."""
    link = visit.query.get("link", "")
    opened = await mail_links.look(site.authority, ArtefactKind.PASSWORD_RESET, link)
    return site.page(visit, "reset_password.html", link=link, email=opened.email, problem="")


async def reset(site: Site, visit: Visit) -> Response:
    """Set the new password. Nobody is signed in by this, and a second factor stays."""
    form = await site.form(visit)
    link = form.get("link")
    opened = await mail_links.look(site.authority, ArtefactKind.PASSWORD_RESET, link)
    try:
        await mail_links.reset_password(site.authority, link, form.get("password"), source=visit.source)
    except InvalidInput as wrong:
        return site.page(
            visit, "reset_password.html", status=400, link=link, email=opened.email, problem=in_words(wrong)
        )
    return site.page(visit, "done.html", title="Your password is set", text="Sign in with it now.", to="/sign-in")


async def show_invitation(site: Site, visit: Visit) -> Response:
    """Ask for a name and a password."""
    link = visit.query.get("link", "")
    opened = await mail_links.look(site.authority, ArtefactKind.INVITATION, link)
    return site.page(visit, "invitation.html", link=link, email=opened.email, name=opened.name, problem="")


async def accept(site: Site, visit: Visit) -> Response:
    """Begin the account, and sign in."""
    form = await site.form(visit)
    link, name = form.get("link"), form.get("name").strip()
    opened = await mail_links.look(site.authority, ArtefactKind.INVITATION, link)
    try:
        done = await mail_links.accept_invitation(
            site.authority, link, name=name, password=form.get("password"), visit=visit.sign_in_visit()
        )
    except InvalidInput as wrong:
        problem = in_words(wrong)
        return site.page(
            visit, "invitation.html", status=400, link=link, email=opened.email, name=name[:200], problem=problem
        )
    site.welcome(visit, done)
    return site.to(visit, "/account")


async def show_verify(site: Site, visit: Visit) -> Response:
    """Ask whether the address is one's own: mail scanners look at links too."""
    link = visit.query.get("link", "")
    opened = await mail_links.look(site.authority, ArtefactKind.EMAIL_VERIFICATION, link)
    return site.page(visit, "verify_email.html", link=link, email=opened.email)


async def verify(site: Site, visit: Visit) -> Response:
    """Take the address as verified."""
    form = await site.form(visit)
    user = await mail_links.verify_email(site.authority, form.get("link"), source=visit.source)
    text = f"{user.email} is yours."
    return site.page(visit, "done.html", title="Your address is confirmed", text=text, to="/account")


def in_words(error: InvalidInput) -> str:
    """Return what is wrong with a form, without the names that its fields have in the code."""
    texts = [_sentence(problem.field, problem.message) for problem in error.problems]
    return " ".join(texts) if texts else error.public


def _sentence(field: str, message: str) -> str:
    if message.startswith(("is ", "must ")):
        message = f"{_NAMED.get(field, 'This')} {message}"
    return f"{message[:1].upper()}{message[1:]}."
