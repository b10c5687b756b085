"""An authority inside the test process: the real services, verifier and web application over the memory store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from keybearer.core.audit_chain import AuditEntry
from keybearer.core.instant import Instant
from keybearer.core.own_api import ADMIN
from keybearer.http.client_address import TrustedProxies
from keybearer.keyring import FileKeyring, new_document
from keybearer.limiters.failures import FailureThrottle
from keybearer.limiters.memory import MemoryLimiter
from keybearer.services import bootstrap
from keybearer.services.authority import Authority, Caller
from keybearer.services.jwt_tokens import JwtReader
from keybearer.services.url_watch import UrlWatch
from keybearer.services.usage_recorder import UsageRecorder
from keybearer.settings import Settings
from keybearer.stores.cached import CachedRecords
from keybearer.stores.doorbell import LocalDoorbell
from keybearer.stores.memory import MemoryStore
from keybearer.verify import Engines, Verifier
from keybearer.web.asgi import create_web
from keybearer.web.decision import VerifyEdge
from keybearer.web.ext_authz import ExtAuthzEdge
from keybearer.web.forward_auth import ForwardAuthEdge

START = Instant(1_800_000_000_000_000)


@dataclass
class TestClock:
    """A wall clock that stands still until it is moved."""

    __test__ = False
    at: int = START
    ticks: int = 0

    def now(self) -> Instant:
        return Instant(self.at)

    def monotonic_ns(self) -> int:
        self.ticks += 1
        return self.at * 1000 + self.ticks

    def move(self, seconds: float) -> None:
        self.at += int(seconds * 1_000_000)


@dataclass
class Embedded:
    """One authority and its root key."""

    authority: Authority
    verifier: Verifier
    recorder: UsageRecorder
    clock: TestClock
    web: Any
    root_key: str
    watch: UrlWatch
    root: Caller = field(default_factory=lambda: Caller("key_root", frozenset({ADMIN})))

    @property
    def store(self) -> Any:
        """The memory store, unless the test brought another."""
        return self.authority.store

    def http(self, key: str | None = None, *, client: tuple[str, int] = ("192.0.2.1", 1234)) -> httpx.AsyncClient:
        """A client of the web application; without ``key`` it is the root key's, with an empty one nobody's."""
        headers = {} if key == "" else {"authorization": f"Bearer {key or self.root_key}"}
        transport = httpx.ASGITransport(self.web, raise_app_exceptions=False, client=client)
        return httpx.AsyncClient(transport=transport, base_url="http://authority.test", headers=headers)

    async def audit(self) -> tuple[AuditEntry, ...]:
        return await self.store.audit_page(0, 1000)

    async def verify(self, credential: str, **asked: Any) -> dict[str, Any]:
        """What ``POST /v1/verify`` answers."""
        async with self.http() as http:
            answer = await http.post("/v1/verify", json={"credential": credential, **asked})
        assert answer.status_code == 200, answer.text
        return dict(json.loads(answer.content))


@asynccontextmanager
async def embedded(
    *, clock: Any = None, make_store: Any = None, limiter: MemoryLimiter | None = None, **settings: Any
) -> AsyncIterator[Embedded]:
    """An initialised authority; ``clock`` is one that stands still unless another is given.

    ``make_store(audit_key, clock)`` makes another engine than the memory; it is opened and closed here. The limiter
    goes with real time unless another is given.
    """
    keyring = FileKeyring(new_document(), "test")
    clock = clock or TestClock()
    store = (make_store or MemoryStore)(keyring.derived("audit"), clock=clock)
    doorbell = LocalDoorbell()
    store.on_commit = doorbell.ring
    await store.open()
    records = CachedRecords(store, store if hasattr(store, "find_now") else None, doorbell=doorbell)
    options = Settings(**{"trusted_proxies": (), "sweep_interval": 0.01, **settings})
    own = {"own_project_id": bootstrap.OWN_PROJECT_ID, "own_api_id": bootstrap.OWN_API_ID}
    authority = Authority(options, store, records, keyring, clock, **own)
    watch = UrlWatch(authority)
    authority = replace(authority, seen_in_url=watch.seen)
    issued = await bootstrap.initialise(authority, "ada@example.com")
    assert issued is not None
    recorder = UsageRecorder(store, clock)
    limiter = MemoryLimiter() if limiter is None else limiter  # an empty one is false
    verifier = Verifier(
        Engines(
            records=records,
            store=store,
            keyring=keyring,
            limiter=limiter,
            immediate=limiter,
            clock=clock,
            observer=recorder,
            throttle=FailureThrottle(settings.get("failures_per_minute", 0)),
            jwts=JwtReader(authority),
        )
    )
    proxies = TrustedProxies(options.proxies)
    forward_edge = ForwardAuthEdge(records, proxies, verifier, options.issuer_url, authority.seen_in_url)
    web = create_web(
        authority,
        verifier,
        proxies,
        verify_edge=VerifyEdge(records, authority.own_api_id, authority.own_project_id, proxies, verifier),
        forward_edge=forward_edge,
        live=records.live,
        ext_authz_edge=ExtAuthzEdge(records, forward_edge),
        render_metrics=lambda: b"",
    )
    await records.start()
    try:
        yield Embedded(authority, verifier, recorder, clock, web, issued.credential, watch)
    finally:
        await records.stop()
        if make_store is not None:
            await store.close()
