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
from typing import TYPE_CHECKING, Final, NamedTuple

from .core.errors import ConfigurationError
from .foundation import authority_of, foundation, records_of
from .settings import Settings

if TYPE_CHECKING:
    from grpc import aio

    from .core.routes import Route
    from .foundation import Foundation
    from .http.client_address import TrustedProxies
    from .limiters import SharedMemoryLimiter
    from .services.authority import Authority
    from .stores.cached import CachedRecords
    from .telemetry import Metrics
    from .verify import Verifier
    from .web.forward_auth import ForwardAuthEdge
    from .web.reply import Waiting

log = logging.getLogger(__name__)

ROOT_KEY_FILE: Final = "root-key.txt"
SIGN_IN_LINK_FILE: Final = "sign-in-link.txt"


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
        authority = authority_of(base, records_of(base))
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
            return await bootstrap.sign_in_link(authority_of(base, records_of(base)), email)

    return asyncio.run(make())


@contextlib.asynccontextmanager
async def standing_authority(settings: Settings) -> AsyncIterator[Authority]:
    """Open an authority to ask it something on its own machine, beside a server or without one."""
    async with foundation(settings) as base:
        records = records_of(base)
        authority = authority_of(base, records)
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


class Listeners(NamedTuple):
    """The sockets that a node listens on: the authority's own, the gateway's, or both."""

    web: socket.socket | None
    gateway: socket.socket | None


def serve(settings: Settings, *, only_gateway: bool = False) -> int:
    """Run the authority until a signal stops it; returns the exit status. Prints ``ready URL`` when it accepts.

    With ``gateway_port`` the gateway listens in the same processes, and with ``only_gateway`` nothing else does.
    """
    if settings.workers > 1:
        # Read by prometheus_client when it is imported: all workers then count together.
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="keybearer-metrics-"))
    from .telemetry import configure_logging

    configure_logging(settings.log_format, settings.log_level)
    listeners = Listeners(
        None if only_gateway else _listen(settings.host, settings.port),
        _listen(settings.gateway_host, settings.gateway_port) if settings.gateway_port else None,
    )
    settings = _with_ports(settings, listeners)
    if settings.gateway_routes:
        read_routes(settings)  # a file that is wrong is noticed before anything is served
    first = None if only_gateway else asyncio.run(_initialise(settings, "", None))
    if first is not None:
        _hand_over(settings, first)

    def announce() -> None:
        if listeners.gateway is not None:
            word = "ready" if only_gateway else "gateway"
            print(word, _url(settings, settings.gateway_host, settings.gateway_port))
        if not only_gateway:
            print("ready", _url(settings, settings.host, settings.port))
        sys.stdout.flush()

    if settings.workers == 1:
        return _run_worker(settings, listeners, announce, index=0, shared_limits=None)
    from .limiters import SharedMemoryLimiter
    from .workers import Supervisor

    limits = SharedMemoryLimiter()

    def work(index: int, report_ready: Callable[[], None]) -> int:
        return _run_worker(settings, listeners, report_ready, index=index, shared_limits=limits)

    try:
        return Supervisor(settings.workers, work, stop_limit=settings.shutdown_timeout + 5).run(announce)
    finally:
        limits.close()


def _with_ports(settings: Settings, listeners: Listeners) -> Settings:
    """Return the settings with the ports that were truly taken."""
    if listeners.web is not None:
        settings = replace(settings, port=listeners.web.getsockname()[1])
    if listeners.gateway is not None:
        settings = replace(settings, gateway_port=listeners.gateway.getsockname()[1])
    return settings


def _url(settings: Settings, host: str, port: int) -> str:
    return f"{settings.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def read_routes(settings: Settings) -> tuple[Route, ...]:
    """Return the routes of the file that the settings name; raises ``ConfigurationError``."""
    from .services.routes import read_file

    return read_file(Path(settings.gateway_routes)) if settings.gateway_routes else ()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


def _run_worker(
    settings: Settings,
    listeners: Listeners,
    ready: Callable[[], None],
    *,
    index: int,
    shared_limits: SharedMemoryLimiter | None,
) -> int:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work(settings, listeners, ready, index, shared_limits))


class Node(NamedTuple):
    """What the listeners of one process share: limits are exact, and a revocation is known to all, because of it."""

    authority: Authority
    records: CachedRecords
    verifier: Verifier
    proxies: TrustedProxies
    metrics: Metrics


