"""Sessions: begun by a sign-in, found by their cookie, listed and ended by their owner or an administrator.

Spec: ASVS 7 (128 bits and more, renewed at sign-in, an absolute and an idle end, dead as soon as the user is).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any, Final

from ..core import credential
from ..core.errors import Conflict, NotFound
from ..core.instant import MINUTE, SECOND, Instant
from ..core.lifecycle import Change, change, touch
from ..core.records import State
from ..core.secret import Secret
from ..core.sessions import COOKIE_PREFIX, SESSION_ID, Session
from ..core.users import User
from ..ports import Query, UnitOfWork
from ..wire.base import moment, to_moment
from ..wire.users import EndedSessions, SessionView
from .authority import Authority, Caller, Deed
from .paging import Page, PageQuery, read_page
from .views import record_fields

READ: Final = "keybearer:sessions.read"
WRITE: Final = "keybearer:sessions.write"
MAX_LIVE: Final = 100
"""Sessions that one user may have; one more ends the oldest."""
SEEN_STEP: Final = 5 * MINUTE
"""How exactly it is known when a session was last seen: reading must not write each time."""
MAX_USER_AGENT: Final = 300


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whose cookie it was: a live session, and its user, who is enabled."""

    session: Session
    user: User


async def start(
    uow: UnitOfWork,
    authority: Authority,
    caller: Caller,
    user: User,
    *,
    amr: tuple[str, ...],
    acr: str,
    source: str | None,
    user_agent: str,
    authenticated_at: Instant | None = None,
) -> tuple[Session, Secret]:
    """Begin a session, and return it with the secret of its cookie, which is nowhere else.

    ``authenticated_at`` is when the user proved who they are, where that was not now but earlier, elsewhere.
    """
    now = authority.clock.now()
    public_id = credential.new_id(now)
    secret = credential.mint(COOKIE_PREFIX, public_id)
    pepper_id = authority.keyring.active_pepper_id
    settings = authority.settings
    session = Session(
        id=SESSION_ID + public_id,
        created_at=now,
        updated_at=now,
        user_id=user.id,
        digest=authority.keyring.digest(pepper_id, secret.reveal()),
        pepper_id=pepper_id,
        authenticated_at=now if authenticated_at is None else authenticated_at,
        expires_at=Instant(now + settings.session_in * SECOND),
        idle_in=settings.session_idle_in * SECOND,
        seen_at=now,
        amr=amr,
        acr=acr,
        source=source or "",
        user_agent=_printable(user_agent),
    )
    live = await uow.page(Session, Query({"user_id": user.id, "state": State.ENABLED}, limit=MAX_LIVE))
    if len(live) == MAX_LIVE:
        await end(uow, authority, caller, await uow.get(Session, live[0].id))
    await uow.insert(session)
    Deed(uow, caller, now).note("session.start", session.id, details={"user_id": user.id, "amr": list(amr)})
    return session, secret


async def begin(
    uow: UnitOfWork,
    authority: Authority,
    caller: Caller,
    user: User,
    before: Session | None,
    *,
    amr: tuple[str, ...],
    acr: str,
    source: str | None,
    user_agent: str,
    authenticated_at: Instant | None = None,
) -> tuple[Session, Secret]:
    """Begin a session, or go on with the one that this browser has ``before``, if it is this user's.

    Going on gives it a new cookie and a new time of authentication; the applications that were signed in with it stay
    so. The session of another user ends. Spec: ASVS 7.2.4.
    """
    visit: dict[str, Any] = {
        "amr": amr,
        "acr": acr,
        "source": source,
        "user_agent": user_agent,
        "authenticated_at": authenticated_at,
    }
    try:
        current = None if before is None else await uow.get(Session, before.id)
    except NotFound:  # it was swept meanwhile
        current = None
    if before is None or current is None:
        return await start(uow, authority, caller, user, **visit)
    if current.user_id != user.id:
        await end(uow, authority, caller, current)
        return await start(uow, authority, caller, user, **visit)
    is_good = current.state is State.ENABLED and not current.is_over(authority.clock.now())
    # Another window may have renewed it since this browser's cookie was looked at; its cookie must stay good.
    if not is_good or current.digest != before.digest:
        return await start(uow, authority, caller, user, **visit)
    return await _renew(uow, authority, caller, current, **visit)


async def _renew(
    uow: UnitOfWork,
    authority: Authority,
    caller: Caller,
    session: Session,
    *,
    amr: tuple[str, ...],
    acr: str,
    source: str | None,
    user_agent: str,
    authenticated_at: Instant | None = None,
) -> tuple[Session, Secret]:
    now = authority.clock.now()
    secret = credential.mint(COOKIE_PREFIX, session.id.removeprefix(SESSION_ID))
    pepper_id = authority.keyring.active_pepper_id
    settings = authority.settings
    renewed = touch(
        session,
        now,
        digest=authority.keyring.digest(pepper_id, secret.reveal()),
        pepper_id=pepper_id,
        authenticated_at=now if authenticated_at is None else authenticated_at,
        expires_at=Instant(now + settings.session_in * SECOND),
        idle_in=settings.session_idle_in * SECOND,
        seen_at=now,
        amr=amr,
        acr=acr,
        source=source or "",
        user_agent=_printable(user_agent),
    )
    await uow.update(renewed)
    Deed(uow, caller, now).note("session.renew", session.id, details={"user_id": session.user_id, "amr": list(amr)})
    return renewed, secret


