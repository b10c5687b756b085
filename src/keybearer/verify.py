"""The hot path: from a presented credential to a principal, each step once, in one direction.

``verify_now`` answers at once from records that may be trusted; ``verify`` is the same path where a read from the
network or a durable charge must come in between. Both raise ``Rejected`` on a denial, so that a caller who ignores the
result still fails closed. Spec: DESIGN §3.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from hashlib import sha256
from typing import Final, NamedTuple

from . import formats
from .budget import Budget, budget_of
from .core.decide import decide, match
from .core.decide_token import decide_token
from .core.errors import Code, Rejected, Unavailable
from .core.instant import Instant
from .core.principal import Principal, Verified
from .core.quota import LimitState
from .core.records import NATIVE, CredentialRecord, KeyRecord, SecretVersion, State
from .core.remembered import Remembered, end_of, may_be_remembered, remember
from .core.requirement import Requirement
from .core.standing import Standing
from .core.tokens import TokenRecord
from .formats import UnverifiedForeignKey, UnverifiedJwt, UnverifiedKey, UnverifiedToken, foreign
from .ports import Charged, Clock, ImmediateLimiter, Keyring, Limiter, NotReady, Observer, Records, Store, Throttle
from .token_finder import JwtReader, TokenFinder

MAX_KNOWN: Final = 50_000
MAX_SLOW_WAITING: Final = 64
"""Checks against the slow hashes of imported keys that may wait at once; more are answered 503, not queued for ever."""
NOBODY: Final[tuple[CredentialRecord | None, SecretVersion | None]] = (None, None)


class Engines(NamedTuple):
    """What verify works with. ``immediate`` is the limiter, if it can answer at once; ``jwts`` reads JWTs, if any."""

    records: Records
    store: Store
    keyring: Keyring
    limiter: Limiter
    immediate: ImmediateLimiter | None
    clock: Clock
    observer: Observer
    throttle: Throttle
    jwts: JwtReader | None = None


class Verifier:
    """Verify credentials. One object serves every edge: the API, forward-auth, the guards."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._records = engines.records
        self._immediate = engines.immediate
        self._now = engines.clock.now
        self._observer = engines.observer
        self._digest = engines.keyring.digest
        self._active_pepper_id = engines.keyring.active_pepper_id
        self._tokens = TokenFinder(engines.records, engines.keyring, engines.jwts)
        self._known: dict[bytes, tuple[CredentialRecord, SecretVersion | None]] = {}
        self._slow_checks = asyncio.Semaphore(2)
        self._slow_waiting = 0

    @property
    def engines(self) -> Engines:
        """What this verifier works with, for those who count and throttle as it does."""
        return self._engines

    def verify_now(self, text: str, requirement: Requirement) -> Verified:
        """Return who calls, without waiting. Raises ``Rejected``; ``NotReady`` before anything was taken or counted."""
        now = self._now()
        claimed = ""
        try:
            if requirement.client_ip is not None:
                self._slow_down(requirement)
            fingerprint = sha256(text.encode()).digest()
            record, version = self._known.get(fingerprint, NOBODY)
            if record is None or not self._is_current(record):
                unverified = formats.parse(text)
                if isinstance(unverified, UnverifiedKey):
                    claimed = unverified.key_id
                    key = self._records.find_now(claimed)
                    record, version = key, self._match(key, text) if key else None
                elif isinstance(unverified, UnverifiedForeignKey):
                    record, version = self._find_foreign_now(text)
                else:
                    claimed = _id_in(unverified)
                    record, version = self._tokens.find_now(unverified, text), None
                self._remember(fingerprint, record, version)
            principal = self._decide(record, version, requirement, now)
            budget = budget_of(principal.record, requirement, self._records)
            if budget.is_durable or self._immediate is None:
                raise NotReady
            limits = self._immediate.take_now(budget.takes) if budget.takes else None
            if limits is not None and not limits.admitted:
                raise _rate_limited(principal, limits.states, limits.retry_in)
        except Rejected as rejection:
            self._refused(rejection, claimed, requirement, now)
            raise
        self._observer.verified(principal, requirement, now)
        return Verified(principal, limits.states if limits is not None else ())

    def standing_of(
        self, verified: Verified, requirement: Requirement, asker: Standing | None = None
    ) -> Standing | None:
        """Return what was found out about a credential just now, if nothing but an event or its expiry can alter it.

        ``None`` for what is charged durably, for imported keys (their secrets may be guessable, so nothing is
        remembered), for tokens that need a proof each time, and where the cache does not hold the record or is stale.
        """
        record, number = verified.principal
        api = requirement.api
        if self._immediate is None or requirement.max_age is not None or not may_be_remembered(record):
            return None
        try:
            view = self._records.view_now()
            if not self._is_current(record) or (asker is not None and asker.view != view):
                return None
            if api is not None and self._records.api(api.id) is not api:
                return None
        except NotReady:
            return None
        budget = budget_of(record, requirement, self._records)
        if budget.is_durable:
            return None
        ends = (end_of(record, number), None if asker is None else asker.until)
        until = min((end for end in ends if end is not None), default=None)
        return Standing(verified.principal, requirement, budget.takes, view, until, asker)

    def remembered(self, verified: Verified, requirement: Requirement) -> tuple[Remembered, Budget, int] | None:
        """Return what a guard elsewhere may remember of a credential that was accepted just now, what each use takes,
        and the event that this holds as of. ``None`` for what must be asked about each time.
        """
        record, number = verified.principal
        found = remember(record, number)
        if found is None:
            return None
        seq = record.seq
        with suppress(NotReady):
            applied = self._records.applied_now()
            if self._is_current(record):
                seq = max(seq, applied)
        return found, budget_of(record, requirement, self._records), seq

    def stands(self, standing: Standing) -> bool:
        """Tell whether a credential would still be accepted unseen. Raises ``NotReady`` like ``verify_now``."""
        return standing.stands(self._records.view_now(), self._now())

    def used_again(self, standing: Standing) -> None:
        """Count a use of what stands and takes nothing."""
        self._observer.verified_again(standing, self._now())

    def verify_again(self, standing: Standing) -> tuple[LimitState, ...] | None:
        """Accept a credential on what was found out about it; returns the limits that it took from.

        ``None`` when the answer must be found out anew, also when it will be a refusal: then nothing was taken or
        counted. Raises ``NotReady``, likewise.
        """
        now = self._now()
        if not standing.stands(self._records.view_now(), now):
            return None
        source = standing.requirement.client_ip
        if source is not None and self._engines.throttle.retry_in(source):
            return None
        states: tuple[LimitState, ...] = ()
        if standing.takes:
            if self._immediate is None:
                raise NotReady
            admitted, states, _ = self._immediate.take_now(standing.takes)
            if not admitted:
                return None
        if standing.principal is not None:
            self._observer.verified_again(standing, now)
        return states

    async def verify(self, text: str, requirement: Requirement) -> Verified:
        """Return who calls, reading and charging durably where that is needed.

        Raises ``Rejected``; ``Unavailable`` when the store or the limiter cannot answer, which is a denial too.
        """
        now = self._now()
        claimed = ""
        try:
            self._slow_down(requirement)
            unverified = formats.parse(text)
            record: CredentialRecord | None
            version: SecretVersion | None
            if isinstance(unverified, UnverifiedKey | UnverifiedForeignKey):
                claimed = unverified.key_id if isinstance(unverified, UnverifiedKey) else ""
                record, version = await self._find_key(claimed, text)
            else:
                claimed = _id_in(unverified)
                record, version = await self._tokens.find(unverified, text), None
            principal = self._decide(record, version, requirement, now)
            budget = budget_of(principal.record, requirement, self._records)
            verified = await self._take(principal, budget, requirement, now)
        except Rejected as rejection:
            self._refused(rejection, claimed, requirement, now)
            raise
        self._observer.verified(principal, requirement, now)
        return verified

    async def check_again(self, text: str, requirement: Requirement) -> None:
        """Raise ``Rejected`` if a credential that was accepted would not be any more; nothing is taken or counted.

        For answers that go on and on. Raises ``Unavailable`` when that cannot be told.
        """
        unverified = formats.parse(text)
        record: CredentialRecord | None
        version: SecretVersion | None
        if isinstance(unverified, UnverifiedKey | UnverifiedForeignKey):
            record, version = await self._find_key(getattr(unverified, "key_id", ""), text)
        else:
            record, version = await self._tokens.find(unverified, text), None
        self._decide(record, version, requirement, self._now())

    async def identify(self, text: str, requirement: Requirement) -> tuple[KeyRecord, SecretVersion]:
        """Return whose secret this is, having checked nothing but the secret: for what a holder may do with any key.

        Raises ``Rejected`` when it is nobody's, or a deleted key's.
        """
        now = self._now()
        claimed = ""
        try:
            self._slow_down(requirement)
            unverified = formats.parse(text)
            if not isinstance(unverified, UnverifiedKey | UnverifiedForeignKey):
                raise Rejected(Code.KIND_NOT_ACCEPTED, "Only an API key can do this.")
            claimed = unverified.key_id if isinstance(unverified, UnverifiedKey) else ""
            record, version = await self._find_key(claimed, text)
            if record is None or version is None or record.key.state is State.DELETED:
                raise Rejected(Code.NOT_FOUND)
        except Rejected as rejection:
            self._refused(rejection, claimed, requirement, now)
            raise
        return record, version

    # The steps.

    def _slow_down(self, requirement: Requirement) -> None:
        if requirement.client_ip is not None:
            retry_in = self._engines.throttle.retry_in(requirement.client_ip)
            if retry_in:
                raise Rejected(Code.RATE_LIMITED, "Too many bad credentials from this address.", retry_after=retry_in)

    def _is_current(self, record: CredentialRecord) -> bool:
        """Tell whether the cache still answers with this very record, so that no event has come for it."""
        if isinstance(record, TokenRecord):
            return self._tokens.is_current(record)
        return self._records.find_now(record.id) is record

    def _decide(
        self, record: CredentialRecord | None, version: SecretVersion | None, requirement: Requirement, now: Instant
    ) -> Principal:
        if isinstance(record, KeyRecord):
            return decide(record, version, requirement, now)
        if isinstance(record, TokenRecord):
            return decide_token(record, requirement, now)
        raise Rejected(Code.NOT_FOUND)

    async def _find_key(self, key_id: str, text: str) -> tuple[KeyRecord | None, SecretVersion | None]:
        """Return the key that a text is a secret of: by its id or, without one, as an imported key."""
        if not key_id:
            await self._records.refresh()
            return await self._find_foreign(text)
        record = await self._records.find(key_id)
        return record, await self._match_slowly(record, text) if record else None

    def _remember(self, fingerprint: bytes, record: CredentialRecord | None, version: SecretVersion | None) -> None:
        """Remember that a text is a secret of this very record, so that the next time saves parsing, HMAC, signature.

        The record is immutable, and the memory counts only while the cache still answers with the same object: any
        event for the key makes a new one. Only a SHA-256 of the text is kept (190 random bits need no more).
        """
        if record is None or (isinstance(record, KeyRecord) and (version is None or record.key.foreign_lookup)):
            return
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[fingerprint] = (record, version)

    def _foreign_lookups(self, text: str) -> tuple[str, ...]:
        schemes = self._records.foreign_schemes
        if not schemes:
            raise Rejected(Code.MALFORMED, "This is not a credential of a known format.")
        return foreign.lookups(text, schemes, self._engines.keyring)

    def _find_foreign_now(self, text: str) -> tuple[KeyRecord | None, SecretVersion | None]:
        """Return the imported key that the text is a secret of. Several may begin like it: each has its turn."""
        record, lookups = None, self._foreign_lookups(text)
        while lookups and (found := self._records.find_foreign_now(lookups)) is not None:
            record, version = found, self._match(found, text)
            if version is not None:
                return record, version
            lookups = _behind(lookups, found)
        return record, None

    async def _find_foreign(self, text: str) -> tuple[KeyRecord | None, SecretVersion | None]:
        record, lookups = None, self._foreign_lookups(text)
        while lookups and (found := await self._records.find_foreign(lookups)) is not None:
            record, version = found, await self._match_slowly(found, text)
            if version is not None:
                return record, version
            lookups = _behind(lookups, found)
        return record, None

    def _match(self, record: KeyRecord, text: str) -> SecretVersion | None:
        found = match(record.key.versions, text, self._digest)
        if found is None and record.is_foreign:
            if any(version.scheme in foreign.SLOW_SCHEMES for version in record.key.versions):
                raise NotReady
            return self._match_foreign(record, text)
        if found is not None and found.pepper_id != self._active_pepper_id:
            self._observer.outdated(record, found, self._digest(self._active_pepper_id, text))
        return found

    async def _match_slowly(self, record: KeyRecord, text: str) -> SecretVersion | None:
        try:
            return self._match(record, text)
        except NotReady:
            if self._slow_waiting >= MAX_SLOW_WAITING:
                raise Unavailable("Too many imported keys with slow hashes are being checked.") from None
            self._slow_waiting += 1
            try:
                async with self._slow_checks:
                    return await asyncio.to_thread(self._match_foreign, record, text)
            finally:
                self._slow_waiting -= 1

    def _match_foreign(self, record: KeyRecord, text: str) -> SecretVersion | None:
        for version in record.key.versions:
            if version.scheme != NATIVE and foreign.matches(version, text, self._engines.keyring):
                self._observer.outdated(record, version, self._digest(self._active_pepper_id, text))
                return version
        return None

    async def _take(self, principal: Principal, budget: Budget, requirement: Requirement, now: Instant) -> Verified:
        limiter = self._engines.limiter
        taken = await limiter.take(budget.takes) if budget.takes else None
        if taken is not None and not taken.admitted:
            raise _rate_limited(principal, taken.states, taken.retry_in)
        states = taken.states if taken is not None else ()
        if not budget.is_durable:
            return Verified(principal, states)
        charged: Charged | None = None
        try:
            charged = await self._engines.store.charge(budget.charge(principal.record.counted_as, requirement, now))
        finally:
            # A request that was refused, repeated or not answered must not have spent its rate limits.
            if budget.takes and (charged is None or charged.code is not Code.VALID or charged.replayed):
                await limiter.give_back(budget.takes)
        states += charged.quotas
        if charged.code is Code.VALID:
            return Verified(principal, states, charged.credits_remaining, charged.replayed)
        if charged.code is Code.RATE_LIMITED:
            waits = [state.retry_in for state in charged.quotas if state.exceeded]
            raise _rate_limited(principal, states, -1 if -1 in waits else max(waits, default=0))
        raise Rejected(
            charged.code,
            _too_few_credits(charged.credits_remaining or 0, requirement.credit_cost),
            record=principal.record,
            version=principal.version,
            limits=states,
            credits_remaining=charged.credits_remaining,
        )

    def _refused(self, rejection: Rejected, claimed: str, requirement: Requirement, now: Instant) -> None:
        if requirement.client_ip is not None and rejection.code in (Code.MALFORMED, Code.NOT_FOUND):
            self._engines.throttle.failed(requirement.client_ip)
        self._observer.rejected(rejection, claimed, requirement, now)


