"""The engine of all guards: one credential at a time, from memory while that may be trusted, else by asking.

    guard = Guard("https://keys.example.com", key=…, api="https://api.example.com")
    caller = guard.verify(credential, "orders:read")            # or: await guard.averify(…)

Both raise ``Rejected`` on a denial and ``Unreachable`` where nothing is known, so that ignoring the result still fails
closed. Made before a fork, a guard begins anew in each child.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Generator, Iterable
from hashlib import sha256
from ipaddress import ip_network
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self, TypeVar

import msgspec

from .. import formats
from ..client.call import Call
from ..client.connection import NO_RETRIES, connect
from ..client.drivers import AsyncDriver, SyncDriver
from ..client.errors import ClientError, Unreachable
from ..client.keybearer import calls
from ..core.decide_standing import decide_standing
from ..core.errors import Code, Rejected
from ..core.instant import SECOND, Instant
from ..core.quota import LimitState
from ..core.records import Api
from ..core.secret import Secret
from ..formats import UnverifiedJwt
from ..wire.records import ApiView
from ..wire.verify import VerifyResponse
from .answered import api_of, entry_of
from .caller import Caller, caller_of
from .follower import follower_for, leave
from .jwts import FirstSeen, JwtReader
from .local_limits import LocalLimits
from .memory import Entry, Memory
from .metrics import Metrics
from .rule import Rule, rule
from .where import NOWHERE, Where, question, requirement

log = logging.getLogger("keybearer.guards")

T = TypeVar("T")
Steps = Generator[Call[Any], Any, T]
RULES_LIFETIME_NS: Final = 900_000_000
DOWN_NS: Final = 200_000_000
"""After a question that got no answer, others fail at once for so long, instead of waiting each its full time."""
KEYS_NS: Final = 5_000_000_000
MAX_PASSED: Final = 64
MAX_CREDENTIAL: Final = 4096
_UNREMEMBERED: Final = frozenset({Code.RATE_LIMITED, Code.CREDITS_EXHAUSTED, Code.PROOF_REQUIRED, Code.PROOF_INVALID})


class Admitted(NamedTuple):
    """A caller, and how the limits stand that the request took from."""

    caller: Caller
    limits: tuple[LimitState, ...] = ()


class IssuerDocument(msgspec.Struct):
    """What a guard reads of the authority's metadata. Spec: RFC 8414 §2."""

    issuer: str


class JwkSet(msgspec.Struct):
    """The authority's public keys. Spec: RFC 7517 §5."""

    keys: list[dict[str, Any]]


class ApiRules(NamedTuple):
    """What the authority says about the API, and when it was asked (monotonic nanoseconds).

    ``permissions`` are the names that the API understands.
    """

    api: Api
    issuer: str
    asked_at: int
    permissions: frozenset[str]


