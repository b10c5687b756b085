"""Signing keys in the hands of operators: listed, rotated ahead of time, and revoked when one got out."""

from __future__ import annotations

from typing import Final

from ..core.errors import Conflict, InvalidInput
from ..core.instant import Instant
from ..core.lifecycle import Change
from ..core.signing_keys import Phase, SigningKey
from ..wire.base import moment, to_moment
from ..wire.signing_keys import RotateSigningKey, SigningKeyView
from .authority import Authority, Caller
from .paging import Page, PageQuery, read_page
from .signing_keys import ALGORITHMS, PUBLISH_AHEAD_IN
from .standing import change_state
from .views import record_fields

READ: Final = "keybearer:signing_keys.read"
WRITE: Final = "keybearer:signing_keys.write"


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[SigningKeyView]:
    """Return one page of signing keys, those that are gone too."""
    caller.need_everything(READ)
    found = await read_page(authority.store, SigningKey, query)
    now = authority.clock.now()
    return Page([view(key, now) for key in found.items], found.after)


async def get(authority: Authority, caller: Caller, key_id: str) -> SigningKeyView:
    """Return a signing key."""
    caller.need_everything(READ)
    return view(await authority.store.get(SigningKey, key_id), authority.clock.now())


async def rotate(authority: Authority, caller: Caller, body: RotateSigningKey) -> SigningKeyView:
    """Make the next key of an algorithm: published at once, signing in a day, or immediately where asked."""
    caller.need_everything(WRITE)
    if body.algorithm not in ALGORITHMS:
        raise InvalidInput.of("algorithm", f"must be one of {', '.join(ALGORITHMS)}")
    now = authority.clock.now()
    waiting = [
        key
        for key in await authority.signing_keys.all()
        if key.algorithm == body.algorithm and key.phase(now) is Phase.NEXT
    ]
    if waiting and not body.at_once:
        raise Conflict(f"The next key {waiting[0].id!r} is published already, and takes over by itself.")
    at = now if body.at_once else Instant(now + PUBLISH_AHEAD_IN)
    return view(await authority.signing_keys.create(caller, body.algorithm, at), now)


async def revoke(authority: Authority, caller: Caller, key_id: str) -> SigningKeyView:
    """Refuse a key, and every JWT that it signed, for good; the next signature makes or uses another key."""
    caller.need_everything(WRITE)
    now = authority.clock.now()
    return await change_state(authority, caller, SigningKey, key_id, Change.REVOKE, lambda key: view(key, now))


def view(key: SigningKey, now: Instant) -> SigningKeyView:
    """Return a signing key as it travels: its public half."""
    return SigningKeyView(
        **record_fields(key),
        algorithm=key.algorithm,
        phase=key.phase(now),
        public_jwk=dict(key.public_jwk),
        activates_at=moment(key.activates_at),
        retires_at=to_moment(key.retires_at),
        ends_at=to_moment(key.ends_at),
        revoked_at=to_moment(key.revoked_at),
    )
