"""What a token of a user rests on: the user, the consent and the session, each of which must stand now."""

from __future__ import annotations

from typing import NamedTuple

from ..core.errors import NotFound
from ..core.grants import Grant
from ..core.instant import Instant
from ..core.oauth_error import InvalidGrant
from ..core.records import State
from ..core.sessions import Session
from ..core.tokens import OFFLINE, TokenFamily
from ..core.users import User
from ..ports import Query, Store, UnitOfWork

_GONE = "What this was issued for has ended: the user, the consent or the session is gone."


class Standing(NamedTuple):
    """The records, each as it is now."""

    user: User | None = None
    grant: Grant | None = None
    session: Session | None = None


async def require_standing(
    reader: UnitOfWork | Store,
    client_id: str,
    now: Instant,
    *,
    user_id: str | None,
    grant_id: str | None = None,
    session_id: str | None = None,
    is_offline: bool = False,
) -> Standing:
    """Return what is pointed at; raises ``InvalidGrant`` when any of it is gone, disabled, over, or another's.

    What rests on ``offline_access`` (``is_offline``) ends when the user takes that out of the consent.
    """
    try:
        user = await reader.get(User, user_id) if user_id else None
        grant = await reader.get(Grant, grant_id) if grant_id else None
        session = await reader.get(Session, session_id) if session_id else None
    except NotFound:
        raise InvalidGrant(_GONE) from None
    if any(record is not None and record.state is not State.ENABLED for record in (user, grant, session)):
        raise InvalidGrant(_GONE)
    if grant is not None and (
        (grant.expires_at is not None and now >= grant.expires_at)
        or grant.client_id != client_id
        or grant.user_id != user_id
        or (is_offline and OFFLINE not in grant.scopes)
    ):
        raise InvalidGrant(_GONE)
    if session is not None and (session.is_over(now) or session.user_id != user_id):
        raise InvalidGrant(_GONE)
    return Standing(user, grant, session)


async def stands(store: Store, family: TokenFamily, now: Instant) -> bool:
    """Tell whether what a family rests on stands now."""
    try:
        await require_standing(
            store,
            family.client_id,
            now,
            user_id=family.user_id,
            grant_id=family.grant_id,
            session_id=family.session_id,
            is_offline=OFFLINE in family.scopes,
        )
    except InvalidGrant:
        return False
    return True


async def consent_of(store: Store, user_id: str, client_id: str, now: Instant) -> Grant | None:
    """Return the grant in force that a user gave a client, or ``None``."""
    query = Query({"user_id": user_id, "client_id": client_id, "state": State.ENABLED.value}, limit=1)
    for grant in await store.page(Grant, query):
        if grant.expires_at is None or now < grant.expires_at:
            return grant
    return None
