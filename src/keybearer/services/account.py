"""One's own account: what whoever is signed in changes about how they sign in, each after a recent sign-in.

Spec: ASVS 6.2.3 (the old password is asked for), 6.3.7 (changes are told), 7.4.3 (other sessions may end), 7.5.1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ..core.artefacts import ArtefactKind
from ..core.email_address import normalise
from ..core.errors import Conflict, InvalidInput
from ..core.lifecycle import touch
from ..core.secret import Secret
from ..core.users import Factors, User, factors_id
from ..ports import UnitOfWork
from . import attempts, mail_links, notices, passwords
from .authority import Authority, Deed
from .passkeys import require_enough
from .people import with_password
from .recency import require_recent
from .second_factor import NewTotp, accept_totp, begin_totp, new_recovery_codes, pending_totp
from .sessions import SignedIn, caller_of
from .sign_in import SignInRefused
from .text import MAX_SHOWN

NO_SECOND_FACTOR: Final = "Recovery codes stand in for a second factor; add an authenticator app or a passkey first."


async def factors_of(authority: Authority, signed_in: SignedIn) -> Factors:
    """Return what whoever is signed in signs in with."""
    return await authority.store.get(Factors, factors_id(signed_in.user.id))


async def rename(authority: Authority, signed_in: SignedIn, name: str, *, source: str | None = None) -> User:
    """Change one's name."""
    caller = caller_of(signed_in, source=source)

    async def work(uow: UnitOfWork) -> User:
        user = await uow.get(User, signed_in.user.id)
        now = authority.clock.now()
        changed = touch(user, now, name=mail_links.clean_name(name))
        await uow.update(changed)
        Deed(uow, caller, now).note("user.update", user.id, details={"fields": ["name"]})
        return changed

    return await authority.store.transact(work)


async def change_email(authority: Authority, signed_in: SignedIn, email: str, *, source: str | None = None) -> None:
    """Send a link to a new address; opening it makes the address one's own. Until then nothing changes.

    Raises ``InvalidInput``, ``SignInNeeded``. Whether somebody else has the address is not told.
    """
    require_recent(authority, signed_in)
    address = normalise(email)
    if address is None:
        raise InvalidInput.of("email", f"{email[:MAX_SHOWN]!r} is no address such as ada@example.com")
    if not mail_links.may_write(authority, address, source):
        return
    purpose, kind = mail_links.Purpose(address, before=signed_in.user.email), ArtefactKind.EMAIL_VERIFICATION

    async def work(uow: UnitOfWork) -> str:
        return await mail_links.issue(uow, authority, kind, purpose, user_id=signed_in.user.id)

    mail_links.post(authority, kind, address, await authority.store.transact(work))


async def change_password(
    authority: Authority, signed_in: SignedIn, current: str, new: str, *, device: str = "", source: str | None = None
) -> None:
    """Replace one's password, or set the first one. All other sessions end.

    Raises ``SignInRefused`` for a wrong current password, ``SignInNeeded``, and ``InvalidInput`` for a new one that may
    not be chosen.
    """
    require_recent(authority, signed_in)
    user = signed_in.user
    held = await factors_of(authority, signed_in)
    if held.password_hash:
        chance = await attempts.take(authority, user, user.email, device)
        if not await authority.passwords.matches(held.password_hash, current) or not chance.is_open:
            raise SignInRefused("wrong current password")
        await attempts.give_back(authority, chance)
    passwords.check_choice(authority.settings, new, has_second_factor=held.has_second_factor, about=user, field="new")
    encoded = await authority.passwords.hash(new)
    caller = caller_of(signed_in, source=source)

    async def work(uow: UnitOfWork) -> None:
        now = authority.clock.now()
        before = await uow.get(Factors, factors_id(user.id))
        if before.password_hash != held.password_hash:
            raise Conflict("The password was changed meanwhile.")
        changed = touch(with_password(before, encoded, new, now), now)
        require_enough(changed)
        await uow.update(changed)
        await mail_links.forget_all(uow, authority, caller, user, but=signed_in.session.id)
        Deed(uow, caller, now).note("user.change_password", user.id)

    await authority.store.transact(work)
    notices.tell(authority, user, "Your password was changed.")


