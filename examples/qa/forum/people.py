"""People: the name that each goes by, and the reputation that others gave them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from .errors import NotThere


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has been here."""

    id: str
    name: str
    reputation: int


def remember(db: sqlite3.Connection, person_id: str, name: str, now: int) -> None:
    """Note that somebody was here. Without a name they keep the one they have, or go by a part of their id."""
    db.execute(
        "INSERT INTO person (id, name, seen_at) VALUES (:id, coalesce(:name, :stem), :now)"
        " ON CONFLICT (id) DO UPDATE SET name = coalesce(:name, name), seen_at = :now",
        {"id": person_id, "name": name[:60].strip() or None, "stem": f"reader {person_id[-6:]}", "now": now},
    )


def get(db: sqlite3.Connection, person_id: str) -> Person:
    """Return a person. Raises ``NotThere``."""
    row = db.execute(
        "SELECT id, name, reputation FROM person JOIN reputation ON person_id = id WHERE id = ?", (person_id,)
    ).fetchone()
    if row is None:
        raise NotThere("Nobody of that name has been here.")
    return Person(*row)


def best(db: sqlite3.Connection, count: int = 50) -> list[Person]:
    """Return those with the most reputation."""
    rows = db.execute(
        "SELECT id, name, reputation FROM person JOIN reputation ON person_id = id"
        " ORDER BY reputation DESC, name LIMIT ?",
        (count,),
    )
    return [Person(*row) for row in rows]
