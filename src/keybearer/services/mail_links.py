"""Links: by mail to verify an address, set a new password or accept an invitation; from the operator to sign in once.

Each is good once, for a short time and for one purpose. Looking at one changes nothing (mail scanners follow links);
only what the person then sends does. The address in it comes from the settings, never from a request.
Spec: SECURITY-BAR 20-23; Keycloak CVE-2026-37982 (a link replayed), ZITADEL CVE-2025-64101 (a link from a header).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from ..core import credential
from ..core.artefacts import Artefact, ArtefactKind
from ..core.assurance import LINK
from ..core.email_address import normalise
from ..core.errors import Conflict, KeybearerError, NotFound
from ..core.instant import DAY, MINUTE, Instant
from ..core.lifecycle import touch, use_up
from ..core.records import State
from ..core.secret import Secret
from ..core.sources import counted_as
from ..core.users import Factors, User, factors_id
from ..ports import UnitOfWork, Work
from . import notices, passwords, sessions
from .authority import Authority, Caller, Deed
from .outbox import Message
from .people import insert_user, with_password
from .second_factor import methods_of
from .sign_in import Done, NeedsSecondFactor, SignInStep, Visit, complete, find_by_email, issue_ticket

T = TypeVar("T")

PREFIX: Final = "kb_ml"
PATHS: Final = {
    ArtefactKind.EMAIL_VERIFICATION: "/verify-email",
    ArtefactKind.PASSWORD_RESET: "/reset-password",
    ArtefactKind.INVITATION: "/invitation",
    ArtefactKind.SIGN_IN_LINK: "/sign-in/link",
}
"""Where each kind of link leads; the secret is the parameter ``link``."""
LIFETIMES: Final = {
    ArtefactKind.EMAIL_VERIFICATION: 1 * DAY,
    ArtefactKind.PASSWORD_RESET: 10 * MINUTE,
    ArtefactKind.INVITATION: 7 * DAY,
    ArtefactKind.SIGN_IN_LINK: 10 * MINUTE,
}
_WORDS: Final = {
    ArtefactKind.EMAIL_VERIFICATION: ("Confirm your address", "confirm that this is your address", "a day"),
    ArtefactKind.PASSWORD_RESET: ("Set a new password", "set a new password", "10 minutes"),
    ArtefactKind.INVITATION: ("Your account", "set a password and begin", "7 days"),
    ArtefactKind.SIGN_IN_LINK: ("Sign in", "sign in", "10 minutes"),
}


class LinkRefused(KeybearerError):
    """The link opens nothing: unknown, altered, over, or used before; which of them is not told."""

    def __init__(self, detail: str) -> None:
        super().__init__("This link is not good any more. Ask for a new one.", detail=detail)


class Purpose(msgspec.Struct, forbid_unknown_fields=True):
    """What a link stands for, besides its kind and its user: the address that it was sent to, and a name.

    To verify an address, ``before`` is the one that the user had: if that changed since, the link is too old.
    """

    email: str
    name: str = ""
    before: str = ""


@dataclass(frozen=True, slots=True)
class OpenedLink:
    """A good link that was looked at. ``user`` is ``None`` where opening it makes one."""

    kind: ArtefactKind
    email: str
    name: str
    user: User | None


# Sending


async def issue(
    uow: UnitOfWork,
    authority: Authority,
    kind: ArtefactKind,
    purpose: Purpose,
    *,
    user_id: str = "",
    lifetime_in: int | None = None,
) -> str:
    """Store a link and return it. It is a credential: it goes to its mailbox, and nowhere else."""
    now = authority.clock.now()
    public_id = credential.new_id(now)
    secret = credential.mint(PREFIX, public_id)
    pepper_id = authority.keyring.active_pepper_id
    await uow.add_artefact(
        Artefact(
            kind=kind,
            id=public_id,
            created_at=now,
            expires_at=Instant(now + (LIFETIMES[kind] if lifetime_in is None else lifetime_in)),
            digest=authority.keyring.digest(pepper_id, secret.reveal()),
            pepper_id=pepper_id,
            subject=user_id,
            body=msgspec.json.encode(purpose),
        )
    )
    return address_of(authority, kind, secret)


def address_of(authority: Authority, kind: ArtefactKind, secret: Secret) -> str:
    """Return the URL of a link, under the issuer of the settings."""
    return f"{authority.settings.issuer_url.rstrip('/')}{PATHS[kind]}?link={secret.reveal()}"


def post(authority: Authority, kind: ArtefactKind, email: str, link: str) -> None:
    """Send a link on its way."""
    subject, what, how_long = _WORDS[kind]
    text = (
        f"{authority.settings.brand_name} sends you this link. To {what}, open it within {how_long}:\n\n{link}\n\n"
        "It works once. If you did not expect this message, there is nothing to do: without the link nothing happens.\n"
    )
    authority.outbox.post(Message(email, subject, text))


async def send(authority: Authority, caller: Caller, user: User, kind: ArtefactKind) -> None:
    """Make a link for a user and send it to their address."""

    async def work(uow: UnitOfWork) -> str:
        purpose = Purpose(user.email, user.name, user.email)
        link = await issue(uow, authority, kind, purpose, user_id=user.id)
        Deed(uow, caller, authority.clock.now()).note("user.send_link", user.id, details={"kind": kind}, event=False)
        return link

    post(authority, kind, user.email, await authority.store.transact(work))


def request_reset(authority: Authority, email: str, source: str | None) -> None:
    """Send a link for a new password, if somebody has this address. Returns at once, and says nothing either way."""
    address = normalise(email)
    if address is None or not may_write(authority, address, source):
        return

    async def job() -> None:
        user = await find_by_email(authority, address)
        if user is not None and user.state is State.ENABLED:
            caller = Caller(actor=user.id, permissions=frozenset(), source=source)
            await send(authority, caller, user, ArtefactKind.PASSWORD_RESET)

    authority.outbox.later(job)


def may_write(authority: Authority, address: str, source: str | None) -> bool:
    """Tell whether one more letter may be asked for, for this address and from this source."""
    return authority.letters_by_source.take(counted_as(source)) and authority.letters_by_address.take(address)


# Opening


async def look(authority: Authority, kind: ArtefactKind, text: str) -> OpenedLink:
    """Return what a link is for, without using it. Raises ``LinkRefused``."""
    artefact = _checked(authority, await _read(authority, kind, text), text)
    user = await authority.store.get(User, artefact.subject) if artefact.subject else None
    purpose = _purpose(artefact)
    if user is not None and user.state is not State.ENABLED:
        raise LinkRefused(f"{user.state} user")
    return OpenedLink(kind, purpose.email, user.name if user is not None else purpose.name, user)


async def verify_email(authority: Authority, text: str, *, source: str | None = None) -> User:
    """Take an address as verified; it becomes the user's, if it was to replace another. Raises ``LinkRefused``."""
    kind = ArtefactKind.EMAIL_VERIFICATION
    opened = await look(authority, kind, text)

    async def work(uow: UnitOfWork) -> tuple[User, User]:
        artefact = await _use(uow, authority, kind, text)
        before = await _user_of(uow, artefact)
        if before.email != _purpose(artefact).before:
            raise LinkRefused("the address changed since")
        now = authority.clock.now()
        after = touch(before, now, email=_purpose(artefact).email, email_verified=True)
        await uow.update(after)
        caller = Caller(actor=before.id, permissions=frozenset(), source=source)
        Deed(uow, caller, now).note("user.verify_email", before.id)
        return before, after

    try:
        before, after = await authority.store.transact(work)
    except Conflict as error:
        raise LinkRefused(f"used before, or another user has {opened.email} now") from error
    if before.email != after.email:
        notices.tell(authority, after, f"The address of your account is now {after.email}.", at=before.email)
    return after


