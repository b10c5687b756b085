"""Signing in: a password, then a second factor where the user has one. One text refuses, whatever was wrong.

Between the two steps nothing is stored: the ticket is sealed, bound to the password that was right, and good once.
Spec: SECURITY-BAR 17-22, ASVS 6.3, authentik CVE-2026-49443 (an empty step must not pass).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Final, NamedTuple

import msgspec

from ..core import credential
from ..core.artefacts import Artefact, ArtefactKind
from ..core.assurance import MULTIPLE_FACTORS, ONE_TIME_CODE, PASSWORD, level_of
from ..core.email_address import normalise
from ..core.errors import Conflict, KeybearerError, NotFound
from ..core.instant import MINUTE, Instant
from ..core.lifecycle import touch
from ..core.records import State
from ..core.secret import Secret
from ..core.sessions import Session
from ..core.users import Factors, User, factors_id
from ..ports import Query, UnitOfWork
from ..wire.users import LinkSpec
from . import attempts, passwords, sessions, user_links
from .authority import Authority, Caller
from .sealing import CannotOpen, open_sealed, seal
from .second_factor import accept_recovery_code, accept_totp, methods_of

log = logging.getLogger(__name__)

TICKET_IN: Final = 10 * MINUTE
MAX_TICKET: Final = 2048
_PURPOSE: Final = "sign-in-ticket"


class SignInRefused(KeybearerError):
    """Whoever tried is not signed in. The text is the same whatever the reason (SECURITY-BAR 21)."""

    text = "That is not right: check the address and the password or code."

    def __init__(self, detail: str) -> None:
        super().__init__(self.text, detail=detail)


class TriedTooOften(SignInRefused):
    """Too many were refused from this source lately; nothing was looked at, whichever account it was about."""

    text = "Too many tries from where you are. Wait a minute, then try again."


@dataclass(frozen=True, slots=True)
class Visit:
    """The browser that somebody signs in with.

    ``device`` is the cookie by which it is known from an earlier sign-in, ``renews`` the session that the new one takes
    the place of.
    """

    source: str | None = None
    user_agent: str = ""
    device: str = ""
    renews: Session | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An address and a password that somebody sent."""

    email: str
    password: str = field(repr=False)
    visit: Visit = Visit()


class Done(NamedTuple):
    """Signed in. ``secret`` is for the session cookie; ``device``, if there, for the browser's long-lived cookie."""

    session: Session
    user: User
    secret: Secret
    device: Secret | None


class NeedsSecondFactor(NamedTuple):
    """The password was right; one of these ``methods`` is needed as well, together with the ticket."""

    ticket: str
    methods: tuple[str, ...]


SignInStep = Done | NeedsSecondFactor


class Ticket(msgspec.Struct, forbid_unknown_fields=True):
    """What the first step found, as it travels sealed through the browser."""

    id: str
    user_id: str
    amr: tuple[str, ...]
    password_changed_at: int
    expires_at: int
    link: LinkSpec | None = None
    """Who the user was found to be at an upstream provider, by this ``email``: remembered once both factors are right.
    """
    email: str = ""


async def find_by_email(authority: Authority, email: str) -> User | None:
    """Return the user with this address, in whatever state but deleted."""
    address = normalise(email)
    if address is None:
        return None
    found = await authority.store.page(User, Query({"email": address}, limit=1))
    return found[0] if found else None


async def with_password(authority: Authority, attempt: Attempt) -> SignInStep:
    """Sign in with a password, or say which second factor is needed. Raises ``SignInRefused``, ``Unavailable``.

    An address that nobody has costs the same transaction and the same hash as a wrong password.
    """
    with slowed_down(authority, attempt.visit.source):
        return await _with_password(authority, attempt)


@contextlib.contextmanager
def slowed_down(authority: Authority, source: str | None) -> Iterator[None]:
    """Count refusals against the address that they came from; raises ``TriedTooOften`` for one with too many."""
    throttle = authority.throttle
    try:
        address = None if throttle is None or source is None else ip_address(source)
    except ValueError:
        address = None
    if throttle is None or address is None:
        yield
        return
    if throttle.retry_in(address):
        raise TriedTooOften("the source is slowed down")
    try:
        yield
    except SignInRefused:
        throttle.failed(address)
        raise


async def _with_password(authority: Authority, attempt: Attempt) -> SignInStep:
    user = await find_by_email(authority, attempt.email)
    chance = await attempts.take(authority, user, attempt.email, attempt.visit.device)
    factors = chance.factors
    encoded = factors.password_hash if factors is not None else ""
    is_right = await authority.passwords.matches(encoded, attempt.password)
    if user is None or factors is None or not encoded:
        # Logged like any other refusal: writing a line takes time too.
        log.info("a sign-in was refused", extra={"user_id": "", "why": "no such user, or no password"})
        raise SignInRefused("no such user, or no password")
    if not is_right or not chance.is_open or user.state is not State.ENABLED:
        why = (
            "the account is shut" if not chance.is_open else "wrong password" if not is_right else f"{user.state} user"
        )
        log.info("a sign-in was refused", extra={"user_id": user.id, "why": why})
        raise SignInRefused(why)
    if factors.has_second_factor:
        await attempts.give_back(authority, chance)
        return NeedsSecondFactor(issue_ticket(authority, factors, (PASSWORD,)), methods_of(factors))
    fresh = None
    if passwords.is_outdated(encoded):
        fresh = await authority.passwords.hash(attempt.password)

    async def check(_uow: UnitOfWork, current: Factors, now: Instant) -> Factors | None:
        # The password may have been changed, or a second factor added, since it was looked at.
        if current.password_hash != encoded or current.has_second_factor:
            return None
        return current if fresh is None else touch(current, now, password_hash=fresh)

    return await complete(authority, user.id, (PASSWORD,), attempt.visit, check)