class Guard:
    """Guards one API.

    ``url`` and ``key`` are of the authority; the key needs ``keybearer:verify``, ``keybearer:events.read`` and
    ``keybearer:apis.read``. ``api`` is the API's identifier or id. ``on_stale`` says what happens to what is remembered
    while the authority cannot be asked: ``deny`` (503), or ``allow`` for ``max_stale`` seconds.
    ``limits="local"`` counts rate limits in this process, instead of asking each time. ``trusted_proxies`` are the
    networks whose ``X-Forwarded-For`` is believed: nobody's, unless given. ``timeout`` bounds each question (seconds).
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | Secret,
        api: str,
        on_stale: Literal["deny", "allow"] = "deny",
        max_stale: float = 60.0,
        limits: Literal["online", "local"] = "online",
        entries: int = 50_000,
        trusted_proxies: Iterable[str] = (),
        timeout: float = 2.0,
        allow_http: bool = False,
    ) -> None:
        if on_stale not in ("deny", "allow") or limits not in ("online", "local"):
            raise ValueError("on_stale is deny or allow, limits is online or local")
        self._connection = connect(url, key, timeout=timeout, retries=NO_RETRIES, allow_http=allow_http)
        self.api = api
        self.metrics = Metrics()
        self.trusted_proxies = tuple(ip_network(network) for network in trusted_proxies)
        self._stale_ns = int(max_stale * 1_000_000_000) if on_stale == "allow" else 0
        self._local_limits = LocalLimits() if limits == "local" else None
        self._entries = entries
        self._follower = follower_for(self._connection, self)
        self._is_closed = False
        self._renew()
        _GUARDS.add(self)

    def _renew(self) -> None:
        self._memory = Memory(self._entries)
        self._find = self._memory.find
        self._jwts = JwtReader(self._entries)
        self._rules: ApiRules | None = None
        self._rules_version = 0
        self._keys_asked_at = 0
        self._down_until = 0
        self._driver: SyncDriver | None = None
        self._lock = threading.Lock()
        self._async_drivers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncDriver] = (
            weakref.WeakKeyDictionary()
        )

    # Life.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Stop following the events and close connections. A guard that was closed knows nothing and asks nobody."""
        self._is_closed = True
        leave(self._follower, self)
        self._memory.clear()
        self._jwts.sources.clear()
        if self._driver is not None:
            self._driver.http.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop; they open again when they are needed."""
        driver = self._async_drivers.pop(asyncio.get_running_loop(), None)
        if driver is not None:
            await driver.http.aclose()

    def start(self) -> None:
        """Begin to follow the events now, and not only with the first request."""
        self._follower.ensure()

    @property
    def is_fresh(self) -> bool:
        """Whether credentials are accepted from memory at this moment."""
        return self._follower.is_fresh

    # Verifying.

    def verify(
        self, credential: str, permissions: str | Iterable[str] | Rule | None = None, where: Where = NOWHERE
    ) -> Caller:
        """Return who calls. Raises ``Rejected``, or ``Unreachable`` where nothing is known, which is a denial too.

        ``permissions`` is one, an expression, several that are all needed, or a :class:`Rule`.
        """
        wanted = permissions if type(permissions) is Rule else _rule(permissions)
        now = time.monotonic_ns()
        follower = self._follower
        if now < follower.fresh_until and where.dpop is None:
            digest = sha256(credential.encode()).digest()
            entry = self._find(digest)
            if entry is None:
                admitted = self._first_seen(credential, digest, wanted, where, now)
                if admitted is not None:
                    return admitted.caller
            elif wanted in entry.passed and now + follower.wall_offset < entry.until:
                self.metrics.local.add()
                return entry.caller
        return self.run(self.steps(credential, wanted, where)).caller

    async def averify(
        self, credential: str, permissions: str | Iterable[str] | Rule | None = None, where: Where = NOWHERE
    ) -> Caller:
        """Like ``verify``, without blocking the event loop."""
        admitted = self.recall(credential, permissions, where)
        if admitted is None:
            wanted = permissions if isinstance(permissions, Rule) else _rule(permissions)
            admitted = await self.arun(self.steps(credential, wanted, where))
        return admitted.caller

    def recall(self, credential: str, permissions: str | Iterable[str] | Rule | None, where: Where) -> Admitted | None:
        """Return who calls where that is remembered and nothing else has to be looked at, else ``None``."""
        wanted = permissions if type(permissions) is Rule else _rule(permissions)
        now = time.monotonic_ns()
        follower = self._follower
        if now < follower.fresh_until and where.dpop is None:
            digest = sha256(credential.encode()).digest()
            entry = self._find(digest)
            if entry is None:
                return self._first_seen(credential, digest, wanted, where, now)
            if wanted in entry.passed and now + follower.wall_offset < entry.until:
                self.metrics.local.add()
                return Admitted(entry.caller)
        return None

    def _first_seen(self, text: str, digest: bytes, wanted: Rule, where: Where, now: int) -> Admitted | None:
        """Accept a JWT that was never seen, where all is at hand for that; else ``None``, and nothing was counted."""
        rules = self._rules
        if rules is None or not text.startswith("eyJ") or not self._jwts.is_ready:
            return None
        try:
            entry, _ = self._read_jwt(text, rules, digest)
            admitted = None if entry is None else self._decide(entry, wanted, where, rules.api, now)
        except Rejected:
            return None
        if admitted is not None:
            self.metrics.local.add()
        return admitted

    def steps(self, credential: str, wanted: Rule, where: Where) -> Steps[Admitted]:
        """Verify, yielding what the authority must be asked; nothing here does I/O."""
        try:
            return (yield from self._verify(credential, wanted, where))
        except Rejected:
            self.metrics.refused.add()
            raise

    def _verify(self, credential: str, wanted: Rule, where: Where) -> Steps[Admitted]:
        if len(credential) > MAX_CREDENTIAL:
            raise Rejected(Code.MALFORMED, "This is longer than any credential.")
        unverified = formats.parse(credential)
        rules = yield from self.rules_steps()
        digest = sha256(credential.encode()).digest()
        asked = (digest, wanted, where)
        now = time.monotonic_ns()
        refused = self._memory.refusal(asked, now)
        if refused is not None:
            raise Rejected(refused.code, refused.public, missing=refused.missing)
        seen: FirstSeen | None = None
        if where.dpop is None and now < self._follower.fresh_until:
            entry = self._find(digest)
            if entry is None and isinstance(unverified, UnverifiedJwt) and rules.api.token_format == "jwt":
                yield from self._keys_steps(rules)
                entry, seen = self._read_jwt(credential, rules, digest)
            if entry is not None:
                admitted = self._decide(entry, wanted, where, rules.api, now)
                if admitted is not None:
                    self.metrics.local.add()
                    return admitted
        try:
            answer = yield from self._ask(credential, wanted, where)
        except Unreachable:
            admitted = self._decide_stale(digest, wanted, where, rules.api)
            if admitted is None:
                raise
            return admitted
        return self._take(answer, asked, seen)

    def _decide(self, entry: Entry, wanted: Rule, where: Where, api: Api, now: int) -> Admitted | None:
        """Decide about what is remembered; ``None`` when the authority must be asked all the same."""
        wall = now + self._follower.wall_offset
        if wall >= entry.until or entry.ask or wanted.limits or (entry.takes and self._local_limits is None):
            return None
        decide_standing(entry.remembered, requirement(wanted, where, api), Instant(wall // 1000))
        if entry.takes and self._local_limits is not None:
            return Admitted(entry.caller, self._local_limits.take(entry.takes, wanted.cost))
        if not entry.remembered.is_restricted and not wanted.needs_clock:
            if len(entry.passed) >= MAX_PASSED:
                entry.passed.clear()
            entry.passed.add(wanted)
        return Admitted(entry.caller)

    def _decide_stale(self, digest: bytes, wanted: Rule, where: Where, api: Api) -> Admitted | None:
        """Decide about what is remembered though it may be over, where the guard was made to; else ``None``."""
        now = time.monotonic_ns()
        fresh_until = self._follower.fresh_until
        if not self._stale_ns or not fresh_until or now >= fresh_until + self._stale_ns or where.dpop is not None:
            return None
        entry = self._find(digest)
        admitted = None if entry is None else self._decide(entry, wanted, where, api, now)
        if admitted is not None:
            self.metrics.stale.add()
        return admitted

    def _ask(self, credential: str, wanted: Rule, where: Where) -> Steps[VerifyResponse]:
        """Ask the authority; raises ``Unreachable`` for whatever is not an answer."""
        body = question(credential, wanted, where, self.api)
        answer: VerifyResponse = yield from self._call(Call("POST", "/v1/verify", VerifyResponse, body=body))
        self.metrics.online.add()
        if answer.valid is not (answer.code is Code.VALID):
            raise Unreachable("The answer contradicts itself; it counts as none.")
        if answer.valid and (answer.kind is None or answer.principal is None or answer.credential is None):
            raise Unreachable("The answer says yes without saying to whom; it counts as none.")
        return answer

    def _call(self, call: Call[T]) -> Steps[T]:
        if self._is_closed:
            raise Unreachable("This guard was closed.")
        self._follower.ensure()
        if self._follower.fresh_until <= time.monotonic_ns() < self._down_until:
            raise Unreachable("The authority did not answer a moment ago.")
        try:
            return (yield call)  # type: ignore[no-any-return]
        except ClientError as error:
            self.metrics.unreachable.add()
            if isinstance(error, Unreachable):
                self._down_until = time.monotonic_ns() + DOWN_NS
                raise
            # Not about the credential, but about the guard's own key, its API, or the network between.
            log.error("the authority does not answer this guard: %s", error)
            raise Unreachable(f"No answer that may be relied on: {error}", status=error.status) from error

    def _take(
        self,
        answer: VerifyResponse,
        asked: tuple[bytes, Rule, Where],
        seen: FirstSeen | None,
    ) -> Admitted:
        """Return what an answer says, and remember what may be remembered of it."""
        limits = tuple(
            LimitState(one.name, one.limit, one.remaining, one.reset_in * SECOND, one.exceeded) for one in answer.limits
        )
        if not answer.valid:
            retry_after = None if answer.retry_after is None else answer.retry_after * SECOND
            text = answer.message or "The credential was refused."
            rejection = Rejected(answer.code, text, missing=answer.missing, retry_after=retry_after, limits=limits)
            if answer.code not in _UNREMEMBERED and asked[2].dpop is None:
                self._memory.note_refusal(asked, rejection, time.monotonic_ns())
            raise rejection
        caller = caller_of(answer)
        standing = answer.standing
        if standing is not None and asked[2].dpop is None:
            entry = entry_of(caller, standing)
            heard = self._follower.heard
            self._memory.keep(asked[0], entry, heard, standing.seq)
            if seen is not None:
                self._jwts.learn(seen, entry, heard, standing.seq)
        return Admitted(caller, limits)

    def _read_jwt(self, text: str, rules: ApiRules, digest: bytes) -> tuple[Entry | None, FirstSeen | None]:
        """Return a JWT as it is remembered from now on, and what was read of it; ``None`` where that is not enough."""
        wall = Instant((time.monotonic_ns() + self._follower.wall_offset) // 1000)
        seen = self._jwts.read(text, rules.api, wall)
        if seen is None:
            return None, None
        heard = self._follower.heard
        seq = heard.applied
        entry = self._jwts.entry(seen, rules.permissions, heard, wall)
        if entry is not None:
            self._memory.keep(digest, entry, heard, seq)
        return entry, seen

    def _keys_steps(self, rules: ApiRules) -> Steps[None]:
        """Fetch the keys that JWTs are signed with, unless they are at hand or were asked for a moment ago."""
        now = time.monotonic_ns()
        if self._jwts.is_ready or now < self._keys_asked_at + KEYS_NS:
            return
        self._keys_asked_at = now
        version = self._rules_version
        found: JwkSet = yield from self._call(Call("GET", "/oauth/jwks", JwkSet, idempotent=True))
        if version == self._rules_version:
            self._jwts.use(rules.issuer, found.keys)

    # The rules of the API.

    def recall_rules(self) -> ApiRules | None:
        """Return what the authority said about the API, while that may be relied on."""
        rules = self._rules
        if rules is None:
            return None
        now = time.monotonic_ns()
        return rules if now < self._follower.fresh_until or now < rules.asked_at + RULES_LIFETIME_NS else None

    def rules_steps(self) -> Steps[ApiRules]:
        """Return the rules of the API, asking where that is needed; old ones where ``on_stale`` allows them."""
        rules = self.recall_rules()
        if rules is not None:
            return rules
        known, version, asked_at = self._rules, self._rules_version, time.monotonic_ns()
        try:
            view: ApiView = yield from self._call(calls.apis.get(self.api))
            if known is None:
                path = "/.well-known/oauth-authorization-server"
                document: IssuerDocument = yield from self._call(Call("GET", path, IssuerDocument, idempotent=True))
                issuer = document.issuer
            else:
                issuer = known.issuer
        except Unreachable:
            if known is not None and time.monotonic_ns() < self._follower.fresh_until + self._stale_ns:
                return known
            raise
        api = api_of(view)
        rules = ApiRules(api, issuer, asked_at, frozenset(permission.name for permission in api.permissions))
        if version == self._rules_version:
            self._rules = rules
        return rules

    # What the follower tells.

    def heard_event(self, seq: int, at: int, event_type: str, subject: str) -> None:
        """Forget what an event touches."""
        self._memory.drop(subject, seq, at)
        self._jwts.sources.drop(subject, seq, at)
        rules = self._rules
        if event_type.startswith("api.") and (rules is None or subject == rules.api.id):
            self._rules_version += 1
            self._rules = None
            self._memory.clear()
            self._jwts.sources.clear()
        elif event_type.startswith("signing_key."):
            self._rules_version += 1
            self._keys_asked_at = 0
            self._jwts.forget_keys()

    def heard_nothing(self) -> None:
        """Forget everything."""
        self._rules_version += 1
        self._rules = None
        self._keys_asked_at = 0
        self._jwts.forget_keys()
        self._jwts.sources.clear()
        self._memory.clear()

    # I/O.

    def run(self, steps: Steps[T]) -> T:
        """Carry out steps, blocking."""
        driver = self._driver
        if driver is None:
            with self._lock:
                driver = self._driver = self._driver or SyncDriver(self._connection)
        try:
            call = next(steps)
            while True:
                try:
                    found = driver.run(call)
                except ClientError as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(found)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    async def arun(self, steps: Steps[T]) -> T:
        """Carry out steps, awaiting."""
        loop = asyncio.get_running_loop()
        driver = self._async_drivers.get(loop)
        if driver is None:
            driver = self._async_drivers[loop] = AsyncDriver(self._connection)
        try:
            call = next(steps)
            while True:
                try:
                    found = await driver.run(call)
                except ClientError as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(found)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def _rule(permissions: str | Iterable[str] | Rule | None) -> Rule:
    if isinstance(permissions, Rule):
        return permissions
    return rule(permissions if permissions is None or isinstance(permissions, str) else tuple(permissions))


_GUARDS: weakref.WeakSet[Guard] = weakref.WeakSet()


def _after_fork() -> None:
    """In the child: locks may have been held and connections belong to the parent; everything begins anew."""
    for guard in tuple(_GUARDS):
        guard._renew()


os.register_at_fork(after_in_child=_after_fork)
