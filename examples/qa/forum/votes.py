"""Votes: one for each person and post, up or down, which they may change or take back."""

from __future__ import annotations

import sqlite3

from . import posts
from .errors import AgainstTheRules, Unreadable


def vote(db: sqlite3.Connection, person_id: str, post_id: int, value: int) -> int:
    """Vote a post up (1), down (-1), or not at all (0), and return its score. Nobody votes for themselves."""
    if value not in (-1, 0, 1):
        raise Unreadable("value", "A vote is 1, -1 or 0.")
    row = posts.found(db, post_id)
    if row["author_id"] == person_id:
        raise AgainstTheRules("Nobody votes on what they wrote themselves.")
    if value:
        db.execute(
            "INSERT INTO vote (post_id, person_id, value) VALUES (?, ?, ?)"
            " ON CONFLICT (post_id, person_id) DO UPDATE SET value = excluded.value",
            (post_id, person_id, value),
        )
    else:
        db.execute("DELETE FROM vote WHERE post_id = ? AND person_id = ?", (post_id, person_id))
    return int(db.execute("SELECT score FROM score WHERE post_id = ?", (post_id,)).fetchone()[0])
