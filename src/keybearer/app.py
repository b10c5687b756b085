"""The composition root: the only place that joins ports to engines, and starts and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .core.errors import ConfigurationError
from .settings import Settings

if TYPE_CHECKING:
    from grpc import aio

    from .keyring import FileKeyring
    from .limiters import SharedMemoryLimiter
    from .ports import ImmediateStore, Store
    from .services.authority import Authority
    from .stores.cached import CachedRecords
    from .stores.doorbell import SharedDoorbell
    from .web.forward_auth import ForwardAuthEdge
    from .web.reply import Waiting

log = logging.getLogger(__name__)

ROOT_KEY_FILE: Final = "root-key.txt"
SIGN_IN_LINK_FILE: Final = "sign-in-link.txt"
DOORBELL_FILE: Final = "keybearer.doorbell"


@dataclass(frozen=True, slots=True)
class Foundation:
    """What every process opens first: keys, doorbell and store."""

    settings: Settings
    keyring: FileKeyring
    doorbell: SharedDoorbell
    store: Store
    immediate: ImmediateStore | None


def _make_store(
    settings: Settings, keyring: FileKeyring, ring: Callable[[int], None]
) -> tuple[Store, ImmediateStore | None]:
    audit_key = keyring.derived("audit")
    url = settings.database_url
    if url.startswith("sqlite:"):
        from .stores.sqlite import SqliteStore

        embedded = SqliteStore(Path(url.removeprefix("sqlite:///")), audit_key)
        embedded.on_commit = ring
        return embedded, embedded
    from .stores.postgresql import PostgresqlStore

    networked = PostgresqlStore(url, audit_key)
    networked.on_commit = ring
    return networked, None


@contextlib.asynccontextmanager
async def foundation(settings: Settings) -> AsyncIterator[Foundation]:
    """Open the data directory, the keyring and the store; close them at the end.

    Raises ``ConfigurationError`` when the database holds digests that this keyring cannot check.
    """
    from .keyring import open_keyring
    from .stores.doorbell import SharedDoorbell

    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"The data directory {settings.data} cannot be made: {error.strerror}.") from error
    keyring = open_keyring(settings.data, create=True)
    doorbell = SharedDoorbell(settings.data / DOORBELL_FILE)
    store, immediate = _make_store(settings, keyring, doorbell.ring)
    try:
        await store.open()
        await _check_peppers(store, keyring)
        yield Foundation(settings, keyring, doorbell, store, immediate)
    finally:
        await store.close()
        doorbell.close()


async def _check_peppers(store: Store, keyring: FileKeyring) -> None:
    known = await store.known_peppers()
    for pepper_id, fingerprint in known.items():
        if pepper_id not in keyring.pepper_ids:
            raise ConfigurationError(
                f"The database has keys under the pepper {pepper_id!r}, which this keyring lacks. "
                "Start with the keyring that this database was made with."
            )
        if keyring.fingerprint(pepper_id) != fingerprint:
            raise ConfigurationError(
                f"The keyring's pepper {pepper_id!r} is not the one that this database was made with."
            )
    for pepper_id in keyring.pepper_ids:
        if pepper_id not in known:
            await store.note_pepper(pepper_id, keyring.fingerprint(pepper_id))


def _authority(base: Foundation, records: CachedRecords) -> Authority:
    from .clock import SystemClock
    from .fetch import GuardedFetcher
    from .services.authority import Authority
    from .services.bootstrap import OWN_API_ID, OWN_PROJECT_ID
    from .services.outbox import Outbox, delivery_for, sender_of
    from .services.passwords import Passwords

    return Authority(
        base.settings,
        base.store,
        records,
        base.keyring,
        SystemClock(),
        own_project_id=OWN_PROJECT_ID,
        own_api_id=OWN_API_ID,
        passwords=Passwords(base.settings.password_threads),
        outbox=Outbox(delivery_for(base.settings), sender_of(base.settings), base.settings.brand_name),
        fetcher=GuardedFetcher(base.settings.fetchable, ca=base.settings.fetch_ca),
    )


def _records(base: Foundation) -> CachedRecords:
    from .stores.cached import CachedRecords

    return CachedRecords(
        base.store,
        base.immediate,
        lifetime=base.settings.view_lifetime,
        poll_interval=base.settings.poll_interval,
        entries=base.settings.cache_entries,
        doorbell=base.doorbell,
    )


# Bootstrap


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What only the first start hands over; ``sign_in_link`` is empty when the administrator has a password."""

    root_key: str
    sign_in_link: str


