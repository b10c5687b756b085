"""One upstream: its pool of connections, whom it may be, and whether it is worth asking at all.

A pool is bounded, and so is the wait for a place in it. The breaker opens after failures in a row and lets one request
try again after a while; retries take from a budget, so that they never multiply a failure.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from .outbound import Outbound, UpstreamFailed

IDLE_IN: Final = 30.0
"""Seconds that a connection is kept for the next request; many servers close after a minute or so."""
FAILURES: Final = 5
OPEN_IN: Final = 5.0
"""After this many failures in a row nobody asks for so many seconds."""
RETRY_SHARE: Final = 0.2
MOST_RETRIES: Final = 10.0
MAX_WAITING: Final = 1000
Address = IPv4Address | IPv6Address


class Unwilling(Exception):
    """The upstream is not asked now; ``retry_in`` is in seconds."""

    def __init__(self, why: str, retry_in: float) -> None:
        super().__init__(why)
        self.retry_in = retry_in


class Breaker:
    """Counts failures in a row: closed, open, and half open, when one request may try."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures = 0
        self._open_until = 0.0
        self._trying = False

    def enter(self) -> None:
        """Raise ``Unwilling`` while the upstream is left alone."""
        if self._failures < FAILURES:
            return
        left = self._open_until - self._now()
        if left > 0 or self._trying:
            raise Unwilling("it failed several times in a row", max(left, 1.0))
        self._trying = True

    def leave(self) -> None:
        """The request ended without telling anything about the upstream, as when its client went away."""
        self._trying = False

    def succeeded(self) -> None:
        """It answered."""
        self._failures, self._trying = 0, False

    def failed(self) -> None:
        """It did not."""
        self._failures += 1
        self._trying = False
        if self._failures >= FAILURES:
            self._open_until = self._now() + OPEN_IN


class RetryBudget:
    """Every request adds a fifth of a retry, up to ten."""

    def __init__(self) -> None:
        self._left = MOST_RETRIES

    def asked(self) -> None:
        """Count a first try."""
        self._left = min(MOST_RETRIES, self._left + RETRY_SHARE)

    def take(self) -> bool:
        """Tell whether one more try is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Upstream:
    """The connections to one origin. ``may_reach`` judges every address that the name has, and pins the connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        scheme: str,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        may_reach: Callable[[Address], bool] | None,
        most: int,
    ) -> None:
        self.loop = loop
        self.breaker = Breaker(loop.time)
        self.retries = RetryBudget()
        self.most = most
        self._host, self._port, self._tls = host, port, tls
        self._may_reach = may_reach
        self._idle: list[tuple[float, Outbound]] = []
        self._open: set[Outbound] = set()
        self._connecting = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.name = f"{scheme}://{host}:{port}"

    @property
    def is_used(self) -> bool:
        """Whether anything is open here, or about to be."""
        return bool(self._open or self._connecting or self._waiting)

    @property
    def connections(self) -> set[Outbound]:
        """All connections that are open."""
        return self._open

    async def connection(self, connect_in: float, idle_in: float) -> Outbound:
        """Return a connection for one request; raises ``UpstreamFailed`` and ``Unwilling``."""
        if self._is_full:
            await self._wait(connect_in)
        while self._idle:
            since, kept = self._idle.pop()
            if not kept.is_closing and self.loop.time() - since < IDLE_IN and not kept.has_unread:
                kept.stalled_in = idle_in
                return kept
            kept.abort()
        self._connecting += 1
        try:
            return await self._connect(connect_in, idle_in)
        except BaseException:
            self._wake()
            raise
        finally:
            self._connecting -= 1

    def give_back(self, connection: Outbound) -> None:
        """Keep a connection for the next request, or close it."""
        if connection.is_reusable and len(self._open) <= self.most:
            connection.rest()
            self._idle.append((self.loop.time(), connection))
        else:
            connection.abort()
        self._wake()

    def lost(self, connection: Outbound) -> None:
        """A connection is closed."""
        self._open.discard(connection)
        self._idle = [(since, kept) for since, kept in self._idle if kept is not connection]
        self._wake()

    def look(self, now: float) -> None:
        """Close what lay idle for too long."""
        while self._idle and now - self._idle[0][0] >= IDLE_IN:
            self._idle.pop(0)[1].abort()

    def close(self) -> None:
        """Close everything."""
        for connection in tuple(self._open):
            connection.abort()

    @property
    def _is_full(self) -> bool:
        return len(self._open) + self._connecting - len(self._idle) >= self.most

    async def _wait(self, seconds: float) -> None:
        if len(self._waiting) >= MAX_WAITING:
            raise Unwilling("too many requests wait for it", 1.0)
        try:
            async with asyncio.timeout(seconds):
                while self._is_full:  # a place may be gone again, or not there yet: its connection is still closing
                    await self._turn()
        except TimeoutError:
            raise Unwilling("all its connections are in use", 1.0) from None

    async def _turn(self) -> None:
        turn = self.loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._wake()  # it was our turn, and is the next one's now
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _connect(self, connect_in: float, idle_in: float) -> Outbound:
        try:
            async with asyncio.timeout(connect_in):
                host = await self._checked_address() if self._may_reach is not None else self._host
                _, connection = await self.loop.create_connection(
                    lambda: Outbound(self, idle_in),
                    host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls is not None else None,
                )
        except TimeoutError:
            raise UpstreamFailed("it did not take a connection in time", untouched=True, timed_out=True) from None
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or type(error).__name__
            raise UpstreamFailed(f"its TLS cannot be trusted: {reason}", untouched=True) from None
        except (OSError, UnicodeError) as error:
            raise UpstreamFailed(f"it takes no connection: {type(error).__name__}", untouched=True) from None
        if connection.is_lost:
            raise UpstreamFailed("it closed the connection at once", untouched=True)
        self._open.add(connection)
        return connection

    async def _checked_address(self) -> str:
        """Return the address to connect to; the name is looked up once, and every address it has is judged."""
        assert self._may_reach is not None  # noqa: S101
        found = await self.loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = [ip_address(str(info[4][0]).partition("%")[0]) for info in found]
        if not addresses or not all(self._may_reach(address) for address in addresses):
            raise UpstreamFailed("it lies in a network that may not be reached", untouched=True)
        return str(addresses[0])
