"""A data directory with any number of keys in it, filled at the speed of the disk.

Rows are written as the store would write them, but without events and audit entries, and in large transactions.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from keybearer import app
from keybearer.core import base62
from keybearer.core.credential import ID_LENGTH, ID_TIME_WIDTH, SECRET_LENGTH, checksum, new_id
from keybearer.core.instant import Instant
from keybearer.core.records import (
    KEY_ID,
    PROJECT_ID,
    ApiKey,
    CredentialKind,
    Environment,
    Project,
    RateLimit,
    Record,
    SecretVersion,
)
from keybearer.keyring import FileKeyring, open_keyring
from keybearer.services.bootstrap import OWN_PROJECT_ID
from keybearer.settings import Settings
from keybearer.stores.session import machine_now
from keybearer.stores.tables import TABLES, encode, own_values

HUGE = 1_000_000_000
ROWS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Stock:
    """A filled data directory; ``credentials`` is a file of ``count`` lines, each of ``width`` characters."""

    data: Path
    root_key: str
    service_key: str
    project_id: str
    credentials: Path
    count: int
    width: int

    def first(self, count: int) -> list[str]:
        """Return some credentials, spread evenly over all."""
        step = max(1, self.count // count)
        with open(self.credentials, encoding="ascii") as lines:
            return [line.rstrip("\n") for line in islice(lines, 0, step * count, step)]


def stock(data: Path, count: int) -> Stock:
    """Make an authority with ``count`` keys, each with one rate limit that is never reached."""
    settings = Settings(data=data)
    root_key = app.init(settings, "benchmark@example.com", None)["root_key"]
    keyring = open_keyring(data, create=False)
    now = machine_now()
    project = Project(id=PROJECT_ID + new_id(now), created_at=now, updated_at=now, name="Orders")
    service, service_key = _key(keyring, now, OWN_PROJECT_ID, "service", ("keybearer:verify",))
    credentials = data / "credentials.txt"
    made = (_key(keyring, Instant(now + n * 1000), project.id, f"key {n}", ("orders:read",)) for n in range(count))
    database = data / "keybearer.db"
    width = 0
    with sqlite3.connect(database, isolation_level=None) as connection, open(credentials, "w") as file:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -200000")
        _insert(connection, [project])
        _insert(connection, [service])
        while batch := list(islice(made, ROWS_AT_ONCE)):
            _insert(connection, [key for key, _ in batch])
            file.writelines(text + "\n" for _, text in batch)
            width = len(batch[0][1])
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    return Stock(data, str(root_key), service_key, project.id, credentials, count, width)


def _insert(connection: sqlite3.Connection, records: list[Record]) -> None:
    table = TABLES[type(records[0])]
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(table.insert, _rows(records))
    connection.execute("COMMIT")


def _rows(records: list[Record]) -> Iterator[tuple[object, ...]]:
    for record in records:
        table = TABLES[type(record)]
        first = (record.id, record.state, record.revision, record.deleted_at)
        yield (*first, *own_values(table, record), encode(record))


def _key(
    keyring: FileKeyring, now: Instant, project_id: str, name: str, permissions: tuple[str, ...]
) -> tuple[ApiKey, str]:
    # Written like a minted credential; the operating system's randomness for a million of them would take minutes.
    noise = "".join(random.choices(base62.ALPHABET, k=ID_LENGTH - ID_TIME_WIDTH + SECRET_LENGTH))
    public_id = base62.encode(now // 1000, ID_TIME_WIDTH) + noise[:-SECRET_LENGTH]
    body = f"kb_sk_live_{public_id}_{noise[-SECRET_LENGTH:]}"
    text = body + checksum(body)
    pepper_id = keyring.active_pepper_id
    key = ApiKey(
        id=KEY_ID + public_id,
        created_at=now,
        updated_at=now,
        project_id=project_id,
        kind=CredentialKind.SECRET_KEY,
        environment=Environment.LIVE,
        prefix="kb_sk_live",
        name=name,
        versions=(SecretVersion(1, keyring.digest(pepper_id, text), now, pepper_id=pepper_id),),
        permissions=permissions,
        limits=(RateLimit("requests", HUGE, 1_000_000, HUGE),) if project_id != OWN_PROJECT_ID else (),
        created_by="system",
    )
    return key, text