async def reset_password(authority: Authority, text: str, password: str, *, source: str | None = None) -> None:
    """Set a new password. Raises ``LinkRefused``, and ``InvalidInput`` for a password that may not be chosen.

    The second factor stays, all sessions and refresh tokens end, and nobody is signed in by this.
    """
    kind = ArtefactKind.PASSWORD_RESET
    opened = await look(authority, kind, text)
    if opened.user is None:
        raise LinkRefused("a link without a user")
    factors = await authority.store.get(Factors, factors_id(opened.user.id))
    passwords.check_choice(authority.settings, password, has_second_factor=factors.has_second_factor, about=opened.user)
    encoded = await authority.passwords.hash(password)
    caller = Caller(actor=opened.user.id, permissions=frozenset(), source=source)

    async def work(uow: UnitOfWork) -> User:
        artefact = await _use(uow, authority, kind, text)
        user = await _user_of(uow, artefact)
        if user.email != _purpose(artefact).email:
            raise LinkRefused("the address changed since")
        now = authority.clock.now()
        current = await uow.get(Factors, factors_id(user.id))
        if not current.has_second_factor:
            passwords.check_choice(authority.settings, password, has_second_factor=False, about=user)
        await uow.update(touch(with_password(current, encoded, password, now), now, failures=0, failed_at=None))
        await forget_all(uow, authority, caller, user)
        if not user.email_verified:
            await uow.update(touch(user, now, email_verified=True))
        Deed(uow, caller, now).note("user.reset_password", user.id)
        return user

    user = await _once(authority, work)
    notices.tell(authority, user, "Your password was set anew by a link from your mailbox.")


