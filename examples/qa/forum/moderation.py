"""Moderation: flags that anybody raises, and what moderators do about them. Who is one is not decided here."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from . import posts, search, writing
from .errors import AgainstTheRules


@dataclass(frozen=True, slots=True)
class Flagged:
    """A post that somebody wants looked at."""

    post_id: int
    question_id: int
    title: str
    excerpt: str
    reasons: tuple[str, ...]


def flag(db: sqlite3.Connection, person_id: str, post_id: int, reason: str, now: int) -> None:
    """Ask moderators to look at a post; a second flag of the same person replaces the first."""
    posts.found(db, post_id)
    db.execute(
        "INSERT INTO flag (post_id, person_id, reason, at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (post_id, person_id) DO UPDATE SET reason = excluded.reason, at = excluded.at, settled_by = NULL",
        (post_id, person_id, writing.reason(reason), now),
    )


def flagged(db: sqlite3.Connection) -> list[Flagged]:
    """Return what waits to be looked at, the oldest first."""
    rows = db.execute(
        "SELECT post.id, question.id, question.title, substr(post.body, 1, 200), group_concat(reason, char(10))"
        " FROM flag JOIN post ON post.id = flag.post_id"
        " JOIN post AS question ON question.id = coalesce(post.question_id, post.id)"
        " WHERE settled_by IS NULL GROUP BY post.id ORDER BY min(flag.at) LIMIT 100"
    )
    return [
        Flagged(post_id, question_id, title, excerpt, tuple(reasons.split("\n")))
        for post_id, question_id, title, excerpt, reasons in rows
    ]


def settle(db: sqlite3.Connection, moderator_id: str, post_id: int, now: int) -> None:
    """Leave a post as it is, and its flags done with."""
    posts.found(db, post_id, deleted=True)
    _settle(db, moderator_id, post_id)
    _note(db, moderator_id, post_id, "left", "", now)


def close(db: sqlite3.Connection, moderator_id: str, question_id: int, reason: str, now: int) -> None:
    """Close a question: it takes no answers, comments or edits."""
    row = posts.found_open(db, question_id)
    if row["title"] is None:
        raise AgainstTheRules("Only a question can be closed.")
    why = writing.reason(reason)
    db.execute("UPDATE post SET closed_because = ? WHERE id = ?", (why, question_id))
    _settle(db, moderator_id, question_id)
    _note(db, moderator_id, question_id, "closed", why, now)


def reopen(db: sqlite3.Connection, moderator_id: str, question_id: int, now: int) -> None:
    """Open a closed question again."""
    posts.found(db, question_id)
    db.execute("UPDATE post SET closed_because = NULL WHERE id = ?", (question_id,))
    _note(db, moderator_id, question_id, "reopened", "", now)


def delete(db: sqlite3.Connection, moderator_id: str, post_id: int, reason: str, now: int) -> int:
    """Take a post out of sight, and return the id of its question. Nothing is lost: ``restore`` brings it back."""
    row = posts.found(db, post_id)
    why = writing.reason(reason)
    db.execute("UPDATE post SET deleted_at = ? WHERE id = ?", (now, post_id))
    db.execute("UPDATE post SET accepted_id = NULL WHERE accepted_id = ?", (post_id,))
    search.index(db, row["top_id"])
    _settle(db, moderator_id, post_id)
    _note(db, moderator_id, post_id, "deleted", why, now)
    return int(row["top_id"])


def restore(db: sqlite3.Connection, moderator_id: str, post_id: int, now: int) -> int:
    """Bring a deleted post back, and return the id of its question."""
    row = posts.found(db, post_id, deleted=True)
    db.execute("UPDATE post SET deleted_at = NULL WHERE id = ?", (post_id,))
    search.index(db, row["top_id"])
    _note(db, moderator_id, post_id, "restored", "", now)
    return int(row["top_id"])


def _settle(db: sqlite3.Connection, moderator_id: str, post_id: int) -> None:
    db.execute("UPDATE flag SET settled_by = ? WHERE post_id = ? AND settled_by IS NULL", (moderator_id, post_id))


def _note(db: sqlite3.Connection, moderator_id: str, post_id: int, what: str, reason: str, now: int) -> None:
    db.execute(
        "INSERT INTO moderation (post_id, moderator_id, what, reason, at) VALUES (?, ?, ?, ?, ?)",
        (post_id, moderator_id, what, reason, now),
    )
