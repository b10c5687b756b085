"""How one signs in: the password, the address, the authenticator app, recovery codes and passkeys of one's own account.

Each change needs a recent sign-in; the services insist on it (``SignInNeeded``), and the site then asks for one.
Spec: SECURITY-BAR 23, ASVS 7.5.1.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from ...core.errors import Conflict, InvalidInput
from ...core.secret import Secret
from ...services import account, passkeys
from ...services.recency import require_recent
from ...services.second_factor import NewTotp
from ...services.sign_in import SignInRefused
from ..browser_cookies import DEVICE
from . import qr_code
from .mailbox import in_words
from .sign_in import has_domain
from .site import Site, Visit


def routes(site: Site) -> list[Route]:
    """Return the routes of these pages."""
    return [
        site.route("/account/password", get=show_password, post=change_password),
        site.route("/account/email", get=show_email, post=change_email),
        site.route("/account/authenticator", get=show_authenticator, post=change_authenticator),
        site.route("/account/recovery-codes", get=show_codes, post=renew_codes),
        site.route("/account/passkeys", get=show_passkeys, post=change_passkeys),
    ]


async def show_password(site: Site, visit: Visit) -> Response:
    """Ask for the old and the new password."""
    return await _password_page(site, visit)


async def _password_page(site: Site, visit: Visit, problem: str = "") -> Response:
    require_recent(site.authority, visit.who)
    factors = await account.factors_of(site.authority, visit.who)
    return site.page(
        visit,
        "password.html",
        status=400 if problem else 200,
        user=visit.who.user,
        has_password=bool(factors.password_hash),
        problem=problem,
    )


async def change_password(site: Site, visit: Visit) -> Response:
    """Change the password; all other sessions end."""
    who = visit.who
    form = await site.form(visit)
    try:
        await account.change_password(
            site.authority,
            who,
            form.get("current"),
            form.get("new"),
            device=visit.cookies.get(DEVICE, ""),
            source=visit.source,
        )
    except SignInRefused:
        return await _password_page(site, visit, "The current password is not right.")
    except InvalidInput as wrong:
        return await _password_page(site, visit, in_words(wrong))
    text = "You are signed out everywhere else."
    return site.page(visit, "done.html", title="Your password is changed", text=text, to="/account")


async def show_email(site: Site, visit: Visit) -> Response:
    """Ask for a new address."""
    require_recent(site.authority, visit.who)
    return site.page(visit, "email.html", user=visit.who.user, problem="")


async def change_email(site: Site, visit: Visit) -> Response:
    """Send a letter to the new address; it becomes one's own when the link in it is opened."""
    who = visit.who
    form = await site.form(visit)
    email = form.get("email").strip()
    try:
        await account.change_email(site.authority, who, email, source=visit.source)
    except InvalidInput:
        problem = "Fill in an e-mail address such as ada@example.com."
        return site.page(visit, "email.html", status=400, user=who.user, problem=problem)
    return site.page(visit, "letter.html", what="to confirm your new address", email=email)


async def show_authenticator(site: Site, visit: Visit) -> Response:
    """Show whether there is an authenticator app."""
    require_recent(site.authority, visit.who)
    factors = await account.factors_of(site.authority, visit.who)
    confirmed = factors.totp is not None and factors.totp.confirmed_at is not None
    return site.page(visit, "authenticator.html", confirmed=confirmed, fresh=None, problem="")


async def change_authenticator(site: Site, visit: Visit) -> Response:
    """Begin, confirm or remove an authenticator app."""
    who = visit.who
    form = await site.form(visit)
    match form.get("change"):
        case "begin":
            fresh = _shown(await account.begin_authenticator(site.authority, who))
            return site.page(visit, "authenticator.html", confirmed=False, fresh=fresh, problem="")
        case "confirm":
            try:
                codes = await account.confirm_authenticator(site.authority, who, form.get("code"), source=visit.source)
            except InvalidInput:
                problem = "That is not the code of this moment. Is the clock of the device right?"
                return site.page(
                    visit,
                    "authenticator.html",
                    status=400,
                    confirmed=False,
                    fresh=_shown(await account.pending_authenticator(site.authority, who)),
                    problem=problem,
                )
            return _codes_page(site, visit, codes)
        case "remove":
            await account.remove_authenticator(site.authority, who, source=visit.source)
            return site.to(visit, "/account")
        case _:
            raise InvalidInput.of("change", "say what to do: begin, confirm or remove")


def _shown(fresh: NewTotp | None) -> dict[str, Any] | None:
    if fresh is None:
        return None
    secret = fresh.secret.reveal()
    grouped = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    uri = fresh.uri.reveal()
    return {"secret": grouped, "uri": uri, "code": qr_code.svg_path(uri)}


async def show_codes(site: Site, visit: Visit) -> Response:
    """Show how many recovery codes are left."""
    require_recent(site.authority, visit.who)
    factors = await account.factors_of(site.authority, visit.who)
    left, needed = len(factors.recovery_digests), factors.has_second_factor
    return site.page(visit, "recovery_codes.html", left=left, codes=(), needed=needed)


async def renew_codes(site: Site, visit: Visit) -> Response:
    """Make new recovery codes; they are shown this once."""
    who = visit.who
    await site.form(visit)
    return _codes_page(site, visit, await account.renew_recovery_codes(site.authority, who, source=visit.source))


def _codes_page(site: Site, visit: Visit, codes: tuple[Secret, ...]) -> Response:
    shown = [code.reveal() for code in codes]
    return site.page(visit, "recovery_codes.html", left=len(shown), codes=shown, needed=True)


async def show_passkeys(site: Site, visit: Visit) -> Response:
    """Show the passkeys, and let one be added."""
    return await _passkeys_page(site, visit)


async def _passkeys_page(site: Site, visit: Visit, problem: str = "") -> Response:
    who = visit.who
    require_recent(site.authority, who)
    factors = await account.factors_of(site.authority, who)
    offer = await passkeys.registration_options(site.authority, who.user) if has_domain(site) else None
    return site.page(
        visit,
        "passkeys.html",
        status=400 if problem else 200,
        scripts=offer is not None,
        passkeys=[(passkeys.id_text(one.credential_id), one) for one in factors.passkeys],
        offer=None if offer is None else {"options": json.dumps(offer.options), "challenge": offer.challenge},
        problem=problem,
    )


async def change_passkeys(site: Site, visit: Visit) -> Response:
    """Add the passkey that the browser made, or remove one."""
    who = visit.who
    form = await site.form(visit)
    try:
        match form.get("change"):
            case "add":
                await passkeys.register(
                    site.authority,
                    who,
                    form.get("challenge"),
                    form.get("response"),
                    form.get("name"),
                    source=visit.source,
                )
            case "remove":
                passkey_id = passkeys.id_bytes(form.get("passkey"))
                await passkeys.remove(site.authority, who, passkey_id, source=visit.source)
            case _:
                raise InvalidInput.of("change", "say what to do: add or remove")
    except InvalidInput as wrong:
        return await _passkeys_page(site, visit, in_words(wrong))
    except Conflict as clash:
        return await _passkeys_page(site, visit, clash.public)
    return site.to(visit, "/account/passkeys")
