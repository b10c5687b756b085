"""Counting what verify answered: in memory as it happens, in the store once a second. Verify itself never writes.

Counters are bounded: a flood of bad credentials fills neither memory nor disk. What a crash can lose is at most one
flush interval of counts; credits and quotas do not pass through here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from ..core.audit_chain import AuditDraft
from ..core.errors import Rejected, Unavailable
from ..core.instant import Instant
from ..core.principal import Principal
from ..core.records import KeyRecord, SecretVersion
from ..core.requirement import Requirement
from ..core.standing import Standing
from ..ports import ISSUED, Clock, FacetRow, KeyUse, Store, UsageBatch, UsageRow

log = logging.getLogger(__name__)

MINUTE: Final = 60_000_000
HOUR: Final = 3_600_000_000
MAX_COUNTERS: Final = 50_000
MAX_DENIALS_PER_MINUTE: Final = 200
MAX_OUTDATED: Final = 1_000
OTHER: Final = "(other)"


class Outdated(NamedTuple):
    """A secret that was accepted under an old pepper or a foreign hash, and the digest to store in its place."""

    record: KeyRecord
    version: SecretVersion
    digest: bytes


_UsageKey = tuple[int, str, str, str, str]
_FacetKey = tuple[int, str, str, str, object, str]
_DenialKey = tuple[str, str, str]


class UsageRecorder:
    """Implements ``ports.Observer``. ``on_counts`` hears how often each code was answered, for the metrics."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        flush_interval: float = 1.0,
        on_counts: Callable[[Mapping[str, int]], None] = lambda counts: None,
        rehash: Callable[[Outdated], Awaitable[object]] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._flush_interval = flush_interval
        self._on_counts = on_counts
        self._rehash = rehash
        self._usage: defaultdict[_UsageKey, int] = defaultdict(int)
        self._facets: defaultdict[_FacetKey, int] = defaultdict(int)
        self._uses: dict[tuple[str, int], Instant] = {}
        self._standing: list[Standing] = []
        self._standing_minute = 0
        self._denials: defaultdict[_DenialKey, int] = defaultdict(int)
        self._denials_since: Instant = clock.now()
        self._outdated: dict[tuple[str, int], Outdated] = {}
        self._task: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()
        self.dropped = 0

    # Hearing: runs on the hot path.

    def verified(self, principal: Principal, requirement: Requirement, now: Instant) -> None:
        """Count an accepted credential."""
        record = principal.record
        key_id, project_id = record.counted_as, record.project.id
        api = requirement.api
        self._usage[now // MINUTE, project_id, key_id, api.id if api is not None else "", "VALID"] += 1
        if principal.version:
            self._uses[key_id, principal.version] = now
        if requirement.client_ip is not None or requirement.tags:
            self._count_facets(project_id, key_id, requirement, "VALID", now)

    def verified_again(self, standing: Standing, now: Instant) -> None:
        """Count an accepted credential on what was found out about it; it is entered by the minute, or at a flush."""
        if now // MINUTE != self._standing_minute:
            self._enter_standing(now)
        if not standing.uses:
            self._standing.append(standing)
        standing.uses += 1
        standing.last_used = now

    def issued(self, project_id: str, client_id: str, api_id: str, now: Instant) -> None:
        """Count a token that was issued, under the client; ``ISSUED`` is no code of verify."""
        self._bounded(self._usage, (now // MINUTE, project_id, client_id, api_id, ISSUED))

    def outdated(self, record: KeyRecord, version: SecretVersion, digest: bytes) -> None:
        """Remember to re-hash an accepted secret."""
        if len(self._outdated) < MAX_OUTDATED:
            self._outdated[record.key.id, version.number] = Outdated(record, version, digest)

    def rejected(self, rejection: Rejected, attempted_id: str, requirement: Requirement, now: Instant) -> None:
        """Count a refused credential; one that matched no secret counts for no key, whatever id it claimed."""
        record = rejection.record
        project_id, key_id = (record.project.id, record.counted_as) if record is not None else ("", "")
        code = rejection.code.value
        api_id = requirement.api.id if requirement.api is not None else ""
        self._bounded(self._usage, (now // MINUTE, project_id, key_id, api_id, code))
        if requirement.client_ip is not None or requirement.tags:
            self._count_facets(project_id, key_id, requirement, code, now)
        source = str(requirement.client_ip) if requirement.client_ip is not None else ""
        denial = (code, key_id or attempted_id, source)
        if denial in self._denials or len(self._denials) < MAX_DENIALS_PER_MINUTE:
            self._denials[denial] += 1
        else:
            self._denials[code, OTHER, OTHER] += 1

    def _enter_standing(self, now: Instant) -> None:
        """Enter what was counted on standing findings, under the minute of that; begin to count in that of ``now``."""
        standing, self._standing = self._standing, []
        self._standing_minute = now // MINUTE
        for one in standing:
            uses, at = one.uses, Instant(one.last_used)
            one.uses = 0
            self._enter(one, uses, at)
            if one.asker is not None:
                self._enter(one.asker, uses, at)

    def _enter(self, standing: Standing, uses: int, at: Instant) -> None:
        if standing.principal is None:
            return
        record, version = standing.principal
        requirement = standing.requirement
        key_id, project_id, api = record.counted_as, record.project.id, requirement.api
        self._usage[at // MINUTE, project_id, key_id, api.id if api is not None else "", "VALID"] += uses
        if version:
            self._uses[key_id, version] = max(at, self._uses.get((key_id, version), at))
        if requirement.client_ip is not None or requirement.tags:
            self._count_facets(project_id, key_id, requirement, "VALID", at, uses)

    def _count_facets(
        self, project_id: str, key_id: str, requirement: Requirement, code: str, now: Instant, count: int = 1
    ) -> None:
        hour = now // HOUR
        if requirement.client_ip is not None:
            self._bounded(self._facets, (hour, project_id, key_id, "source", requirement.client_ip, code), count)
        for tag in requirement.tags:
            self._bounded(self._facets, (hour, project_id, key_id, "tag", tag, code), count)

    def _bounded(self, counters: defaultdict[tuple, int], key: tuple, count: int = 1) -> None:  # type: ignore[type-arg]
        if len(counters) < MAX_COUNTERS or key in counters:
            counters[key] += count
        else:
            self.dropped += count

    # Flushing.

    def start(self) -> None:
        """Begin to flush in the background."""
        self._task = asyncio.create_task(self._run(), name="keybearer-usage-flush")

    async def stop(self) -> None:
        """Stop the background task and flush what is left."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(Unavailable):
            await self.flush(final=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._flush_interval)
            try:
                await self.flush()
            except Unavailable as error:
                log.warning("usage could not be stored and is kept", extra={"error": error.detail or error.public})
            except Exception:
                # The loop must outlive a flush that the store will never take; its counts are lost, and said to be.
                log.exception("usage could not be stored and is dropped")

    async def flush(self, *, final: bool = False) -> None:
        """Store what was counted; on ``Unavailable`` the counts stay and are tried again."""
        async with self._flushing:
            await self._flush(final)
            await self._rehash_outdated()

    async def _flush(self, final: bool) -> None:
        now = self._clock.now()
        self._enter_standing(now)
        usage, self._usage = self._usage, defaultdict(int)
        facets, self._facets = self._facets, defaultdict(int)
        uses, self._uses = self._uses, {}
        denials: Mapping[_DenialKey, int] = {}
        if final or now - self._denials_since >= MINUTE or now < self._denials_since:
            denials, self._denials = self._denials, defaultdict(int)
        if not (usage or facets or uses or denials):
            return
        batch = UsageBatch(
            usage=tuple(UsageRow(*key, count) for key, count in usage.items()),
            facets=tuple(
                FacetRow(hour, project, key, facet, str(value), code, count)
                for (hour, project, key, facet, value, code), count in facets.items()
            ),
            uses=tuple(KeyUse(key_id, version, at) for (key_id, version), at in uses.items()),
            audit=tuple(
                AuditDraft(
                    at=now,
                    actor="",
                    action="verify.denied",
                    target=attempted,
                    outcome=code,
                    source=source or None,
                    details={"count": count, "since": self._denials_since},
                )
                for (code, attempted, source), count in denials.items()
            ),
        )
        try:
            await self._store.add_usage(batch)
        except Unavailable:
            self._put_back(usage, facets, uses, denials)
            raise
        if denials or now < self._denials_since:
            self._denials_since = now
        by_code: defaultdict[str, int] = defaultdict(int)
        for key, count in usage.items():
            by_code[key[4]] += count
        self._on_counts(by_code)

    def _put_back(
        self,
        usage: Mapping[_UsageKey, int],
        facets: Mapping[_FacetKey, int],
        uses: Mapping[tuple[str, int], Instant],
        denials: Mapping[_DenialKey, int],
    ) -> None:
        for mine, kept in ((self._usage, usage), (self._facets, facets), (self._denials, denials)):
            for key, count in kept.items():
                if len(mine) < MAX_COUNTERS or key in mine:
                    mine[key] += count  # type: ignore[index]
                else:
                    self.dropped += count
        self._uses = {**uses, **self._uses}

    async def _rehash_outdated(self) -> None:
        outdated, self._outdated = self._outdated, {}
        if self._rehash is None:
            return
        for item in outdated.values():
            try:
                await self._rehash(item)
            except Unavailable:
                return  # the next use of the key brings it back
