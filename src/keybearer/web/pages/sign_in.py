"""Signing in: the password, the second factor, passkeys, links by mail, and the choice between accounts."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.routing import Route

from ...core.artefacts import ArtefactKind
from ...core.form import Form
from ...core.redirect_uri import host_of
from ...services import mail_links, passkeys, registration, sign_in, upstream_sign_in
from ...services.about_client import AboutClient
from ...services.asked import Asked
from ...services.authorize import AskSignIn
from ...services.sign_in import Attempt, Done, NeedsSecondFactor, SignInRefused, SignInStep, TriedTooOften
from .. import authorize
from ..browser_cookies import SECOND_STEP
from ..flows import Flow
from .site import Site, Visit, own_path

STEP_IN: Final = sign_in.TICKET_IN // 1_000_000
WRONG_CODE: Final = "That code is not right, or was used before. Try the next one; if that fails too, sign in again."


def routes(site: Site) -> list[Route]:
    """Return the routes of these pages."""
    return [
        site.route("/sign-in", get=show, post=submit),
        site.route("/sign-in/second-factor", get=show_second, post=submit_second),
        site.route("/sign-in/passkey", get=show_passkey, post=submit_passkey),
        site.route("/sign-in/link", get=show_link, post=submit_link),
        site.route("/sign-in/cancel", post=cancel),
        site.route("/choose-account", get=show_accounts, post=choose_account),
    ]


class Way:
    """Where a sign-in came from and goes on to: a client's request (``flow``), or one of our own pages (``to``)."""

    def __init__(self, flow: Flow | None, to: str, asked: Asked | None) -> None:
        self.flow = flow
        self.to = to
        self.asked = asked

    @property
    def query(self) -> dict[str, str]:
        """What links and forms carry on."""
        return {"flow": self.flow.id} if self.flow is not None else {"to": self.to} if self.to else {}

    @property
    def form_targets(self) -> list[str]:
        """Where the chain of redirects after a form may end: browsers look at all of it."""
        return [self.asked.target.source] if self.asked is not None else []

    @property
    def about(self) -> AboutClient | None:
        """The client as its user is shown it."""
        return AboutClient(self.asked.client) if self.asked is not None else None

    @property
    def image_sources(self) -> list[str]:
        """Where the client's logo is, if it has one."""
        return self.about.logo_sources if self.about is not None else []

    @property
    def client_name(self) -> str:
        """Whom the user signs in for."""
        return self.asked.client.name if self.asked is not None else ""

    @property
    def client_host(self) -> str:
        """Where the client's answer goes."""
        return host_of(self.asked.target.redirect_uri) if self.asked is not None else ""


async def way_of(site: Site, visit: Visit, form: Form | None = None) -> Way:
    """Return where this sign-in belongs; raises ``OAuthError`` for a request that is over."""
    if form is not None:
        return await way_to(site, visit, form.get("flow"), form.get("to"))
    return await way_to(site, visit, visit.query.get("flow", ""), visit.query.get("to", ""))


async def way_to(site: Site, visit: Visit, flow_id: str, to: str) -> Way:
    """Return the way to a client's request or to one of our own pages; raises ``OAuthError`` like ``way_of``."""
    if not flow_id:
        return Way(None, own_path(to), None)
    flow = authorize.require_flow(site, visit, flow_id)
    return Way(flow, "", await authorize.understand(site, await authorize.load(site, visit, flow)))


def onward(site: Site, visit: Visit, way: Way) -> Response:
    """Send the browser on after a sign-in."""
    if way.flow is not None:
        return site.to(visit, authorize.CONTINUE, flow=way.flow.id)
    path, _, query = (way.to or "/account").partition("?")
    return site.to(visit, path, user_code=query.removeprefix("user_code="))


async def go_on(site: Site, visit: Visit, way: Way, step: SignInStep) -> Response:
    """Ask for the second factor, or welcome who is signed in and send them on."""
    if isinstance(step, NeedsSecondFactor):
        site.set_cookie(visit, SECOND_STEP, step.ticket, STEP_IN)
        return site.to(visit, "/sign-in/second-factor", methods=",".join(step.methods), **way.query)
    site.welcome(visit, step)
    return onward(site, visit, way)


# Password


async def show(site: Site, visit: Visit) -> Response:
    """Ask for an address and a password."""
    way = await way_of(site, visit)
    again = bool(visit.query.get("again"))
    if way.flow is not None:
        found = await authorize.look(site, visit, way.flow)
        if isinstance(found, Response):
            return found
        asked, step = found
        if not isinstance(step, AskSignIn) and not again:
            return await authorize.to_step(site, visit, way.flow, asked, step)
    elif visit.signed_in is not None and not again:
        return onward(site, visit, way)
    return await password_page(site, visit, way, email=_hint(way) or _known_email(visit))


async def submit(site: Site, visit: Visit) -> Response:
    """Sign in with a password."""
    form = await site.form(visit)
    way = await way_of(site, visit, form)
    email, password = form.get("email").strip(), form.get("password")
    if not email or not password:
        problem = "Fill in your e-mail address and your password."
        return await password_page(site, visit, way, email=email, problem=problem)
    try:
        step = await sign_in.with_password(site.authority, Attempt(email, password, visit.sign_in_visit()))
    except SignInRefused as refused:
        return await password_page(site, visit, way, email=email, problem=refused.public)
    return await go_on(site, visit, way, step)