async def find(authority: Authority, cookie: str) -> SignedIn | None:
    """Return whose cookie this is, ``None`` for one that is unknown, over or ended, or whose user is not enabled."""
    parts = credential.split(cookie)
    if parts is None or parts[0] != COOKIE_PREFIX:
        return None
    try:
        session = await authority.store.get(Session, SESSION_ID + parts[1])
        if not hmac.compare_digest(authority.keyring.digest(session.pepper_id, cookie), session.digest):
            return None
        user = await authority.store.get(User, session.user_id)
    except NotFound:
        return None
    now = authority.clock.now()
    if session.state is not State.ENABLED or session.is_over(now) or user.state is not State.ENABLED:
        return None
    if now >= session.seen_at + min(SEEN_STEP, session.idle_in // 4):
        session = await _note_seen(authority, session)
    return SignedIn(session, user)


async def _note_seen(authority: Authority, session: Session) -> Session:
    async def work(uow: UnitOfWork) -> Session:
        current = await uow.get(Session, session.id)
        now = authority.clock.now()
        if current.state is not State.ENABLED or current.is_over(now):
            return current
        seen = touch(current, now, seen_at=now)
        await uow.update(seen)
        # A token that hangs on this session ends when it is idle: caches must know that it is not.
        uow.emit("session.seen", seen.id)
        return seen

    try:
        return await authority.store.transact(work)
    except Conflict:
        return session


async def end(uow: UnitOfWork, authority: Authority, caller: Caller, session: Session) -> Session:
    """End a session for good, with the refresh tokens that live no longer than it; ending it again changes nothing."""
    now = authority.clock.now()
    ended = change(session, Change.REVOKE, now)
    if ended is session:
        return session
    await uow.update(ended)
    for family_id in await uow.revoke_families("session_id", session.id, now):
        uow.emit("family.revoke", family_id)
    Deed(uow, caller, now).note("session.end", session.id, details={"user_id": session.user_id})
    return ended


async def end_all(
    uow: UnitOfWork, authority: Authority, caller: Caller, user_id: str, *, but: str | None = None
) -> int:
    """End all sessions of a user, but perhaps the one in use; returns how many."""
    ended, after = 0, None
    while True:
        found = await uow.page(Session, Query({"user_id": user_id, "state": State.ENABLED}, after, MAX_LIVE))
        for session in found:
            if session.id != but:
                await end(uow, authority, caller, await uow.get(Session, session.id))
                ended += 1
        if len(found) < MAX_LIVE:
            return ended
        after = found[-1].id


def caller_of(signed_in: SignedIn, *, source: str | None = None, request_id: str | None = None) -> Caller:
    """Return the user as the one who acts, for the audit log."""
    return Caller(actor=signed_in.user.id, permissions=frozenset(), source=source, request_id=request_id)


# What their owner sees and does


async def own(authority: Authority, signed_in: SignedIn) -> list[Session]:
    """Return the live sessions of whoever is signed in, the newest first."""
    now = authority.clock.now()
    where = {"user_id": signed_in.user.id, "state": State.ENABLED}
    found = await authority.store.page(Session, Query(where, limit=MAX_LIVE))
    return [session for session in reversed(found) if not session.is_over(now)]


async def end_own(authority: Authority, signed_in: SignedIn, session_id: str, *, source: str | None = None) -> None:
    """End one of one's own sessions; another user's does not exist."""
    caller = caller_of(signed_in, source=source)

    async def work(uow: UnitOfWork) -> None:
        session = await uow.get(Session, session_id)
        if session.user_id != signed_in.user.id:
            raise NotFound("session", session_id)
        await end(uow, authority, caller, session)

    await authority.store.transact(work)


async def end_own_others(authority: Authority, signed_in: SignedIn, *, source: str | None = None) -> int:
    """End all of one's own sessions but the one in use."""
    caller = caller_of(signed_in, source=source)
    return await authority.store.transact(
        lambda uow: end_all(uow, authority, caller, signed_in.user.id, but=signed_in.session.id)
    )


# What an administrator sees and does


async def get(authority: Authority, caller: Caller, session_id: str) -> SessionView:
    """Return a session."""
    caller.need_everything(READ)
    return view(await authority.store.get(Session, session_id), authority.clock.now())


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[SessionView]:
    """Return one page of sessions."""
    caller.need_everything(READ)
    found = await read_page(authority.store, Session, query)
    now = authority.clock.now()
    return Page([view(session, now) for session in found.items], found.after)


async def end_one(authority: Authority, caller: Caller, session_id: str) -> SessionView:
    """End a session for good."""
    caller.need_everything(WRITE)

    async def work(uow: UnitOfWork) -> SessionView:
        session = await end(uow, authority, caller, await uow.get(Session, session_id))
        return view(session, authority.clock.now())

    return await authority.change(caller, work)


async def end_all_of(authority: Authority, caller: Caller, user_id: str) -> EndedSessions:
    """End every session of a user."""
    caller.need_everything(WRITE)

    async def work(uow: UnitOfWork) -> EndedSessions:
        await uow.get(User, user_id)
        return EndedSessions(await end_all(uow, authority, caller, user_id))

    return await authority.change(caller, work)


def view(session: Session, now: Instant) -> SessionView:
    """Return a session as it travels; never what opens it."""
    return SessionView(
        **record_fields(session),
        user_id=session.user_id,
        is_live=session.state is State.ENABLED and not session.is_over(now),
        authenticated_at=moment(session.authenticated_at),
        seen_at=moment(session.seen_at),
        expires_at=moment(session.expires_at),
        revoked_at=to_moment(session.revoked_at),
        amr=list(session.amr),
        acr=session.acr,
        source=session.source,
        user_agent=session.user_agent,
    )


def _printable(user_agent: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in user_agent[:MAX_USER_AGENT])