async def _work(
    settings: Settings,
    listeners: Listeners,
    ready: Callable[[], None],
    index: int,
    shared_limits: SharedMemoryLimiter | None,
) -> int:
    async with foundation(settings) as base, contextlib.AsyncExitStack() as stack:
        node = await _node(base, stack, shared_limits)
        if listeners.web is not None and index == 0:
            await _work_on_its_own(node, stack)
        if listeners.gateway is not None:
            await stack.enter_async_context(_gateway_of(node, listeners.gateway))
        if listeners.web is not None:
            return await _serve_web(node, listeners.web, ready)
        if node.records.api(node.authority.own_api_id) is None:
            raise ConfigurationError("There is no authority in this database yet: make it with keybearer init.")
        from .process import allow_open_files, until_stopped

        allow_open_files(2 * settings.max_connections)
        return await until_stopped(ready, is_worker=settings.workers > 1)


async def _node(base: Foundation, stack: contextlib.AsyncExitStack, shared_limits: SharedMemoryLimiter | None) -> Node:
    from .http.client_address import TrustedProxies
    from .limiters.failures import FailureThrottle
    from .limiters.memory import MemoryLimiter
    from .services.jwt_tokens import JwtReader
    from .services.url_watch import UrlWatch
    from .services.usage_recorder import Outdated, UsageRecorder
    from .telemetry import Metrics
    from .verify import Engines, Verifier

    settings = base.settings
    records = records_of(base)
    await records.start()
    stack.push_async_callback(records.stop)
    # One for keys, tokens and passwords: who guesses at the one is slowed down at the others.
    throttle = FailureThrottle(settings.failures_per_minute)
    metrics = Metrics()
    authority = replace(authority_of(base, records), throttle=throttle, on_leak=metrics.count_leak)
    watch = UrlWatch(authority, flush_interval=settings.usage_flush_interval)
    watch.start()
    stack.push_async_callback(watch.stop)
    authority = replace(authority, seen_in_url=watch.seen)
    stack.callback(authority.passwords.close)
    stack.push_async_callback(authority.outbox.close)

    async def rehash(outdated: Outdated) -> bool:
        from .services import sweeper

        return await sweeper.rehash(authority, outdated)

    recorder = UsageRecorder(
        base.store,
        authority.clock,
        flush_interval=settings.usage_flush_interval,
        on_counts=metrics.count_verifications,
        rehash=rehash,
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
    metrics.observe("keybearer_cached_records", "Records that this process keeps.", lambda: len(records))
    metrics.observe("keybearer_view_fresh", "Whether the cache may be trusted now.", lambda: float(records.is_fresh))
    metrics.observe("keybearer_event_seq", "The newest event that this process has seen.", lambda: records.applied)
    return Node(authority, records, verifier, TrustedProxies(settings.proxies), metrics)


async def _work_on_its_own(node: Node, stack: contextlib.AsyncExitStack) -> None:
    """Start what one process of a node does unasked."""
    from .services.backchannel_logout import BackchannelLogout
    from .services.sweeper import Sweeper
    from .services.webhook_deliveries import WebhookDeliveries

    authority = node.authority
    for worker in (
        Sweeper(authority),
        BackchannelLogout(authority),
        WebhookDeliveries(authority, node.metrics.count_webhook),
    ):
        worker.start()
        stack.push_async_callback(worker.stop)


async def _serve_web(node: Node, listener: socket.socket, ready: Callable[[], None]) -> int:
    from . import server
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

    authority, records, verifier, proxies, metrics = node
    settings = authority.settings
    verify_edge = VerifyEdge(records, authority.own_api_id, authority.own_project_id, proxies, verifier)
    forward_edge = ForwardAuthEdge(records, proxies, verifier, settings.issuer_url, authority.seen_in_url)
    engines = (authority, verifier, proxies)
    edges: dict[bytes, Edge] = {
        introspection.PATH: IntrospectionEdge(*engines, metrics.counting(introspection.PATH.decode())),
        client_credentials.PATH: ClientCredentialsEdge(*engines, metrics.counting(client_credentials.PATH.decode())),
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
    async with contextlib.AsyncExitStack() as stack:
        if settings.ext_authz_port:
            ext_authz = await _ext_authz_server(settings, records, forward_edge, waiting_for(authority, verifier))
            stack.push_async_callback(ext_authz.stop, settings.shutdown_timeout)
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


@contextlib.asynccontextmanager
async def _gateway_of(node: Node, listener: socket.socket) -> AsyncIterator[None]:
    from .fetch import GuardedFetcher
    from .gateway.gateway import Gateway
    from .gateway.listener import listening

    settings = node.authority.settings
    gateway = Gateway(
        node.authority,
        node.verifier,
        node.proxies,
        file_routes=read_routes(settings),
        may_reach=GuardedFetcher(settings.reachable).may_reach,
        count=node.metrics.count_request,
    )
    node.metrics.observe(
        "keybearer_gateway_connections", "Clients that are connected to the gateway.", lambda: gateway.open_connections
    )
    async with listening(gateway, listener):
        yield
