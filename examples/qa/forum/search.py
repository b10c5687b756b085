"""Finding questions by the words in them or in their answers, with SQLite's own full-text index."""

from __future__ import annotations

import re
import sqlite3

MAX_WORDS = 8
MAX_FOUND = 200
_WORD = re.compile(r"\w+")


def index(db: sqlite3.Connection, question_id: int) -> None:
    """Put a question, as it is now, into the index; one that is deleted leaves it."""
    db.execute("DELETE FROM search WHERE rowid = ?", (question_id,))
    db.execute(
        "INSERT INTO search (rowid, title, tags, body)"
        " SELECT question.id, question.title,"
        " (SELECT group_concat(name, ' ') FROM tag WHERE question_id = question.id),"
        " (SELECT group_concat(body, char(10)) FROM post"
        "  WHERE (id = question.id OR question_id = question.id) AND deleted_at IS NULL)"
        " FROM post AS question WHERE question.id = ? AND question.deleted_at IS NULL",
        (question_id,),
    )


def find(db: sqlite3.Connection, text: str) -> list[int]:
    """Return the questions with all these words, the most fitting first: a word in a title counts most.

    Each word is quoted, so nothing that people type is taken for the index's own language.
    """
    words = _WORD.findall(text)[:MAX_WORDS]
    if not words:
        return []
    wanted = " ".join(f'"{word}"' for word in words[:-1]) + f' "{words[-1]}"*'
    rows = db.execute(
        "SELECT rowid FROM search WHERE search MATCH ? ORDER BY bm25(search, 10, 5, 1) LIMIT ?", (wanted, MAX_FOUND)
    )
    return [rowid for (rowid,) in rows]