async def password_page(site: Site, visit: Visit, way: Way, *, email: str = "", problem: str = "") -> Response:
    """Return the page that asks for a password, and offers every other way to sign in."""
    return site.page(
        visit,
        "sign_in.html",
        status=400 if problem else 200,
        form_targets=way.form_targets,
        image_sources=way.image_sources,
        way=way,
        email=email[:254],
        problem=problem,
        can_register=registration.is_open(site.authority),
        can_use_passkey=has_domain(site),
        providers=await upstream_sign_in.offered(site.authority),
    )


def _hint(way: Way) -> str:
    return way.asked.request.login_hint if way.asked is not None else ""


def _known_email(visit: Visit) -> str:
    return visit.signed_in.user.email if visit.signed_in is not None else ""


def has_domain(site: Site) -> bool:
    """Tell whether the issuer has a name: passkeys are bound to one, and never to an address."""
    host = urlsplit(site.authority.settings.issuer_url).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return bool(host)
    return False


async def cancel(site: Site, visit: Visit) -> Response:
    """Go back to the client without signing in."""
    form = await site.form(visit)
    return await authorize.deny(site, visit, authorize.require_flow(site, visit, form.get("flow")))


# Second factor


async def show_second(site: Site, visit: Visit) -> Response:
    """Ask for a code, or for a passkey."""
    way = await way_of(site, visit)
    return await _second_page(site, visit, way, _methods(visit.query.get("methods", "")))


async def submit_second(site: Site, visit: Visit) -> Response:
    """Go on with a code."""
    form = await site.form(visit)
    way = await way_of(site, visit, form)
    methods, ticket = _methods(form.get("methods")), visit.cookies.get(SECOND_STEP, "")
    code, recovery = form.get("code").strip(), form.get("recovery_code").strip()
    try:
        if recovery and not code:
            done = await sign_in.with_recovery_code(site.authority, ticket, recovery, visit.sign_in_visit())
        elif code:
            done = await sign_in.with_totp(site.authority, ticket, code, visit.sign_in_visit())
        else:
            return await _second_page(site, visit, way, methods, problem="Fill in a code.")
    except SignInRefused as refused:
        problem = refused.public if isinstance(refused, TriedTooOften) else WRONG_CODE
        return await _second_page(site, visit, way, methods, problem=problem)
    return await go_on(site, visit, way, done)


def _methods(text: str) -> tuple[str, ...]:
    return tuple(one for one in ("passkey", "totp", "recovery_code") if one in text.split(","))


async def _second_page(site: Site, visit: Visit, way: Way, methods: tuple[str, ...], problem: str = "") -> Response:
    ticket = visit.cookies.get(SECOND_STEP, "")
    try:
        sign_in.open_ticket(site.authority, ticket)
        offer = await passkeys.options(site.authority, ticket) if "passkey" in methods and has_domain(site) else None
    except SignInRefused:
        # No first step, or too long ago: begin again.
        site.clear_cookie(visit, SECOND_STEP)
        return site.to(visit, "/sign-in", again="1", **way.query)
    return site.page(
        visit,
        "second_factor.html",
        status=400 if problem else 200,
        form_targets=way.form_targets,
        scripts=offer is not None,
        way=way,
        methods=methods,
        problem=problem,
        offer=None if offer is None else {"options": json.dumps(offer.options), "challenge": offer.challenge},
    )


# Passkeys


async def show_passkey(site: Site, visit: Visit) -> Response:
    """Ask for a passkey as the only factor. This page alone needs a script."""
    return await _passkey_page(site, visit, await way_of(site, visit))


async def submit_passkey(site: Site, visit: Visit) -> Response:
    """Sign in with what the browser's passkey answered, alone or after a password."""
    form = await site.form(visit)
    way = await way_of(site, visit, form)
    try:
        done: Done = await passkeys.finish(
            site.authority, form.get("challenge"), form.get("response"), visit.sign_in_visit()
        )
    except SignInRefused:
        return await _passkey_page(site, visit, way, "That passkey was not accepted. Try again, or use your password.")
    return await go_on(site, visit, way, done)


async def _passkey_page(site: Site, visit: Visit, way: Way, problem: str = "") -> Response:
    offer = await passkeys.options(site.authority)
    return site.page(
        visit,
        "passkey.html",
        status=400 if problem else 200,
        form_targets=way.form_targets,
        scripts=True,
        way=way,
        problem=problem,
        offer={"options": json.dumps(offer.options), "challenge": offer.challenge},
    )


# Links by mail, or of the first administrator


async def show_link(site: Site, visit: Visit) -> Response:
    """Show a sign-in link's owner a button: looking at the link must not use it up."""
    link = visit.query.get("link", "")
    opened = await mail_links.look(site.authority, ArtefactKind.SIGN_IN_LINK, link)
    return site.page(visit, "link.html", link=link, email=opened.email)


async def submit_link(site: Site, visit: Visit) -> Response:
    """Sign in by a link."""
    form = await site.form(visit)
    step = await mail_links.sign_in(site.authority, form.get("link"), visit.sign_in_visit())
    return await go_on(site, visit, Way(None, "", None), step)


# Accounts


async def show_accounts(site: Site, visit: Visit) -> Response:
    """Ask which account to go on with."""
    way = await way_of(site, visit)
    if visit.signed_in is None or way.flow is None:
        return site.to(visit, "/sign-in", **way.query)
    return site.page(visit, "choose_account.html", form_targets=way.form_targets, way=way)


async def choose_account(site: Site, visit: Visit) -> Response:
    """Go on with the account that is signed in, or with another."""
    form = await site.form(visit)
    flow = authorize.require_flow(site, visit, form.get("flow"))
    if form.get("choice") == "this" and visit.signed_in is not None:
        return authorize.choose(site, visit, flow)
    return site.to(visit, "/sign-in", flow=flow.id, again="1")