async def accept_invitation(authority: Authority, text: str, *, name: str, password: str, visit: Visit) -> Done:
    """Begin an account with a name and a password, and sign in. Raises ``LinkRefused`` and ``InvalidInput``.

    For somebody who registered this makes the user; the link shows that the address is theirs.
    """
    kind = ArtefactKind.INVITATION
    opened = await look(authority, kind, text)
    called = clean_name(name) or opened.name
    context = (opened.email, called)
    passwords.check_choice(authority.settings, password, has_second_factor=False, context=context)
    encoded = await authority.passwords.hash(password)

    async def work(uow: UnitOfWork) -> str:
        artefact = await _use(uow, authority, kind, text)
        now = authority.clock.now()
        if not artefact.subject:
            user_id = credential.new_id(now)
            caller = Caller(actor="registration", permissions=frozenset(), source=visit.source)
            user, factors = await insert_user(uow, authority, user_id, _purpose(artefact).email, called, verified=True)
            Deed(uow, caller, now).note("user.register", user.id)
        else:
            user = await _user_of(uow, artefact)
            if user.email != _purpose(artefact).email:
                raise LinkRefused("the address changed since")
            await uow.update(touch(user, now, name=called, email_verified=True))
            factors = await uow.get(Factors, factors_id(user.id))
            if factors.password_hash:
                raise LinkRefused("the invitation was accepted already")
            caller = Caller(actor=user.id, permissions=frozenset(), source=visit.source)
            Deed(uow, caller, now).note("user.accept_invitation", user.id)
        await uow.update(touch(with_password(factors, encoded, password, now), now))
        await uow.remove_artefacts(ArtefactKind.INVITATION, user.id)
        return user.id

    user_id = await _once(authority, work)

    async def check(_uow: UnitOfWork, factors: Factors, _now: Instant) -> Factors | None:
        return factors if factors.password_hash == encoded else None

    return await complete(authority, user_id, (LINK, "pwd"), visit, check)


async def sign_in(authority: Authority, text: str, visit: Visit) -> SignInStep:
    """Sign in by a link. Raises ``LinkRefused``. A second factor is asked for all the same."""
    kind = ArtefactKind.SIGN_IN_LINK

    async def use(uow: UnitOfWork) -> Factors:
        artefact = await _use(uow, authority, kind, text)
        user = await _user_of(uow, artefact)
        if user.email != _purpose(artefact).email:
            raise LinkRefused("the address changed since")
        return await uow.get(Factors, factors_id(user.id))

    factors = await _once(authority, use)
    if factors.has_second_factor:
        return NeedsSecondFactor(issue_ticket(authority, factors, (LINK,)), methods_of(factors))

    async def check(_uow: UnitOfWork, current: Factors, _now: Instant) -> Factors | None:
        return None if current.has_second_factor else current

    return await complete(authority, factors.user_id, (LINK,), visit, check)


async def forget_all(
    uow: UnitOfWork, authority: Authority, caller: Caller, user: User, *, but: str | None = None
) -> None:
    """After a password was replaced: end sessions (``but`` perhaps one), refresh tokens, known browsers and links."""
    await sessions.end_all(uow, authority, caller, user.id, but=but)
    if but is None:
        for family_id in await uow.revoke_families("user_id", user.id, authority.clock.now()):
            uow.emit("family.revoke", family_id)
    for kind in (ArtefactKind.KNOWN_DEVICE, ArtefactKind.PASSWORD_RESET, ArtefactKind.SIGN_IN_LINK):
        await uow.remove_artefacts(kind, user.id)


def clean_name(name: str) -> str:
    """Return a name that a person typed, without what no name holds, of 200 characters at most."""
    return " ".join("".join(one for one in name if one.isprintable()).split())[:200]


async def _once(authority: Authority, work: Work[T]) -> T:
    try:
        return await authority.store.transact(work)
    except Conflict as error:
        raise LinkRefused(f"used before, or changed meanwhile: {error.public}") from error


async def _use(uow: UnitOfWork, authority: Authority, kind: ArtefactKind, text: str) -> Artefact:
    artefact = _checked(authority, await _read(uow, kind, text), text)
    await uow.update_artefact(use_up(artefact, authority.clock.now()))
    return artefact


async def _read(reader: UnitOfWork | Authority, kind: ArtefactKind, text: str) -> Artefact:
    parts = credential.split(text)
    if parts is None or parts[0] != PREFIX:
        raise LinkRefused("not a link of ours")
    try:
        source = reader.store if isinstance(reader, Authority) else reader
        return await source.get_artefact(kind, parts[1])
    except NotFound:
        raise LinkRefused("an unknown link") from None


def _checked(authority: Authority, artefact: Artefact, text: str) -> Artefact:
    if not hmac.compare_digest(authority.keyring.digest(artefact.pepper_id, text), artefact.digest):
        raise LinkRefused("the secret of the link is wrong")
    if artefact.used_at is not None or authority.clock.now() >= artefact.expires_at:
        raise LinkRefused("used before, or over")
    return artefact


async def _user_of(uow: UnitOfWork, artefact: Artefact) -> User:
    try:
        user = await uow.get(User, artefact.subject)
    except NotFound:
        raise LinkRefused("the user is gone") from None
    if user.state is not State.ENABLED:
        raise LinkRefused(f"{user.state} user")
    return user


def _purpose(artefact: Artefact) -> Purpose:
    return msgspec.json.decode(artefact.body, type=Purpose)
