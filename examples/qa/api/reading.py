"""What programs read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from ..forum import questions, revisions
from ..forum.database import Database
from ..forum.questions import MAX_PAGE, Sort
from . import shapes
from .doors import Doors


def routes(database: Database, doors: Doors) -> APIRouter:
    """Return the routes, all behind the door that a key opens."""
    router = APIRouter(dependencies=[doors.read], tags=["reading"])

    @router.get("/questions")
    def list_questions(
        sort: Sort = "active",
        tag: Annotated[str, Query(max_length=60)] = "",
        q: Annotated[str, Query(max_length=200, description="Words that must stand in it.")] = "",
        page: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1,
    ) -> shapes.Listing:
        """List questions."""
        with database.reading() as db:
            found = questions.listed(db, sort, tag=tag, words=q, page=page)
        return shapes.Listing(
            questions=[shapes.Summary.of(one) for one in found.questions], page=found.page, has_more=found.has_more
        )

    @router.get("/questions/{question_id}")
    def show_question(question_id: int) -> shapes.Thread:
        """Show a question with its answers."""
        with database.reading() as db:
            return shapes.Thread.of(questions.show(db, question_id, None))

    @router.get("/posts/{post_id}/history")
    def show_history(post_id: int) -> list[shapes.Revision]:
        """Show everything that a post has said, the newest first."""
        with database.reading() as db:
            found = revisions.history(db, post_id)
        return [shapes.Revision(**{**asdict(one), "at": shapes.moment(one.at)}) for one in found]

    @router.get("/tags")
    def list_tags() -> dict[str, int]:
        """List the tags, and how many questions have each."""
        with database.reading() as db:
            return dict(questions.tags_in_use(db))

    return router