async def begin_authenticator(authority: Authority, signed_in: SignedIn) -> NewTotp:
    """Begin to add an authenticator app, and return what it must know, shown this once. Raises ``SignInNeeded``.

    A confirmed one must be removed first: nobody replaces it unnoticed.
    """
    require_recent(authority, signed_in)

    async def work(uow: UnitOfWork) -> NewTotp:
        before = await uow.get(Factors, factors_id(signed_in.user.id))
        if before.totp is not None and before.totp.confirmed_at is not None:
            raise Conflict("You have an authenticator app already; remove it first.")
        now = authority.clock.now()
        changed, fresh = begin_totp(authority.keyring, authority.settings.brand_name, signed_in.user, before, now)
        await uow.update(changed)
        return fresh

    return await authority.store.transact(work)


async def pending_authenticator(authority: Authority, signed_in: SignedIn) -> NewTotp | None:
    """Return what an app must know that was begun and not yet taken into use. Raises ``SignInNeeded``."""
    require_recent(authority, signed_in)
    brand = authority.settings.brand_name
    return pending_totp(authority.keyring, brand, signed_in.user, await factors_of(authority, signed_in))


async def confirm_authenticator(
    authority: Authority, signed_in: SignedIn, code: str, *, source: str | None = None
) -> tuple[Secret, ...]:
    """Take the authenticator app into use by its first code, and return recovery codes, shown this once.

    Raises ``InvalidInput`` for a wrong code, ``SignInNeeded``.
    """
    require_recent(authority, signed_in)
    caller = caller_of(signed_in, source=source)
    codes, digests = new_recovery_codes(authority.keyring, signed_in.user.id)

    async def work(uow: UnitOfWork) -> None:
        before = await uow.get(Factors, factors_id(signed_in.user.id))
        now = authority.clock.now()
        if before.totp is None or before.totp.confirmed_at is not None:
            raise Conflict("Begin again: there is no authenticator app that waits for its first code.")
        used = accept_totp(authority.keyring, before, code, now)
        if used is None:
            raise InvalidInput.of("code", "is not the code of this moment; is the clock of the device right?")
        confirmed = replace(used, confirmed_at=now)
        await uow.update(touch(before, now, totp=confirmed, recovery_digests=digests))
        Deed(uow, caller, now).note("user.add_totp", signed_in.user.id, event=False)

    await authority.store.transact(work)
    notices.tell(authority, signed_in.user, "An authenticator app was added to your account.")
    return codes


async def remove_authenticator(authority: Authority, signed_in: SignedIn, *, source: str | None = None) -> None:
    """Remove the authenticator app. Raises ``Conflict`` when the password is too short to stand alone."""
    require_recent(authority, signed_in)
    caller = caller_of(signed_in, source=source)

    async def work(uow: UnitOfWork) -> None:
        before = await uow.get(Factors, factors_id(signed_in.user.id))
        if before.totp is None:
            return
        now = authority.clock.now()
        changed = touch(before, now, totp=None)
        require_enough(changed)
        if not changed.has_second_factor:
            changed = touch(before, now, totp=None, recovery_digests=())
        await uow.update(changed)
        Deed(uow, caller, now).note("user.remove_totp", signed_in.user.id, event=False)

    await authority.store.transact(work)
    notices.tell(authority, signed_in.user, "The authenticator app was removed from your account.")


async def renew_recovery_codes(
    authority: Authority, signed_in: SignedIn, *, source: str | None = None
) -> tuple[Secret, ...]:
    """Return fresh recovery codes, shown this once; those before are good no longer."""
    require_recent(authority, signed_in)
    caller = caller_of(signed_in, source=source)
    codes, digests = new_recovery_codes(authority.keyring, signed_in.user.id)

    async def work(uow: UnitOfWork) -> None:
        before = await uow.get(Factors, factors_id(signed_in.user.id))
        if not before.has_second_factor:
            raise Conflict(NO_SECOND_FACTOR)
        now = authority.clock.now()
        await uow.update(touch(before, now, recovery_digests=digests))
        Deed(uow, caller, now).note("user.renew_recovery_codes", signed_in.user.id, event=False)

    await authority.store.transact(work)
    notices.tell(authority, signed_in.user, "New recovery codes were made for your account.")
    return codes
