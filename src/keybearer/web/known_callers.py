"""Service keys that may verify, remembered: a guard asks thousands of times a second with the same one.

Only keys whose verify can have no other outcome until something about them changes are remembered: no limits, credits,
restrictions or expiry. The memory counts only while the cache answers with the very same record and API (so a revoke
ends it at the next request), and every use is still counted. See ADR 5.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from ..core.principal import Principal, Verified
from ..core.records import Api
from ..core.requirement import Requirement
from ..ports import Clock, NotReady, Observer, Records

MAX_CALLERS: Final = 1024
HeaderList = list[tuple[bytes, bytes]]


class KnownCallers:
    """Callers by the SHA-256 of their ``Authorization`` header."""

    def __init__(self, records: Records, observer: Observer, clock: Clock) -> None:
        self._records = records
        self._observer = observer
        self._clock = clock
        self._known: dict[bytes, tuple[Principal, Api | None, Requirement]] = {}

    def recognise(self, headers: HeaderList, own: Api | None) -> bool:
        """Tell whether these headers bring a caller that is known and has not changed; counts the use."""
        fingerprint = _fingerprint(headers)
        known = self._known.get(fingerprint) if fingerprint is not None else None
        if known is None:
            return False
        principal, api, requirement = known
        record = principal.record
        try:
            unchanged = api is own and self._records.find_now(record.key.id) is record
        except NotReady:
            unchanged = False
        if not unchanged:
            return False
        self._observer.verified(principal, requirement, self._clock.now())
        return True

    def remember(self, headers: HeaderList, own: Api | None, verified: Verified) -> None:
        """Remember a caller that was verified just now, if only a change of its record could alter the outcome."""
        principal = verified.principal
        record = principal.record
        ends = record.key.expires_at or any(version.expires_at for version in record.key.versions)
        limited = record.standard_takes or not record.is_standard or record.is_restricted
        fingerprint = _fingerprint(headers)
        if fingerprint is None or ends or limited or (record.plan is None and own is not None and own.default_plan_id):
            return
        if record.key.foreign_lookup is not None:
            return
        if len(self._known) >= MAX_CALLERS:
            self._known.clear()
        self._known[fingerprint] = (principal, own, Requirement(api=own))


def _fingerprint(headers: HeaderList) -> bytes | None:
    """Return what stands for the one ``Authorization`` header, or ``None`` when that is not the only credential."""
    found = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                return None
            found = value
        elif name == b"x-api-key":
            return None
    return None if found is None else sha256(found).digest()
