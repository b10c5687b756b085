"""The versioned schema: numbered SQL files, applied in order and each once.

The files are written for PostgreSQL; SQLite reads them after the few words in ``_SQLITE`` are replaced. Each engine
runs them under a lock of its own, so that several nodes may start at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ...core.errors import ConfigurationError

CREATE_VERSION_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)"
)
READ_VERSION: Final = "SELECT MAX(version) FROM schema_version"
WRITE_VERSION: Final = "INSERT INTO schema_version (version, applied_at) VALUES (?, ?)"
FIRST_HEADS: Final = "INSERT INTO heads (one, head, audit_head, audit_digest) VALUES (1, 0, 0, ?)"

# SQLite compares text byte by byte unless told otherwise, which is what "C" asks of PostgreSQL. Small rows that are
# found by their key alone need no second tree of row numbers there.
_SQLITE: Final = ((' COLLATE "C"', ""), ("BYTEA", "BLOB"), ("USING heap", "WITHOUT ROWID"))

_FILES: Final = {int(path.name[:4]): path for path in sorted(Path(__file__).parent.glob("[0-9][0-9][0-9][0-9]_*.sql"))}

NEWEST: Final = max(_FILES)


def pending(current: int | None) -> tuple[int, ...]:
    """Return the versions still to apply; raises ``ConfigurationError`` for a database from a newer Keybearer."""
    version = current or 0
    if version > NEWEST:
        raise ConfigurationError(
            f"The database has schema version {version}, but this Keybearer knows only {NEWEST}. "
            "Run the newer Keybearer that wrote it, or restore a backup from before the upgrade."
        )
    return tuple(range(version + 1, NEWEST + 1))


def statements(version: int, *, for_sqlite: bool) -> Iterator[str]:
    """Yield the statements of one version."""
    text = "\n".join(line for line in _FILES[version].read_text().splitlines() if not line.startswith("--"))
    if for_sqlite:
        for word, replacement in _SQLITE:
            text = text.replace(word, replacement)
    for statement in (text + "\n").split(";\n"):
        if statement.strip():
            yield statement.strip()