def _behind(lookups: tuple[str, ...], found: KeyRecord) -> tuple[str, ...]:
    """Return the lookups behind the one that this key was found by."""
    lookup = found.key.foreign_lookup
    return lookups[lookups.index(lookup) + 1 :] if lookup in lookups else ()


def _rate_limited(principal: Principal, states: tuple[LimitState, ...], retry_in: int) -> Rejected:
    return Rejected(
        Code.RATE_LIMITED,
        _used_up([state.name for state in states if state.exceeded], never=retry_in < 0),
        record=principal.record,
        version=principal.version,
        retry_after=retry_in if retry_in > 0 else None,
        limits=states,
    )


def _used_up(names: list[str], *, never: bool) -> str:
    limits = f"limit {names[0]!r}" if len(names) == 1 else f"limits {', '.join(map(repr, names))}"
    if never:
        return f"This request costs more than the {limits} ever allow{'s' if len(names) == 1 else ''} at once."
    return f"The {limits} {'is' if len(names) == 1 else 'are'} used up for now."


def _too_few_credits(left: int, cost: int) -> str:
    if left == 0:
        return "The credits of this key are used up."
    return f"This request costs {cost:,} credits, and {left:,} {'is' if left == 1 else 'are'} left."


def _id_in(unverified: UnverifiedToken | UnverifiedJwt) -> str:
    """Return the public id that a token claims, empty for a JWT: nothing in that may be believed yet."""
    return unverified.token_id if isinstance(unverified, UnverifiedToken) else ""
