"""The pages that everybody may read: no key and no token is asked for here."""

from __future__ import annotations

import sqlite3
from typing import get_args

from starlette.responses import Response

from ..forum import edits, people, questions, revisions
from ..forum.questions import Sort
from .visit import Visit


async def home(visit: Visit) -> Response:
    """List questions."""
    asked = visit.request.query_params.get("sort", "active")
    sort: Sort = asked if asked in get_args(Sort) else "active"  # type: ignore[assignment]
    listing = await visit.front.read(questions.listed, sort, page=visit.number)
    return visit.page("home.html", listing=listing, sort=sort, sorts=get_args(Sort))


async def question(visit: Visit) -> Response:
    """Show a question with its answers."""
    with_deleted = await visit.sees_deleted()
    question_id = visit.request.path_params["id"]
    thread, reputation = await visit.front.read(_thread, visit.person_id, question_id, with_deleted)

    def editable(author_id: str) -> bool:
        reader = visit.person_id
        return reader is not None and edits.may_edit(author_id, reader, reputation, moderates=visit.moderates)

    return visit.page("question.html", thread=thread, editable=editable)


def _thread(
    db: sqlite3.Connection, reader_id: str | None, question_id: int, with_deleted: bool
) -> tuple[questions.Thread, int]:
    """Return a question with its answers, and the reputation of who reads it."""
    reputation = 0 if reader_id is None else people.get(db, reader_id).reputation
    return questions.show(db, question_id, reader_id, with_deleted=with_deleted), reputation


async def history(visit: Visit) -> Response:
    """Show everything that a post has said."""
    post_id = visit.request.path_params["id"]
    with_deleted = await visit.sees_deleted()
    found = await visit.front.read(revisions.history, post_id, with_deleted=with_deleted)
    return visit.page("history.html", revisions=found, post_id=post_id)


async def search(visit: Visit) -> Response:
    """Find questions by words."""
    words = visit.request.query_params.get("q", "")[:200]
    listing = await visit.front.read(questions.listed, words=words, page=visit.number) if words.strip() else None
    return visit.page("search.html", listing=listing, words=words)


async def tags(visit: Visit) -> Response:
    """Show all tags."""
    return visit.page("tags.html", tags=await visit.front.read(questions.tags_in_use))


async def tagged(visit: Visit) -> Response:
    """List the questions with a tag."""
    tag = visit.request.path_params["tag"]
    listing = await visit.front.read(questions.listed, tag=tag, page=visit.number)
    return visit.page("tagged.html", listing=listing, tag=tag)


async def everybody(visit: Visit) -> Response:
    """Show those with the most reputation."""
    return visit.page("people.html", people=await visit.front.read(people.best))


async def person(visit: Visit) -> Response:
    """Show somebody and what they asked."""
    person_id = visit.request.path_params["id"]
    who = await visit.front.read(people.get, person_id)
    listing = await visit.front.read(questions.listed, "newest", author_id=person_id, page=visit.number)
    return visit.page("person.html", who=who, listing=listing)


async def developers(visit: Visit) -> Response:
    """Say how programs read and write here."""
    return visit.page("developers.html", words=visit.front.words, config=visit.front.config)
