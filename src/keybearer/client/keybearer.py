"""``Keybearer`` and ``AsyncKeybearer``: the same operations, blocking and awaitable."""

from __future__ import annotations

from types import TracebackType
from typing import Final, TypeVar

import httpx

from ..core.secret import Secret
from .authority import Authority
from .call import Call
from .connection import Retries, connect
from .drivers import AsyncDriver, Describing, SyncDriver

T = TypeVar("T")

calls: Final = Authority(Describing())
"""Every operation as a :class:`Call` that has not been made: look at it, keep it, give it to ``send``."""


class Keybearer(Authority[SyncDriver]):
    """Speak to a Keybearer; thread-safe. Close it, or use it as a context manager.

    ``timeout`` bounds, in seconds, each wait for the network, not a whole import. ``transport`` is for tests. Raises
    ``ValueError`` for an address that is not fit, and ``ClientError`` from every operation that fails.
    """

    def __init__(
        self,
        url: str,
        key: str | Secret | None,
        *,
        timeout: float = 10.0,
        retries: Retries | None = None,
        allow_http: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        connection = connect(url, key, timeout=timeout, retries=retries, allow_http=allow_http)
        super().__init__(SyncDriver(connection, transport))

    def send(self, call: Call[T]) -> T:
        """Carry out a call that was described with ``calls``."""
        return self._driver.run(call)

    def close(self) -> None:
        """Close the connections."""
        self._driver.http.close()

    def __enter__(self) -> Keybearer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._driver.connection.url!r})"


class AsyncKeybearer(Authority[AsyncDriver]):
    """Speak to a Keybearer from asyncio; the operations are those of :class:`Keybearer`, to be awaited."""

    def __init__(
        self,
        url: str,
        key: str | Secret | None,
        *,
        timeout: float = 10.0,
        retries: Retries | None = None,
        allow_http: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        connection = connect(url, key, timeout=timeout, retries=retries, allow_http=allow_http)
        super().__init__(AsyncDriver(connection, transport))

    async def send(self, call: Call[T]) -> T:
        """Carry out a call that was described with ``calls``."""
        return await self._driver.run(call)

    async def close(self) -> None:
        """Close the connections."""
        await self._driver.http.aclose()

    async def __aenter__(self) -> AsyncKeybearer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._driver.connection.url!r})"
