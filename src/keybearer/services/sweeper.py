"""What happens on its own: quiet secrets retire, secrets move to the active pepper, what has expired leaves the store.

Each step is safe to run on several nodes at once, and to be stopped anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Final

from ..core.errors import Conflict, KeybearerError, NotFound
from ..core.instant import SECOND, Instant
from ..core.lifecycle import VersionState, version_state
from ..core.records import ApiKey, SecretVersion, State
from ..formats import foreign
from ..ports import Clock, KeyUse, Store, UnitOfWork
from .authority import SYSTEM, Authority, Deed
from .rotation import rehashed, retired_early
from .usage_recorder import Outdated

log = logging.getLogger(__name__)

MAX_RETIRING: Final = 1000
FIRST_BATCH: Final = 1000
"""How many rows of a table are removed at once until it is known how long that takes."""
MAX_BATCH: Final = 2000
"""More at once gain little, and make others wait for a longer copy of the write-ahead log."""
BATCH_NS: Final = 20_000_000
"""How long one batch may take; a slower one is followed by a smaller one, and one far faster by a larger one."""


class Sweeper:
    """Runs ``sweep_once`` every ``settings.sweep_interval`` seconds."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(self._run(), name="keybearer-sweeper")

    async def stop(self) -> None:
        """Stop; a step that runs is given up, and its transaction with it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._authority.settings.sweep_interval)
            try:
                await sweep_once(self._authority)
            except KeybearerError as error:
                log.warning("the sweep was cut short and is tried again", extra={"error": error.detail or error.public})
            except Exception:
                # The loop must outlive a defect of one sweep; the next one may well succeed.
                log.exception("the sweep failed")


async def sweep_once(authority: Authority) -> None:
    """Retire what is quiet, then let the store remove what has expired or was deleted long ago, batch by batch."""
    await retire_quiet(authority)
    await sweep_store(authority.store, authority.clock)


async def sweep_store(store: Store, clock: Clock) -> None:
    """Let the store remove all that has expired, in batches that take about as long as others may be kept waiting.

    Between two batches, whoever waits to write has a turn.
    """
    more, batch = (await store.sweep(clock.now(), FIRST_BATCH)).more, FIRST_BATCH
    while more:
        began = clock.monotonic_ns()
        more = (await store.sweep(clock.now(), batch, more)).more
        took = (clock.monotonic_ns() - began) / len(more or "1")
        if took > BATCH_NS:
            batch = max(FIRST_BATCH // 4, batch // 2)
        elif took < BATCH_NS // 4:
            batch = min(MAX_BATCH, batch * 2)


async def retire_quiet(authority: Authority) -> int:
    """End secrets on their way out that nobody has used for their ``quiet_in``; returns of how many keys."""
    keys = await authority.store.retiring_keys(MAX_RETIRING)
    if not any(version.quiet_in is not None for key in keys for version in key.versions):
        return 0
    uses = await authority.store.uses([key.id for key in keys])
    retired = 0
    for key in keys:
        mine = [use for use in uses if use.key_id == key.id]
        if quiet_versions(key, mine, authority.clock.now(), _margin(authority)):
            retired += await authority.store.transact(partial(_retire, authority=authority, seen=key, uses=mine))
    return retired


def quiet_versions(key: ApiKey, uses: list[KeyUse], now: Instant, margin: int) -> frozenset[int]:
    """Return the numbers of the secrets that have been quiet long enough.

    Quiet time begins with the last use, or with the rotation: the birth of the next version. ``margin`` covers uses
    that other nodes have not written down yet.
    """
    last_used = {use.version: use.last_used_at for use in uses}
    born = {version.number: version.created_at for version in key.versions}
    quiet = set()
    for version in key.versions:
        if version.quiet_in is None or version_state(version, now) is not VersionState.RETIRING:
            continue
        rotated_at = min((at for number, at in born.items() if number > version.number), default=version.created_at)
        since = max(rotated_at, last_used.get(version.number, rotated_at))
        if now >= since + version.quiet_in + margin:
            quiet.add(version.number)
    return frozenset(quiet)


def _margin(authority: Authority) -> int:
    return int(2 * authority.settings.usage_flush_interval * SECOND)


async def _retire(uow: UnitOfWork, authority: Authority, seen: ApiKey, uses: list[KeyUse]) -> bool:
    key = await uow.get(ApiKey, seen.id)
    now = authority.clock.now()
    numbers = quiet_versions(key, uses, now, _margin(authority))
    if not numbers or key.state not in (State.ENABLED, State.DISABLED):
        return False
    await uow.update(retired_early(key, numbers, now))
    Deed(uow, SYSTEM, now).note(
        "key.retire_quiet", key.id, project_id=key.project_id, details={"versions": sorted(numbers)}
    )
    return True


async def rehash(authority: Authority, outdated: Outdated) -> bool:
    """Store an accepted secret under the active pepper, if it is still the one that was accepted.

    Nothing but the way the secret is stored changes: state, expiry and revocation stay as they are now.
    """
    seen, pepper_id = outdated.version, authority.keyring.active_pepper_id

    async def work(uow: UnitOfWork) -> bool:
        key = await uow.get(ApiKey, outdated.record.key.id)
        stored = next((version for version in key.versions if version.number == seen.number), None)
        if stored is None or not _is_same_secret(stored, seen) or key.state is State.DELETED:
            return False
        fresh = SecretVersion(
            number=stored.number,
            digest=outdated.digest,
            created_at=stored.created_at,
            pepper_id=pepper_id,
            expires_at=stored.expires_at,
            revoked_at=stored.revoked_at,
            quiet_in=stored.quiet_in,
        )
        lookup = key.foreign_lookup
        if lookup is not None and stored.number == 1:
            # An imported key is looked up by its digest: the way to find it moves with it.
            scheme, lookup = foreign.native_lookup(pepper_id, outdated.digest)
            if await uow.add_foreign_scheme(scheme):
                uow.emit("foreign.add", scheme)
        now = authority.clock.now()
        await uow.update(rehashed(key, fresh, lookup, now))
        Deed(uow, SYSTEM, now).note(
            "key.rehash",
            key.id,
            project_id=key.project_id,
            details={"version": stored.number, "from": stored.scheme, "pepper": pepper_id},
        )
        return True

    try:
        return await authority.store.transact(work)
    except (NotFound, Conflict):
        return False


def _is_same_secret(stored: SecretVersion, seen: SecretVersion) -> bool:
    return (stored.digest, stored.scheme, stored.pepper_id) == (seen.digest, seen.scheme, seen.pepper_id)
