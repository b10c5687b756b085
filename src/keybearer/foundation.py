"""What every process opens first, and what use cases work with: ports joined to their engines."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .core.errors import ConfigurationError
from .settings import Settings

if TYPE_CHECKING:
    from .keyring import FileKeyring
    from .ports import ImmediateStore, Store
    from .services.authority import Authority
    from .stores.cached import CachedRecords
    from .stores.doorbell import SharedDoorbell

DOORBELL_FILE: Final = "keybearer.doorbell"


@dataclass(frozen=True, slots=True)
class Foundation:
    """What every process opens first: keys, doorbell and store."""

    settings: Settings
    keyring: FileKeyring
    doorbell: SharedDoorbell
    store: Store
    immediate: ImmediateStore | None


def make_store(
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
    store, immediate = make_store(settings, keyring, doorbell.ring)
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


def authority_of(base: Foundation, records: CachedRecords) -> Authority:
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


def records_of(base: Foundation) -> CachedRecords:
    from .stores.cached import CachedRecords

    return CachedRecords(
        base.store,
        base.immediate,
        lifetime=base.settings.view_lifetime,
        poll_interval=base.settings.poll_interval,
        entries=base.settings.cache_entries,
        doorbell=base.doorbell,
    )
