"""Edits: who wrote a post may better it, and so may people whom others have come to trust."""

from __future__ import annotations

import sqlite3

from . import people, posts, questions, revisions, search, writing
from .errors import AgainstTheRules

REPUTATION_TO_EDIT = 100


def may_edit(author_id: str, person_id: str, reputation: int, *, moderates: bool = False) -> bool:
    """Tell whether somebody may edit a post."""
    return author_id == person_id or moderates or reputation >= REPUTATION_TO_EDIT


def edit(
    db: sqlite3.Connection,
    person_id: str,
    post_id: int,
    *,
    body: str,
    now: int,
    title: str = "",
    tags: str = "",
    moderates: bool = False,
) -> int:
    """Change what a post says, keeping what it said, and return the id of its question.

    ``title`` and ``tags`` are those of a question. Raises ``Unreadable``, ``AgainstTheRules``, ``NotThere``.
    """
    row = posts.found_open(db, post_id)
    if not may_edit(row["author_id"], person_id, people.get(db, person_id).reputation, moderates=moderates):
        raise AgainstTheRules(f"To edit what others wrote you need a reputation of {REPUTATION_TO_EDIT}.")
    is_question = row["title"] is not None
    text = writing.body(body)
    heading = writing.title(title) if is_question else None
    names = writing.tags(tags) if is_question else ()
    db.execute(
        "UPDATE post SET title = ?, body = ?, edited_at = ?, active_at = ? WHERE id = ?",
        (heading, text, now, now, post_id),
    )
    if is_question:
        questions.put_tags(db, post_id, names)
    question_id = int(row["top_id"])
    db.execute("UPDATE post SET active_at = ? WHERE id = ?", (now, question_id))
    revisions.add(db, post_id, person_id, heading, names, text, now)
    search.index(db, question_id)
    return question_id
