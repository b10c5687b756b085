"""Questions: asking one, listing them, and showing one with its answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from . import posts, revisions, search, writing
from .errors import NotThere
from .posts import Post

Sort = Literal["active", "newest", "votes", "unanswered"]
PER_PAGE = 15
MAX_PAGE = 1000
_ORDER: dict[Sort, str] = {
    "active": "post.active_at DESC, post.id DESC",
    "newest": "post.created_at DESC, post.id DESC",
    "votes": "score DESC, post.id DESC",
    "unanswered": "score DESC, post.id DESC",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """A question as it stands in a list."""

    id: int
    title: str
    author_id: str
    author: str
    score: int
    answers: int
    accepted: bool
    closed: bool
    created_at: int
    active_at: int
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of questions, and whether there is another."""

    questions: tuple[Summary, ...]
    page: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class Thread:
    """A question with its answers, the accepted one first, then the best."""

    question: Post
    answers: tuple[Post, ...]
    tags: tuple[str, ...]
    accepted_id: int | None
    closed_because: str | None


def ask(db: sqlite3.Connection, author_id: str, title: str, body: str, tags: str, now: int) -> int:
    """Ask a question and return its id. Raises ``Unreadable``."""
    heading, text, names = writing.title(title), writing.body(body), writing.tags(tags)
    question_id = db.execute(
        "INSERT INTO post (author_id, title, body, created_at, active_at) VALUES (?, ?, ?, ?, ?) RETURNING id",
        (author_id, heading, text, now, now),
    ).fetchone()[0]
    put_tags(db, question_id, names)
    revisions.add(db, question_id, author_id, heading, names, text, now)
    search.index(db, question_id)
    return int(question_id)


def put_tags(db: sqlite3.Connection, question_id: int, names: Sequence[str]) -> None:
    """Give a question these tags and no others."""
    db.execute("DELETE FROM tag WHERE question_id = ?", (question_id,))
    db.executemany("INSERT INTO tag (name, question_id) VALUES (?, ?)", [(name, question_id) for name in names])


def tags_of(db: sqlite3.Connection, question_id: int) -> tuple[str, ...]:
    """Return the tags of a question."""
    rows = db.execute("SELECT name FROM tag WHERE question_id = ? ORDER BY name", (question_id,))
    return tuple(name for (name,) in rows)


def show(db: sqlite3.Connection, question_id: int, reader_id: str | None, *, with_deleted: bool = False) -> Thread:
    """Return a question with its answers. Raises ``NotThere``."""
    row = posts.found(db, question_id, deleted=with_deleted)
    if row["title"] is None:
        raise NotThere("There is no such question.")
    question, *answers = posts.shown(db, question_id, reader_id, with_deleted=with_deleted)
    return Thread(question, tuple(answers), tags_of(db, question_id), row["accepted_id"], row["closed_because"])


def listed(
    db: sqlite3.Connection,
    sort: Sort = "active",
    *,
    tag: str = "",
    words: str = "",
    author_id: str = "",
    page: int = 1,
) -> Listing:
    """Return a page of questions: with a tag, by somebody, or with words in them (the most fitting first)."""
    where, values, order = ["post.question_id IS NULL", "post.deleted_at IS NULL"], [], _ORDER[sort]
    if tag:
        where.append("post.id IN (SELECT question_id FROM tag WHERE tag.name = ?)")
        values.append(tag)
    if author_id:
        where.append("post.author_id = ?")
        values.append(author_id)
    if sort == "unanswered":
        where.append("answers = 0")
    if words:
        ids = search.find(db, words)
        if not ids:
            return Listing((), 1, has_more=False)
        where.append(f"post.id IN ({','.join('?' * len(ids))})")
        values += [str(one) for one in ids]
        order = "CASE post.id " + " ".join(f"WHEN {one:d} THEN {rank}" for rank, one in enumerate(ids)) + " END"
    page = min(max(page, 1), MAX_PAGE)
    rows = db.execute(
        "SELECT post.id, title, author_id, person.name, score, accepted_id IS NOT NULL AS accepted,"
        " closed_because IS NOT NULL AS closed, post.created_at, post.active_at,"
        " (SELECT count(*) FROM post AS answer WHERE answer.question_id = post.id AND answer.deleted_at IS NULL)"
        " AS answers, (SELECT group_concat(name, ' ') FROM tag WHERE tag.question_id = post.id) AS tags"
        " FROM post JOIN person ON person.id = author_id JOIN score ON score.post_id = post.id"
        f" WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ? OFFSET ?",
        (*values, PER_PAGE + 1, (page - 1) * PER_PAGE),
    ).fetchall()
    return Listing(tuple(map(_summary, rows[:PER_PAGE])), page, len(rows) > PER_PAGE)


def _summary(row: sqlite3.Row) -> Summary:
    return Summary(
        id=row["id"],
        title=row["title"],
        author_id=row["author_id"],
        author=row["name"],
        score=row["score"],
        answers=row["answers"],
        accepted=bool(row["accepted"]),
        closed=bool(row["closed"]),
        created_at=row["created_at"],
        active_at=row["active_at"],
        tags=tuple(sorted((row["tags"] or "").split())),
    )


def tags_in_use(db: sqlite3.Connection, count: int = 200) -> list[tuple[str, int]]:
    """Return the tags and how many questions have each, the most used first."""
    rows = db.execute(
        "SELECT name, count(*) FROM tag JOIN post ON post.id = tag.question_id WHERE deleted_at IS NULL"
        " GROUP BY name ORDER BY count(*) DESC, name LIMIT ?",
        (count,),
    )
    return [(name, number) for name, number in rows]
