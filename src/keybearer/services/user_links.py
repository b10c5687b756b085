"""Links of users: who they are elsewhere, by the name of another system and their id there."""

from __future__ import annotations

from typing import Final

from ..core import own_api
from ..core.credential import new_id
from ..core.errors import Conflict, NotFound
from ..core.instant import Instant
from ..core.lifecycle import Change, change
from ..core.users import LINK_ID, Link, User
from ..ports import Query, Store, UnitOfWork
from ..wire.base import moment
from ..wire.users import LinkSpec, LinkView
from .authority import Authority, Caller, Deed
from .paging import Page, PageQuery, read_page
from .problems import Problems
from .standing import require_live
from .text import check_text
from .user_rules import require_may_grant

READ: Final = "keybearer:users.read"
WRITE: Final = "keybearer:users.write"
MAX_LINKS: Final = 20


async def find(store: Store, issuer: str, subject: str) -> User | None:
    """Return the user who is this subject at this issuer."""
    found = await store.page(Link, Query({"issuer": issuer, "subject": subject}, limit=1))
    return await store.get(User, found[0].user_id) if found else None


async def page(authority: Authority, caller: Caller, user_id: str, query: PageQuery) -> Page[LinkView]:
    """Return one page of a user's links."""
    caller.need_everything(READ)
    await authority.store.get(User, user_id)
    found = await read_page(authority.store, Link, query.narrowed(user_id=user_id))
    return Page([view(link) for link in found.items], found.after)


async def add(authority: Authority, caller: Caller, user_id: str, body: LinkSpec) -> LinkView:
    """Say who a user is elsewhere; raises ``Conflict`` when somebody else is that."""
    caller.need_everything(WRITE)
    problems = Problems()
    check_text(problems, body)
    problems.settle()

    async def work(uow: UnitOfWork) -> LinkView:
        user = await uow.get(User, user_id)
        require_live(user)
        require_may_grant(caller, user.permissions, "Linking")  # who is an administrator elsewhere signs in as one
        if len(await uow.page(Link, Query({"user_id": user_id}, limit=MAX_LINKS))) == MAX_LINKS:
            raise Conflict(f"A user may have {MAX_LINKS} links at most.")
        now = authority.clock.now()
        link = await insert_link(uow, user_id, body, now)
        Deed(uow, caller, now).note("user.add_link", user_id, details={"issuer": link.issuer}, event=False)
        return view(link)

    return await authority.change(caller, work)


async def remove(authority: Authority, caller: Caller, user_id: str, link_id: str) -> LinkView:
    """Forget who a user is elsewhere."""
    caller.need_everything(WRITE)

    async def work(uow: UnitOfWork) -> LinkView:
        user = await uow.get(User, user_id)
        require_may_grant(caller, user.permissions, "Linking")  # who is an administrator elsewhere signs in as one
        link = await uow.get(Link, link_id)
        if link.user_id != user_id:
            raise NotFound("link", link_id)
        now = authority.clock.now()
        await uow.update(change(link, Change.DELETE, now))
        await uow.forget(Link, link_id)
        Deed(uow, caller, now).note("user.remove_link", user_id, details={"issuer": link.issuer}, event=False)
        return view(link)

    return await authority.change(caller, work)


async def add_verified(
    uow: UnitOfWork, authority: Authority, caller: Caller, user_id: str, email: str, spec: LinkSpec
) -> None:
    """Remember who a user is at a provider that vouched for their address; raises ``Conflict`` if it is not theirs.

    Everything is looked at again here, in the transaction that signs them in.
    """
    user = await uow.get(User, user_id)
    if user.email != email or not may_be_found(user):
        raise Conflict("The user was changed meanwhile.")
    if len(await uow.page(Link, Query({"user_id": user_id}, limit=MAX_LINKS))) == MAX_LINKS:
        raise Conflict(f"A user may have {MAX_LINKS} links at most.")
    now = authority.clock.now()
    await insert_link(uow, user_id, spec, now)
    Deed(uow, caller, now).note("user.add_link", user_id, details={"issuer": spec.issuer}, event=False)


def may_be_found(user: User) -> bool:
    """Tell whether a user may be found by an address that somebody else verified.

    Theirs must be verified here too, and they must have no power over Keybearer.
    """
    return user.email_verified and not any(own_api.is_own(permission) for permission in user.permissions)


async def insert_link(uow: UnitOfWork, user_id: str, spec: LinkSpec, now: Instant) -> Link:
    """Add a link; raises ``Conflict`` when somebody is that already."""
    link = Link(
        id=LINK_ID + new_id(now),
        created_at=now,
        updated_at=now,
        user_id=user_id,
        issuer=spec.issuer,
        subject=spec.subject,
    )
    await uow.insert(link)
    return link


def view(link: Link) -> LinkView:
    """Return a link as it travels."""
    return LinkView(link.id, link.user_id, link.issuer, link.subject, moment(link.created_at))