async def with_totp(authority: Authority, ticket: str, code: str, visit: Visit) -> Done:
    """Go on with a time-based code. Raises ``SignInRefused``."""

    async def check(_uow: UnitOfWork, factors: Factors, now: Instant) -> Factors | None:
        if factors.totp is None or factors.totp.confirmed_at is None:
            return None
        used = accept_totp(authority.keyring, factors, code, now)
        return None if used is None else touch(factors, now, totp=used)

    return await _with_code(authority, ticket, visit, check)


async def with_recovery_code(authority: Authority, ticket: str, code: str, visit: Visit) -> Done:
    """Go on with a recovery code, which is used up. Raises ``SignInRefused``."""

    async def check(_uow: UnitOfWork, factors: Factors, now: Instant) -> Factors | None:
        left = accept_recovery_code(authority.keyring, factors, code)
        return None if left is None else touch(factors, now, recovery_digests=left)

    return await _with_code(authority, ticket, visit, check)


Check = Callable[[UnitOfWork, Factors, Instant], Awaitable[Factors | None]]
"""Looks at the factors inside the transaction of the sign-in: returns them as they are to be stored, or ``None``."""


async def _with_code(authority: Authority, text: str, visit: Visit, check: Check) -> Done:
    with slowed_down(authority, visit.source):
        ticket = open_ticket(authority, text)
        user = await authority.store.get(User, ticket.user_id)
        chance = await attempts.take(authority, user, user.email, visit.device)
        if not chance.is_open:
            raise SignInRefused("the account is shut")
        amr = (*ticket.amr, ONE_TIME_CODE, MULTIPLE_FACTORS)
        return await complete(authority, user.id, amr, visit, check, ticket)


async def complete(
    authority: Authority,
    user_id: str,
    amr: tuple[str, ...],
    visit: Visit,
    check: Check,
    ticket: Ticket | None = None,
    *,
    authenticated_at: Instant | None = None,
) -> Done:
    """Begin the session, if everything still holds in the transaction that does so. Raises ``SignInRefused``.

    With a ``ticket``, uses it up; renews the session that the browser has, or ends another user's; starts the count of
    failures afresh.
    """
    caller = Caller(actor=user_id, permissions=frozenset(), source=visit.source)

    async def work(uow: UnitOfWork) -> Done | None:
        user = await uow.get(User, user_id)
        if user.state is not State.ENABLED:
            return None
        factors = await uow.get(Factors, factors_id(user_id))
        now = authority.clock.now()
        if ticket is not None and ticket.password_changed_at != (factors.password_changed_at or 0):
            return None
        checked = await check(uow, factors, now)
        if checked is None:
            return None
        if ticket is not None:
            await uow.add_artefact(
                Artefact(ArtefactKind.SIGN_IN_STEP, ticket.id, now, Instant(ticket.expires_at), subject=user_id)
            )
            if ticket.link is not None:
                await user_links.add_verified(uow, authority, caller, user_id, ticket.email, ticket.link)
        if checked is not factors or factors.failures:
            await uow.update(_settled(checked, factors, now))
        session, secret = await sessions.begin(
            uow,
            authority,
            caller,
            user,
            visit.renews,
            amr=amr,
            acr=level_of(amr),
            source=visit.source,
            user_agent=visit.user_agent,
            authenticated_at=authenticated_at,
        )
        device = await attempts.remember_device(uow, authority, user, visit.device)
        return Done(session, user, secret, device)

    try:
        done = await authority.store.transact(work)
    except (Conflict, NotFound) as error:
        raise SignInRefused(f"used before, or changed meanwhile: {error.public}") from error
    if done is None:
        log.info("a sign-in was refused", extra={"user_id": user_id, "why": "the second step was wrong"})
        raise SignInRefused("wrong code, or something changed since the first step")
    return done


def _settled(checked: Factors, before: Factors, now: Instant) -> Factors:
    """Return the checked factors without failures, as the next revision of those that are stored."""
    return replace(checked, failures=0, updated_at=now, revision=before.revision + 1)


def issue_ticket(
    authority: Authority, factors: Factors, amr: tuple[str, ...], *, link: LinkSpec | None = None, email: str = ""
) -> str:
    """Return the sealed ticket of a first step that was right."""
    now = authority.clock.now()
    ticket = Ticket(
        id=credential.new_id(now),
        user_id=factors.user_id,
        amr=amr,
        password_changed_at=factors.password_changed_at or 0,
        expires_at=now + TICKET_IN,
        link=link,
        email=email,
    )
    sealed = seal(authority.keyring, _PURPOSE, msgspec.json.encode(ticket))
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def open_ticket(authority: Authority, text: str) -> Ticket:
    """Return what a ticket says; raises ``SignInRefused`` for one that is empty, altered, or over."""
    try:
        if not text or len(text) > MAX_TICKET or not text.isascii():
            raise SignInRefused("no ticket")
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        ticket = msgspec.json.decode(open_sealed(authority.keyring, _PURPOSE, sealed), type=Ticket)
    except (CannotOpen, binascii.Error, msgspec.MsgspecError) as error:
        raise SignInRefused("a ticket that was not sealed here") from error
    if authority.clock.now() >= ticket.expires_at:
        raise SignInRefused("the ticket is over")
    return ticket
