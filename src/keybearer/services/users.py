"""Users: created by an administrator or invited, shown, changed, switched off, deleted and brought back."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from ..core.artefacts import ArtefactKind
from ..core.credential import new_id
from ..core.email_address import normalise
from ..core.errors import Conflict
from ..core.instant import Instant
from ..core.lifecycle import Change, touch
from ..core.records import State
from ..core.users import Factors, User, factors_id
from ..ports import UnitOfWork
from ..wire.base import moment, to_moment
from ..wire.users import CreateUser, FactorsView, PasskeyView, SendLink, SentLink, SetPassword, UpdateUser, UserView
from . import mail_links, notices, passwords
from .authority import Authority, Caller, Deed
from .paging import Page, PageQuery, read_page
from .passkeys import id_text
from .people import insert_user, with_password
from .problems import Problems
from .standing import change_state, require_live
from .text import check_text
from .user_links import insert_link
from .user_rules import check_person, require_may_grant
from .views import record_fields

READ: Final = "keybearer:users.read"
WRITE: Final = "keybearer:users.write"


async def create(authority: Authority, caller: Caller, body: CreateUser) -> UserView:
    """Make a user; raises ``Conflict`` when somebody has this address."""
    caller.need_everything(WRITE)
    problems = Problems()
    check_text(problems, body)
    email = check_person(problems, body.email, body.claims, body.permissions, body.metadata)
    if body.password is not None and body.invite:
        problems.add("invite", "is for users who choose their password themselves; give 'password' or 'invite'")
    problems.settle()
    require_may_grant(caller, body.permissions, "Creating")
    encoded = None
    if body.password is not None:
        words = (email, body.name)
        passwords.check_choice(authority.settings, body.password, has_second_factor=False, context=words)
        encoded = await authority.passwords.hash(body.password)
    now = authority.clock.now()
    public_id = new_id(now)

    links: list[str] = []

    async def work(uow: UnitOfWork) -> UserView:
        user, factors = await insert_user(
            uow,
            authority,
            public_id,
            email,
            body.name,
            verified=body.email_verified,
            claims=body.claims,
            permissions=tuple(dict.fromkeys(body.permissions)),
            metadata=body.metadata,
        )
        if encoded is not None and body.password is not None:
            await uow.update(touch(with_password(factors, encoded, body.password, now), now))
        for spec in body.links:
            await insert_link(uow, user.id, spec, now)
        if body.invite:
            purpose = mail_links.Purpose(email, body.name)
            # It goes by mail alone: no part of the answer, nor of what is remembered for a repeated request.
            links[:] = [await mail_links.issue(uow, authority, ArtefactKind.INVITATION, purpose, user_id=user.id)]
        details: dict[str, object] = {"permissions": list(user.permissions)} if user.permissions else {}
        Deed(uow, caller, now).note("user.create", user.id, details=details)
        return view(user)

    answer = await authority.change(caller, work)
    if links:
        mail_links.post(authority, ArtefactKind.INVITATION, email, links[0])
    return answer


async def get(authority: Authority, caller: Caller, user_id: str) -> UserView:
    """Return a user."""
    caller.need_everything(READ)
    return view(await authority.store.get(User, user_id))


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[UserView]:
    """Return one page of users."""
    caller.need_everything(READ)
    if "email" in query.where:
        query = query.narrowed(email=normalise(query.where["email"]) or query.where["email"])
    found = await read_page(authority.store, User, query)
    return Page([view(user) for user in found.items], found.after)


async def update(authority: Authority, caller: Caller, user_id: str, body: UpdateUser) -> UserView:
    """Change a user; it holds at once for tokens that are out. Raises ``Conflict`` for an address that is taken."""
    caller.need_everything(WRITE)
    problems = Problems()
    check_text(problems, body)
    changes: dict[str, Any] = {
        name: getattr(body, name)
        for name in ("name", "email_verified", "claims", "metadata")
        if getattr(body, name) is not UNSET
    }
    if body.permissions is not UNSET:
        changes["permissions"] = tuple(dict.fromkeys(body.permissions))
    email = check_person(
        problems,
        None if body.email is UNSET else body.email,
        {} if body.claims is UNSET else body.claims,
        changes.get("permissions", ()),
        {} if body.metadata is UNSET else body.metadata,
    )
    problems.settle()
    require_may_grant(caller, changes.get("permissions", ()), "Changing")

    seen: list[User] = []

    async def work(uow: UnitOfWork) -> UserView:
        user = await uow.get(User, user_id)
        require_live(user)
        require_may_grant(caller, user.permissions, "Changing")
        made = dict(changes)
        if email and email != user.email:
            made["email"] = email
            made.setdefault("email_verified", False)
        now = authority.clock.now()
        changed = touch(user, now, **made)
        await uow.update(changed)
        details: dict[str, object] = {"fields": sorted(made)}
        if "permissions" in made:
            details |= {"permissions": list(changed.permissions), "permissions_before": list(user.permissions)}
        Deed(uow, caller, now).note("user.update", user.id, details=details)
        seen[:] = [user]
        return view(changed)

    answer = await authority.change(caller, work)
    if seen[0].email != answer.email:
        notices.tell(authority, seen[0], f"The address of your account is now {answer.email}.")
    return answer


async def set_state(authority: Authority, caller: Caller, user_id: str, wanted: Change) -> UserView:
    """Enable, disable, delete or undelete a user. Disabling and deleting end every session for good."""
    caller.need_everything(WRITE)

    async def check(uow: UnitOfWork, user: User, _now: Instant) -> None:
        require_may_grant(caller, user.permissions, "Bringing back" if _brings_back(wanted) else "Switching off")
        if not _brings_back(wanted):
            await mail_links.forget_all(uow, authority, caller, user)

    return await change_state(authority, caller, User, user_id, wanted, view, check=check)


def _brings_back(wanted: Change) -> bool:
    return wanted in (Change.ENABLE, Change.UNDELETE)


# What a user signs in with


async def factors(authority: Authority, caller: Caller, user_id: str) -> FactorsView:
    """Return what a user can sign in with, without any secret."""
    caller.need_everything(READ)
    await authority.store.get(User, user_id)
    return factors_view(await authority.store.get(Factors, factors_id(user_id)))


async def set_password(authority: Authority, caller: Caller, user_id: str, body: SetPassword) -> FactorsView:
    """Set a user's password, and end their sessions and refresh tokens. The second factor stays."""
    caller.need_everything(WRITE)
    seen = await authority.store.get(User, user_id)
    require_may_grant(caller, seen.permissions, "Setting the password of")
    held = await authority.store.get(Factors, factors_id(user_id))
    passwords.check_choice(authority.settings, body.password, has_second_factor=held.has_second_factor, about=seen)
    encoded = await authority.passwords.hash(body.password)

    async def work(uow: UnitOfWork) -> FactorsView:
        user = await uow.get(User, user_id)
        require_live(user)
        require_may_grant(caller, user.permissions, "Setting the password of")
        current = await uow.get(Factors, factors_id(user_id))
        if not current.has_second_factor and held.has_second_factor:
            raise Conflict("The user's second factor was removed meanwhile.")
        now = authority.clock.now()
        changed = touch(with_password(current, encoded, body.password, now), now, failures=0, failed_at=None)
        await uow.update(changed)
        await mail_links.forget_all(uow, authority, caller, user)
        Deed(uow, caller, now).note("user.set_password", user_id)
        return factors_view(changed)

    answer = await authority.change(caller, work)
    notices.tell(authority, seen, "Your password was set by an administrator.")
    return answer


