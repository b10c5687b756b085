"""Comments: short remarks below a question or an answer."""

from __future__ import annotations

import sqlite3

from . import posts, writing
from .errors import AgainstTheRules

MOST = 50


def comment(db: sqlite3.Connection, author_id: str, post_id: int, body: str, now: int) -> int:
    """Remark on a post and return the remark's id. Raises ``Unreadable``, ``AgainstTheRules``, ``NotThere``."""
    posts.found_open(db, post_id)
    text = writing.comment(body)
    (count,) = db.execute("SELECT count(*) FROM comment WHERE post_id = ?", (post_id,)).fetchone()
    if count >= MOST:
        raise AgainstTheRules("Enough has been remarked here; write an answer.")
    return int(
        db.execute(
            "INSERT INTO comment (post_id, author_id, body, created_at) VALUES (?, ?, ?, ?) RETURNING id",
            (post_id, author_id, text, now),
        ).fetchone()[0]
    )
