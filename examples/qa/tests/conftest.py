"""A forum in a file of its own, with three people."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.qa.forum import people
from examples.qa.forum.database import Database

NOW = 1_795_000_000


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """One change that lasts as long as the test."""
    with Database(tmp_path / "forum.db").changing() as connection:
        for name in ("Ada", "Ben", "Cleo"):
            people.remember(connection, name.lower(), name, NOW)
        yield connection