async def _initialise(settings: Settings, admin_email: str, admin_password: str | None) -> FirstStart | None:
    from .services import bootstrap

    async with foundation(settings) as base:
        await base.doorbell.align(base.store.head)
        authority = _authority(base, _records(base))
        email = admin_email or bootstrap.FIRST_ADMINISTRATOR
        administrator = await bootstrap.prepare_administrator(authority, email, admin_password)
        authority.passwords.close()
        issued = await bootstrap.initialise(authority, admin_email, administrator=administrator)
        if issued is None:
            return None
        link = "" if administrator.encoded else await bootstrap.sign_in_link(authority, administrator.email)
        return FirstStart(issued.credential, link)


def init(settings: Settings, admin_email: str, admin_password: str | None) -> dict[str, str | None]:
    """Make an authority without a person: returns its issuer and root key, ``None`` when it exists already."""
    first = asyncio.run(_initialise(settings, admin_email, admin_password))
    answer = {"issuer": settings.issuer_url, "root_key": None if first is None else first.root_key}
    return answer | {"sign_in_link": first.sign_in_link} if first is not None and first.sign_in_link else answer


def sign_in_link(settings: Settings, email: str) -> str:
    """Return a link that signs a user in once; raises ``NotFound`` when nobody has this address."""

    async def make() -> str:
        from .services import bootstrap

        async with foundation(settings) as base:
            await base.doorbell.align(base.store.head)
            return await bootstrap.sign_in_link(_authority(base, _records(base)), email)

    return asyncio.run(make())


@contextlib.asynccontextmanager
async def standing_authority(settings: Settings) -> AsyncIterator[Authority]:
    """Open an authority to ask it something on its own machine, beside a server or without one."""
    async with foundation(settings) as base:
        records = _records(base)
        authority = _authority(base, records)
        await records.start()
        try:
            yield authority
        finally:
            await records.stop()
            authority.passwords.close()
            await authority.outbox.close()


def _hand_over(settings: Settings, first: FirstStart) -> None:
    """Show what is secret once: on a terminal, else in files, since standard output may end in a log (CWE-532)."""
    if sys.stdout.isatty():
        print(f"Root key, shown once:\n\n    {first.root_key}\n", flush=True)
        print(f"Sign in as the first administrator, once and within a day:\n\n    {first.sign_in_link}\n", flush=True)
        return
    for name, text, what in (
        (ROOT_KEY_FILE, first.root_key, "root key"),
        (SIGN_IN_LINK_FILE, first.sign_in_link, "sign-in link of the first administrator"),
    ):
        path = settings.data / name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text + "\n")
        print(f"{what} written to {path}; keep it safe and delete the file", flush=True)


# Serving


def serve(settings: Settings) -> int:
    """Run the authority until a signal stops it; returns the exit status. Prints ``ready URL`` when it accepts."""
    if settings.workers > 1:
        # Read by prometheus_client when it is imported: all workers then count together.
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="keybearer-metrics-"))
    from .telemetry import configure_logging

    configure_logging(settings.log_format, settings.log_level)
    listener = _listen(settings)
    settings = replace(settings, port=listener.getsockname()[1])
    first = asyncio.run(_initialise(settings, "", None))
    if first is not None:
        _hand_over(settings, first)

    def announce() -> None:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"ready {settings.scheme}://{host}:{settings.port}", flush=True)

    if settings.workers == 1:
        return _run_worker(settings, listener, announce, index=0, shared_limits=None)
    from .limiters import SharedMemoryLimiter
    from .workers import Supervisor

    limits = SharedMemoryLimiter()

    def work(index: int, report_ready: Callable[[], None]) -> int:
        return _run_worker(settings, listener, report_ready, index=index, shared_limits=limits)

    try:
        return Supervisor(settings.workers, work, stop_limit=settings.shutdown_timeout + 5).run(announce)
    finally:
        limits.close()


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        raise ConfigurationError(f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}.") from error
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


def _run_worker(
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[], None],
    *,
    index: int,
    shared_limits: SharedMemoryLimiter | None,
) -> int:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work(settings, listener, ready, index, shared_limits))


