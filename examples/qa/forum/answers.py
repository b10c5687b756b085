"""Answers: giving one, and accepting the one that helped."""

from __future__ import annotations

import sqlite3

from . import posts, revisions, search, writing
from .errors import AgainstTheRules, NotThere


def answer(db: sqlite3.Connection, author_id: str, question_id: int, body: str, now: int) -> int:
    """Answer an open question and return the answer's id. Raises ``Unreadable``, ``AgainstTheRules``, ``NotThere``."""
    question = posts.found_open(db, question_id)
    if question["title"] is None:
        raise NotThere("There is no such question.")
    text = writing.body(body)
    answer_id = db.execute(
        "INSERT INTO post (question_id, author_id, body, created_at, active_at) VALUES (?, ?, ?, ?, ?) RETURNING id",
        (question_id, author_id, text, now, now),
    ).fetchone()[0]
    revisions.add(db, answer_id, author_id, None, (), text, now)
    db.execute("UPDATE post SET active_at = ? WHERE id = ?", (now, question_id))
    search.index(db, question_id)
    return int(answer_id)


def accept(db: sqlite3.Connection, person_id: str, answer_id: int, *, accepted: bool) -> int:
    """Say that an answer helped, or no longer; only who asked may. Returns the question's id."""
    row = posts.found(db, answer_id)
    if row["title"] is not None:
        raise AgainstTheRules("A question cannot be accepted.")
    if row["asker_id"] != person_id:
        raise AgainstTheRules("Only who asked the question accepts an answer.")
    question_id = int(row["top_id"])
    if accepted:
        db.execute("UPDATE post SET accepted_id = ? WHERE id = ?", (answer_id, question_id))
    else:
        db.execute("UPDATE post SET accepted_id = NULL WHERE id = ? AND accepted_id = ?", (question_id, answer_id))
    return question_id
