"""Credentials that came in URLs: whose they are is found out afterwards, and counted by key, hour and address.

Only requests that carry one there pay for it, with a note in memory; the store is written once a second. A policy may
want an incident for each. Spec: CWE-598.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from ..core.errors import KeybearerError
from ..core.instant import HOUR
from ..core.secret import Secret
from ..core.sources import Address
from ..ports import IN_URL, FacetRow, UsageBatch
from .authority import SYSTEM, Authority

log = logging.getLogger(__name__)

MAX_WAITING: Final = 200
"""Different credentials that are looked into at once; what comes beyond them within a second is not counted."""
MAX_TEXT: Final = 8192


class UrlWatch:
    """Hears of credentials in URLs; one object serves a process."""

    def __init__(self, authority: Authority, *, flush_interval: float = 1.0) -> None:
        self._authority = authority
        self._flush_interval = flush_interval
        self._secrets: dict[bytes, Secret] = {}
        self._seen: Counter[tuple[bytes, str, str, str]] = Counter()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    def seen(self, secrets: Sequence[Secret], source: Address | None, where: str, code: str) -> None:
        """Note credentials of one request; ``where`` says at which door, ``code`` what it was answered."""
        for secret in secrets:
            text = secret.reveal()
            if len(text) > MAX_TEXT:
                continue
            fingerprint = sha256(text.encode(errors="replace")).digest()
            if fingerprint not in self._secrets and len(self._secrets) >= MAX_WAITING:
                self.dropped += 1
                continue
            self._secrets[fingerprint] = secret
            place = (fingerprint, "" if source is None else str(source), where, code)
            if place in self._seen or len(self._seen) < 10 * MAX_WAITING:
                self._seen[place] += 1
            else:
                self.dropped += 1

    # Life.

    def start(self) -> None:
        """Begin to look into them in the background."""
        self._task = asyncio.create_task(self._run(), name="keybearer-url-watch")

    async def stop(self) -> None:
        """Stop, and look into what is left."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(KeybearerError):
            await self.flush()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._flush_interval)
            try:
                await self.flush()
            except KeybearerError as error:
                log.warning("uses in URLs could not be stored", extra={"error": error.detail or error.public})
            except Exception:
                # The loop must outlive a defect of one flush; its counts are lost, and said to be.
                log.exception("uses in URLs could not be stored")

    async def flush(self) -> None:
        """Find out whose the noted credentials are, count them, and let the secrets go."""
        secrets, self._secrets = self._secrets, {}
        seen, self._seen = self._seen, Counter()
        if not secrets:
            return
        # Loaded when it is first needed: most nodes never see a credential in a URL.
        from ..core.incidents import Sighting, SourceKind
        from ..core.leaks import Measure
        from .leak_finder import find_all
        from .leak_policies import effective
        from .leaks import respond

        authority = self._authority
        found = await find_all(authority, list(secrets.values()), with_slow_hashes=False)
        known = {mark: leaked for mark, leaked in zip(secrets, found, strict=True) if leaked is not None}
        now = authority.clock.now()
        rows: Counter[tuple[str, str, str, str]] = Counter()
        alerts = []
        wanted: dict[str, bool] = {}
        for (mark, source, where, code), count in seen.items():
            leaked = known.get(mark)
            if leaked is None:
                continue
            rows[leaked.project_id, leaked.counted_as, source, code] += count
            if leaked.project_id not in wanted:
                rules = await effective(authority, leaked.project_id)
                wanted[leaked.project_id] = rules.in_urls is not Measure.IGNORE
            if wanted[leaked.project_id]:
                alerts.append((leaked, Sighting(SourceKind.URL, where, now, client_ip=source or None)))
        if rows:
            facets = [
                FacetRow(now // HOUR, project, key, IN_URL, source, code, n)
                for (project, key, source, code), n in rows.items()
            ]
            await authority.store.add_usage(UsageBatch(facets=tuple(facets)))
        if alerts:
            await respond(authority, SYSTEM, alerts, act=True, at_most_alert=True)