async def _work(
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[], None],
    index: int,
    shared_limits: SharedMemoryLimiter | None,
) -> int:
    from . import server
    from .http.client_address import TrustedProxies
    from .limiters.failures import FailureThrottle
    from .limiters.memory import MemoryLimiter
    from .services import sweeper
    from .services.backchannel_logout import BackchannelLogout
    from .services.jwt_tokens import JwtReader
    from .services.url_watch import UrlWatch
    from .services.usage_recorder import UsageRecorder
    from .services.webhook_deliveries import WebhookDeliveries
    from .telemetry import Metrics
    from .verify import Engines, Verifier
    from .web import client_credentials, introspection
    from .web.asgi import create_web
    from .web.client_credentials import ClientCredentialsEdge
    from .web.credentials import waiting_for
    from .web.decision import VerifyEdge
    from .web.ext_authz import ExtAuthzEdge
    from .web.forward_auth import ForwardAuthEdge
    from .web.hot_routes import HotRoutes
    from .web.introspection import IntrospectionEdge
    from .web.reply import Edge

    async with foundation(settings) as base, contextlib.AsyncExitStack() as stack:
        records = _records(base)
        await records.start()
        stack.push_async_callback(records.stop)
        # One for keys, tokens and passwords: who guesses at the one is slowed down at the others.
        throttle = FailureThrottle(settings.failures_per_minute)
        metrics = Metrics()
        authority = replace(_authority(base, records), throttle=throttle, on_leak=metrics.count_leak)
        watch = UrlWatch(authority, flush_interval=settings.usage_flush_interval)
        watch.start()
        stack.push_async_callback(watch.stop)
        authority = replace(authority, seen_in_url=watch.seen)
        stack.callback(authority.passwords.close)
        stack.push_async_callback(authority.outbox.close)
        recorder = UsageRecorder(
            base.store,
            authority.clock,
            flush_interval=settings.usage_flush_interval,
            on_counts=metrics.count_verifications,
            rehash=lambda outdated: sweeper.rehash(authority, outdated),
        )
        recorder.start()
        stack.push_async_callback(recorder.stop)
        limiter = shared_limits or MemoryLimiter()
        verifier = Verifier(
            Engines(
                records=records,
                store=base.store,
                keyring=base.keyring,
                limiter=limiter,
                immediate=limiter,
                clock=authority.clock,
                observer=recorder,
                throttle=throttle,
                jwts=JwtReader(authority),
            )
        )
        if index == 0:
            sweeping = sweeper.Sweeper(authority)
            sweeping.start()
            stack.push_async_callback(sweeping.stop)
            notices = BackchannelLogout(authority)
            notices.start()
            stack.push_async_callback(notices.stop)
            messages = WebhookDeliveries(authority, metrics.count_webhook)
            messages.start()
            stack.push_async_callback(messages.stop)
        metrics.observe("keybearer_cached_records", "Records that this process keeps.", lambda: len(records))
        metrics.observe(
            "keybearer_view_fresh", "Whether the cache may be trusted now.", lambda: float(records.is_fresh)
        )
        metrics.observe("keybearer_event_seq", "The newest event that this process has seen.", lambda: records.applied)
        proxies = TrustedProxies(settings.proxies)
        verify_edge = VerifyEdge(records, authority.own_api_id, authority.own_project_id, proxies, verifier)
        forward_edge = ForwardAuthEdge(records, proxies, verifier, settings.issuer_url, authority.seen_in_url)
        engines = (authority, verifier, proxies)
        edges: dict[bytes, Edge] = {
            introspection.PATH: IntrospectionEdge(*engines, metrics.counting(introspection.PATH.decode())),
            client_credentials.PATH: ClientCredentialsEdge(
                *engines, metrics.counting(client_credentials.PATH.decode())
            ),
        }
        ext_authz_edge = ExtAuthzEdge(records, forward_edge)
        routes = HotRoutes(verifier, verify_edge, forward_edge, settings, edges, ext_authz_edge)
        web = create_web(
            authority,
            verifier,
            proxies,
            verify_edge=verify_edge,
            forward_edge=forward_edge,
            ext_authz_edge=ext_authz_edge,
            live=records.live,
            render_metrics=metrics.render,
            count_request=metrics.count_request,
        )
        if settings.ext_authz_port:
            ext_authz_server = await _ext_authz_server(
                settings, records, forward_edge, waiting_for(authority, verifier)
            )
            stack.push_async_callback(ext_authz_server.stop, settings.shutdown_timeout)
        return await server.serve(web, routes, settings, listener, ready, records.live.close)


async def _ext_authz_server(
    settings: Settings, records: CachedRecords, forward: ForwardAuthEdge, waiting: Waiting
) -> aio.Server:
    """Return the running gRPC server; only who wants it pays for loading gRPC."""
    try:
        from .web.ext_authz_grpc import start
    except ImportError as error:
        raise ConfigurationError("ext_authz over gRPC needs more: pip install 'keybearer[envoy]'.") from error
    return await start(settings, records, forward, waiting)
