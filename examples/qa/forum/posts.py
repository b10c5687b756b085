"""Posts: what questions and answers have in common, and how each is found before anything is done to it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from .errors import AgainstTheRules, NotThere


@dataclass(frozen=True, slots=True)
class Comment:
    """A remark below a post."""

    id: int
    author_id: str
    author: str
    body: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Post:
    """A question or an answer, as it is shown. ``vote`` is what whoever looks gave it."""

    id: int
    question_id: int
    author_id: str
    author: str
    reputation: int
    title: str | None
    body: str
    score: int
    created_at: int
    edited_at: int | None
    deleted: bool
    vote: int
    comments: tuple[Comment, ...]

    @property
    def is_question(self) -> bool:
        """Tell whether this is a question."""
        return self.title is not None


def found(db: sqlite3.Connection, post_id: int, *, deleted: bool = False) -> sqlite3.Row:
    """Return the row of a post, with what its question says: ``top_id``, ``asker_id``, ``closed``. Raises ``NotThere``.

    An answer below a deleted question is as good as deleted.
    """
    row: sqlite3.Row | None = db.execute(
        "SELECT post.*, question.id AS top_id, question.author_id AS asker_id, question.closed_because AS closed,"
        " question.deleted_at AS top_deleted_at"
        " FROM post JOIN post AS question ON question.id = coalesce(post.question_id, post.id) WHERE post.id = ?",
        (post_id,),
    ).fetchone()
    if row is None or (not deleted and (row["deleted_at"] is not None or row["top_deleted_at"] is not None)):
        raise NotThere("There is no such question or answer.")
    return row


def found_open(db: sqlite3.Connection, post_id: int) -> sqlite3.Row:
    """Return the row of a post whose question is open. Raises ``NotThere``, ``AgainstTheRules``."""
    row = found(db, post_id)
    if row["closed"] is not None:
        raise AgainstTheRules("This question is closed.")
    return row


def shown(db: sqlite3.Connection, question_id: int, reader_id: str | None, *, with_deleted: bool) -> list[Post]:
    """Return a question and its answers: the question, then what its asker accepted, then the best."""
    rows = db.execute(
        "SELECT post.id, ?1 AS question_id, author_id, name, reputation, title, body, score, created_at, edited_at,"
        " deleted_at IS NOT NULL AS deleted, coalesce(vote.value, 0) AS vote"
        " FROM post JOIN person ON person.id = author_id JOIN reputation ON reputation.person_id = author_id"
        " JOIN score ON score.post_id = post.id"
        " LEFT JOIN vote ON vote.post_id = post.id AND vote.person_id = ?2"
        " WHERE (post.id = ?1 OR post.question_id = ?1) AND (?3 OR deleted_at IS NULL)"
        " ORDER BY post.question_id IS NOT NULL,"
        " post.id = (SELECT accepted_id FROM post WHERE id = ?1) DESC, score DESC, post.id",
        (question_id, reader_id, with_deleted),
    ).fetchall()
    comments: dict[int, list[Comment]] = {}
    for row in db.execute(
        "SELECT post_id, comment.id, author_id, name, comment.body, comment.created_at"
        " FROM comment JOIN person ON person.id = author_id"
        " WHERE post_id IN (SELECT id FROM post WHERE id = ?1 OR question_id = ?1) ORDER BY comment.id",
        (question_id,),
    ):
        comments.setdefault(row["post_id"], []).append(Comment(*tuple(row)[1:]))
    return [_post(row, tuple(comments.get(row["id"], ()))) for row in rows]


def _post(row: sqlite3.Row, comments: tuple[Comment, ...]) -> Post:
    return Post(
        id=row["id"],
        question_id=row["question_id"],
        author_id=row["author_id"],
        author=row["name"],
        reputation=row["reputation"],
        title=row["title"],
        body=row["body"],
        score=row["score"],
        created_at=row["created_at"],
        edited_at=row["edited_at"],
        deleted=bool(row["deleted"]),
        vote=row["vote"],
        comments=comments,
    )
