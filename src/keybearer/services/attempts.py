"""How often somebody may be wrong: at most 100 times in a row for each account, without locking its owner out.

An attempt is counted *before* it is checked, so that many at the same time cannot exceed the bound, and taken back when
it was right. A browser that its owner signed in with before is known by a cookie and has attempts of its own: what
strangers use up does not touch it. An owner whose account strangers have used up can also come in by a passkey, or by a
reset link, which starts the count afresh. Spec: ASVS 6.1.1, 6.3.1, SP 800-63B-4 §3.2.2.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
from dataclasses import dataclass, replace
from typing import Final

from ..core import credential
from ..core.artefacts import Artefact, ArtefactKind
from ..core.errors import Conflict, NotFound
from ..core.instant import DAY, Instant
from ..core.lifecycle import touch
from ..core.secret import Secret
from ..core.users import Factors, User, factors_id
from ..ports import UnitOfWork
from .authority import SYSTEM, Authority, Deed

log = logging.getLogger(__name__)

MAX_FAILURES: Final = 100
"""Consecutive failures of an account from browsers that it does not know."""
MAX_DEVICE_FAILURES: Final = 10
"""Consecutive failures from one known browser, which then counts as unknown."""
DEVICE_PREFIX: Final = "kb_kd"
DEVICE_IN: Final = 90 * DAY
DECOYS: Final = 1024
"""Rows that stand for accounts that do not exist, so that trying one costs a write like any other."""


@dataclass(frozen=True, slots=True)
class Chance:
    """One attempt that was counted. ``factors`` as they stand; ``device`` when the browser is known."""

    is_open: bool
    factors: Factors | None = None
    device: Artefact | None = None


async def take(authority: Authority, user: User | None, email: str, device: str) -> Chance:
    """Count an attempt at an account, there or not, in a transaction of its own; look at ``is_open``."""
    return await authority.store.transact(lambda uow: take_in(uow, authority, user, email, device))


async def take_in(uow: UnitOfWork, authority: Authority, user: User | None, email: str, device: str) -> Chance:
    """Like ``take``, inside a transaction, which must then be committed."""
    now = authority.clock.now()
    # The same order of locks as where a sign-in is completed: first the factors, then the browser.
    factors = None if user is None else await uow.get(Factors, factors_id(user.id))
    known = await _known_device(uow, authority, device)
    if user is None or factors is None:
        await _take_decoy(uow, authority, email, now)
        return Chance(False)
    is_known = known is not None and known.subject == user.id and now < known.expires_at
    if known is not None and is_known and known.attempts < MAX_DEVICE_FAILURES:
        counted = replace(known, attempts=known.attempts + 1)
        await uow.update_artefact(counted)
        return Chance(True, factors, counted)
    is_open = factors.failures < MAX_FAILURES
    # Written also when it changes nothing: a shut account must not be told by a faster answer.
    after = touch(factors, now, failures=min(factors.failures + 1, MAX_FAILURES), failed_at=now)
    await uow.update(after)
    if is_open and after.failures == MAX_FAILURES:
        Deed(uow, SYSTEM, now).note("user.shut", user.id, details={"failures": MAX_FAILURES}, event=False)
    return Chance(is_open, after)


async def give_back(authority: Authority, chance: Chance) -> None:
    """Take one counted attempt back: it was right, but more is asked for."""

    async def work(uow: UnitOfWork) -> None:
        if chance.device is not None:
            device = await uow.get_artefact(ArtefactKind.KNOWN_DEVICE, chance.device.id)
            await uow.update_artefact(replace(device, attempts=max(device.attempts - 1, 0)))
        elif chance.factors is not None:
            factors = await uow.get(Factors, chance.factors.id)
            await uow.update(touch(factors, authority.clock.now(), failures=max(factors.failures - 1, 0)))

    await authority.store.transact(work)


async def remember_device(uow: UnitOfWork, authority: Authority, user: User, presented: str) -> Secret | None:
    """After a sign-in: let the known browser begin afresh, or make the browser known and return its new cookie."""
    now = authority.clock.now()
    known = await _known_device(uow, authority, presented)
    if known is not None and known.subject == user.id and now < known.expires_at:
        await uow.update_artefact(replace(known, attempts=0, expires_at=Instant(now + DEVICE_IN)))
        return None
    public_id = credential.new_id(now)
    secret = credential.mint(DEVICE_PREFIX, public_id)
    pepper_id = authority.keyring.active_pepper_id
    await uow.add_artefact(
        Artefact(
            kind=ArtefactKind.KNOWN_DEVICE,
            id=public_id,
            created_at=now,
            expires_at=Instant(now + DEVICE_IN),
            digest=authority.keyring.digest(pepper_id, secret.reveal()),
            pepper_id=pepper_id,
            subject=user.id,
        )
    )
    return secret


async def _known_device(uow: UnitOfWork, authority: Authority, presented: str) -> Artefact | None:
    parts = credential.split(presented) if presented else None
    if parts is None or parts[0] != DEVICE_PREFIX:
        return None
    try:
        device = await uow.get_artefact(ArtefactKind.KNOWN_DEVICE, parts[1])
    except NotFound:
        return None
    digest = authority.keyring.digest(device.pepper_id, presented)
    return device if hmac.compare_digest(digest, device.digest) else None


async def _take_decoy(uow: UnitOfWork, authority: Authority, email: str, now: Instant) -> None:
    chosen = hmac.digest(authority.keyring.derived("decoy"), email.encode("utf-8", "surrogatepass"), "sha256")
    decoy_id = f"decoy{int.from_bytes(chosen[:4]) % DECOYS:04}"
    expires_at = Instant(now + DAY)
    try:
        decoy = await uow.get_artefact(ArtefactKind.DECOY, decoy_id)
    except NotFound:
        with contextlib.suppress(Conflict):  # somebody else was faster, and it is only a decoy
            await uow.add_artefact(Artefact(ArtefactKind.DECOY, decoy_id, now, expires_at, attempts=1))
        return
    await uow.update_artefact(replace(decoy, attempts=decoy.attempts + 1, expires_at=expires_at))