async def reset_second_factor(authority: Authority, caller: Caller, user_id: str) -> FactorsView:
    """Take away every second factor and passkey of a user who lost them, and end their sessions.

    A password that is too short to be the only factor goes too: the user then needs a reset link.
    """
    caller.need_everything(WRITE)

    seen: list[User] = []

    async def work(uow: UnitOfWork) -> FactorsView:
        user = await uow.get(User, user_id)
        require_live(user)
        require_may_grant(caller, user.permissions, "Resetting the factors of")
        current = await uow.get(Factors, factors_id(user_id))
        now = authority.clock.now()
        kept = current.password_hash if current.password_is_long else ""
        changed = touch(current, now, totp=None, recovery_digests=(), passkeys=(), password_hash=kept)
        await uow.update(changed)
        await mail_links.forget_all(uow, authority, caller, user)
        Deed(uow, caller, now).note("user.reset_second_factor", user_id)
        seen[:] = [user]
        return factors_view(changed)

    answer = await authority.change(caller, work)
    notices.tell(authority, seen[0], "An administrator removed the second factors and passkeys of your account.")
    return answer


async def send_link(authority: Authority, caller: Caller, user_id: str, body: SendLink) -> SentLink:
    """Send a user a link by mail: an invitation, for a new password, or to verify the address."""
    caller.need_everything(WRITE)
    kind = ArtefactKind(body.kind)
    sent: list[str] = []

    async def work(uow: UnitOfWork) -> SentLink:
        user = await uow.get(User, user_id)
        require_live(user)
        if user.state is State.DISABLED:
            raise Conflict("This user is disabled; links open nothing for them.")
        held = await uow.get(Factors, factors_id(user_id))
        if kind is ArtefactKind.INVITATION and held.password_hash:
            raise Conflict("This user has a password already; send a password_reset.")
        purpose = mail_links.Purpose(user.email, user.name, user.email)
        sent[:] = [await mail_links.issue(uow, authority, kind, purpose, user_id=user.id)]
        now = authority.clock.now()
        Deed(uow, caller, now).note("user.send_link", user.id, details={"kind": kind}, event=False)
        return SentLink(kind, user.email)

    answer = await authority.change(caller, work)
    mail_links.post(authority, kind, answer.email, sent[0])
    return answer


def view(user: User) -> UserView:
    """Return a user as it travels."""
    return UserView(
        **record_fields(user),
        email=user.email,
        email_verified=user.email_verified,
        name=user.name,
        claims=dict(user.claims),
        permissions=list(user.permissions),
        metadata=dict(user.metadata),
    )


def factors_view(held: Factors) -> FactorsView:
    """Return what a user signs in with, as it travels."""
    return FactorsView(
        user_id=held.user_id,
        has_password=bool(held.password_hash),
        password_changed_at=to_moment(held.password_changed_at),
        has_totp=held.totp is not None and held.totp.confirmed_at is not None,
        recovery_codes=len(held.recovery_digests),
        passkeys=[
            PasskeyView(
                id=id_text(one.credential_id),
                name=one.name,
                created_at=moment(one.created_at),
                last_used_at=to_moment(one.last_used_at),
                backed_up=one.backed_up,
            )
            for one in held.passkeys
        ],
        failures=held.failures,
        failed_at=to_moment(held.failed_at),
    )
