"""The PostgreSQL engine: a bounded pool, one transaction per work, and no guess about a commit that was cut off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

import asyncpg

from ..core.audit_chain import GENESIS
from ..core.errors import Unavailable
from ..ports import Clock
from . import migrations
from .postgresql_session import FAILURES, PostgresqlSession, TryAgain, numbered, translated, translated_at_start
from .session import Session
from .sql import PATIENCE_S, SqlStore

T = TypeVar("T")

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S: Final = 1.5
_ACQUIRE_TIMEOUT_S: Final = 1.8
_COMMAND_TIMEOUT_S: Final = 10.0
_MIGRATION_TIMEOUT_S: Final = 60.0
_CLOSE_TIMEOUT_S: Final = 5.0
_ATTEMPTS: Final = 5
_MIGRATION_LOCK: Final = 0x6B657962_65617265
"""The advisory lock under which nodes migrate, one after the other."""

_SETTINGS: Final = {
    "application_name": "keybearer",
    # A little under the client's own timeout, so that the server gives up first and says so.
    "statement_timeout": "9000",
    "lock_timeout": "5000",
    "idle_in_transaction_session_timeout": "15000",
}


async def _keep(connection: object) -> None:
    """Leave a returned connection as it is: nothing here changes a session, and resetting costs a round trip."""


class PostgresqlStore(SqlStore):
    """Fulfils ``ports.Store`` over one PostgreSQL database, which any number of nodes may share."""

    name: Final = "postgresql"

    def __init__(self, url: str, audit_key: bytes, *, clock: Clock | None = None, pool_size: int = 10) -> None:
        super().__init__(audit_key, clock)
        self._url = url
        self._pool_size = pool_size
        self._pool: Any = None
        self._closing = False
        self._users = 0
        self._unused = asyncio.Event()

    async def open(self) -> None:
        """Migrate, and open the pool."""
        try:
            settings = await self._prepare()
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=0,  # more would be kept up in the background, loudly, while the server is away
                max_size=self._pool_size,
                timeout=_CONNECT_TIMEOUT_S,
                command_timeout=_COMMAND_TIMEOUT_S,
                statement_cache_size=256,
                max_cached_statement_lifetime=0,
                server_settings=settings,
                reset=_keep,
            )
        except FAILURES as error:
            raise translated_at_start(error) from error

    async def close(self) -> None:
        """Wait for what was accepted, and close all connections."""
        self._closing = True
        pool = self._pool
        if pool is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                while self._users:
                    self._unused.clear()
                    await self._unused.wait()
                await pool.close()
        except FAILURES:
            pool.terminate()
        self._pool = None

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if self._pool is None or self._closing:
            raise Unavailable("The store is closed.")
        self._users += 1
        try:
            connection = await self._acquired()
            try:
                yield connection
            except (Unavailable, asyncio.CancelledError):
                # Whatever it still waits for, nobody wants: a fresh connection is cheaper than asking a silent server.
                with contextlib.suppress(*FAILURES):
                    connection.terminate()
                raise
            finally:
                with contextlib.suppress(*FAILURES):
                    await self._pool.release(connection)
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def _acquired(self) -> Any:
        try:
            return await self._pool.acquire(timeout=_ACQUIRE_TIMEOUT_S)
        except FAILURES as error:
            raise translated(error) from error

    async def _read(self, ask: Callable[[Session], Awaitable[T]], patience: float = PATIENCE_S) -> T:
        for attempt in (1, 2):
            try:
                async with asyncio.timeout(patience), self._connection() as connection:
                    return await ask(PostgresqlSession(connection))
            except TimeoutError as error:
                raise Unavailable("The database did not answer in time.") from error
            except TryAgain as error:
                if attempt == 2:
                    raise Unavailable("The database cannot answer.", detail=str(error)) from error
        raise AssertionError("unreachable")

    async def _write(self, work: Callable[[Session], Awaitable[T]]) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                result, head = await self._attempt(work)
            except TryAgain as error:
                if attempt == _ATTEMPTS:
                    raise Unavailable("Too many changes at once; try again.", detail=str(error)) from error
                await asyncio.sleep(random.uniform(0.001, 0.02) * attempt)  # noqa: S311
            else:
                self._ring(head)
                return result
        raise AssertionError("unreachable")

    def _ring(self, head: int) -> None:
        if head and self.on_commit is not None:
            try:
                self.on_commit(head)
            except Exception:
                log.exception("the commit hook failed")

    async def _attempt(self, work: Callable[[Session], Awaitable[T]]) -> tuple[T, int]:
        """Run one transaction; return its result and the newest event that it appended, 0 if none."""
        async with self._connection() as connection:
            session = PostgresqlSession(connection)
            try:
                await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                result = await work(session)
            except FAILURES as error:
                await self._roll_back(connection)
                raise translated(error) from error
            except BaseException:
                await self._roll_back(connection)
                raise
            await self._commit(connection)
            return result, session.head

    async def _roll_back(self, connection: Any) -> None:
        with contextlib.suppress(*FAILURES):
            if not connection.is_closed():
                await connection.execute("ROLLBACK")

    async def _commit(self, connection: Any) -> None:
        """Commit; raises ``Unavailable`` whenever it is not certain that the transaction is durable.

        A wait for a synchronous standby that is cancelled ends in success and a mere warning, so a warning here counts
        as *unknown*. A transaction that an error had aborted answers COMMIT with ``ROLLBACK``.
        """
        warnings: list[str] = []

        def hear(_: object, message: Any) -> None:
            if message.severity_en == "WARNING":
                warnings.append(str(message))

        connection.add_log_listener(hear)
        try:
            status = await connection.execute("COMMIT")
        except (asyncpg.SerializationError, asyncpg.IntegrityConstraintViolationError) as error:
            raise translated(error) from error
        except FAILURES as error:
            raise Unavailable("It is not known whether the change was kept.", detail=repr(error)) from error
        finally:
            with contextlib.suppress(*FAILURES):  # a connection that died is gone from the pool already
                connection.remove_log_listener(hear)
        if warnings or status != "COMMIT":
            raise Unavailable("It is not certain that the change was kept.", detail="; ".join((status, *warnings)))

    # The schema

    async def _prepare(self) -> dict[str, str]:
        """Migrate under a lock that all nodes share, and return the settings for this store's connections."""
        connection: Any = await asyncpg.connect(
            self._url,
            timeout=_CONNECT_TIMEOUT_S,
            command_timeout=_MIGRATION_TIMEOUT_S,
            statement_cache_size=0,
            server_settings={"application_name": "keybearer"},
        )
        try:
            async with connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
                await connection.execute(migrations.CREATE_VERSION_TABLE)
                await self._apply(connection)
            # An acknowledgement means durable, also on a server that is set up to be faster than that. Any other value
            # is left alone: it may ask for more than this machine's disk.
            settings = dict(_SETTINGS)
            if await connection.fetchval("SHOW synchronous_commit") == "off":
                settings["synchronous_commit"] = "on"
            return settings
        finally:
            with contextlib.suppress(*FAILURES):
                await connection.close(timeout=_CONNECT_TIMEOUT_S)

    async def _apply(self, connection: Any) -> None:
        for version in migrations.pending(await connection.fetchval(migrations.READ_VERSION)):
            for statement in migrations.statements(version, for_sqlite=False):
                await connection.execute(statement)
            if version == 1:
                await connection.execute(numbered(migrations.FIRST_HEADS), GENESIS)
            await connection.execute(numbered(migrations.WRITE_VERSION), version, self._now())
