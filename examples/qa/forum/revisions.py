"""Revisions: everything a post has ever said, and who changed it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from . import posts


@dataclass(frozen=True, slots=True)
class Revision:
    """What a post said from some time on."""

    number: int
    editor_id: str
    editor: str
    title: str | None
    tags: tuple[str, ...]
    body: str
    at: int


def add(
    db: sqlite3.Connection, post_id: int, editor_id: str, title: str | None, tags: Sequence[str], body: str, now: int
) -> None:
    """Keep what a post says now."""
    db.execute(
        "INSERT INTO revision (post_id, number, editor_id, title, tags, body, at)"
        " SELECT ?1, 1 + count(*), ?2, ?3, ?4, ?5, ?6 FROM revision WHERE post_id = ?1",
        (post_id, editor_id, title, " ".join(tags), body, now),
    )


def history(db: sqlite3.Connection, post_id: int, *, with_deleted: bool = False) -> list[Revision]:
    """Return all revisions of a post, the newest first. Raises ``NotThere``."""
    posts.found(db, post_id, deleted=with_deleted)
    rows = db.execute(
        "SELECT number, editor_id, name, title, tags, body, at FROM revision JOIN person ON person.id = editor_id"
        " WHERE post_id = ? ORDER BY number DESC",
        (post_id,),
    )
    return [
        Revision(number, editor_id, editor, title, tuple(tags.split()), body, at)
        for number, editor_id, editor, title, tags, body, at in rows
    ]
