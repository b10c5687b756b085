"""Open registration: whoever has a mailbox may have an account, where the settings allow it.

Nothing is stored for an address until its owner opens the link: they choose the password there, so that nobody can
prepare an account with a known password for somebody else. Every address gets the same answer in the same time; what
differs is the letter. Spec: SECURITY-BAR 21.
"""

from __future__ import annotations

from ..core.artefacts import ArtefactKind
from ..core.email_address import normalise
from ..core.errors import InvalidInput, NotPermitted
from ..ports import UnitOfWork
from . import mail_links
from .authority import Authority
from .outbox import Message
from .sign_in import find_by_email


def is_open(authority: Authority) -> bool:
    """Tell whether anybody may register."""
    return authority.settings.open_registration


def register(authority: Authority, source: str | None, email: str, name: str = "") -> None:
    """Send an invitation to whoever asks for one; returns at once. ``mail_links.accept_invitation`` makes the user.

    Raises ``NotPermitted`` where registration is not open, and ``InvalidInput`` for what is no address. Somebody who
    has an account already is told so, by mail.
    """
    if not is_open(authority):
        raise NotPermitted("Registration is not open here; ask for an invitation.")
    address = normalise(email)
    if address is None:
        raise InvalidInput.of("email", "should look like ada@example.com")
    called = mail_links.clean_name(name)
    if not mail_links.may_write(authority, address, source):
        return

    async def job() -> None:
        if await find_by_email(authority, address) is not None:
            authority.outbox.post(Message(address, "You have an account", _have_one(authority)))
            return
        purpose = mail_links.Purpose(address, called)

        async def work(uow: UnitOfWork) -> str:
            return await mail_links.issue(uow, authority, ArtefactKind.INVITATION, purpose)

        mail_links.post(authority, ArtefactKind.INVITATION, address, await authority.store.transact(work))

    authority.outbox.later(job)


def _have_one(authority: Authority) -> str:
    return (
        f"Somebody, perhaps you, wanted to register with this address at\n{authority.settings.issuer_url}\n"
        "There is an account with it already: sign in, or ask for a new password.\n"
        "If it was not you, there is nothing to do.\n"
    )
