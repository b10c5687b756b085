"""What people write through applications that they allowed to."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from fastapi import APIRouter

from ..forum import answers, comments, edits, moderation, people, questions, votes
from ..forum.database import Database
from ..forum.errors import Unreadable
from . import shapes
from .doors import Doors

P = ParamSpec("P")
T = TypeVar("T")


def routes(database: Database, doors: Doors) -> APIRouter:
    """Return the routes; each names the door that it stands behind."""
    router = APIRouter(tags=["writing"])

    def change(
        person: str, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with database.changing() as db:
            people.remember(db, person, "", _now())
            return function(db, *args, **kwargs)

    @router.post("/questions", status_code=201)
    def ask(body: shapes.NewQuestion, person: str = doors.ask) -> shapes.Made:
        """Ask a question."""
        tags = " ".join(body.tags)
        return shapes.Made(id=change(person, questions.ask, person, body.title, body.body, tags, _now()))

    @router.post("/questions/{question_id}/answers", status_code=201)
    def answer(question_id: int, body: shapes.NewAnswer, person: str = doors.answer) -> shapes.Made:
        """Answer a question."""
        return shapes.Made(id=change(person, answers.answer, person, question_id, body.body, _now()))

    @router.put("/questions/{question_id}/accepted", status_code=204)
    def accept(question_id: int, body: shapes.Acceptance, person: str = doors.ask) -> None:
        """Accept an answer to a question of one's own, or none."""
        with database.reading() as db:
            thread = questions.show(db, question_id, None)
        answer_id = thread.accepted_id if body.answer_id is None else body.answer_id
        if body.answer_id is not None and body.answer_id not in {one.id for one in thread.answers}:
            raise Unreadable("answer_id", "This is not an answer to that question.")
        if answer_id is not None:
            change(person, answers.accept, person, answer_id, accepted=body.answer_id is not None)

    @router.put("/posts/{post_id}/vote")
    def vote(post_id: int, body: shapes.Vote, person: str = doors.vote) -> shapes.Score:
        """Vote on a question or an answer, change the vote, or take it back."""
        return shapes.Score(score=change(person, votes.vote, person, post_id, body.value))

    @router.post("/posts/{post_id}/comments", status_code=201)
    def comment(post_id: int, body: shapes.NewComment, person: str = doors.comment) -> shapes.Made:
        """Remark on a question or an answer."""
        return shapes.Made(id=change(person, comments.comment, person, post_id, body.body, _now()))

    @router.put("/posts/{post_id}", status_code=204)
    def edit(post_id: int, body: shapes.Edit, person: str = doors.edit) -> None:
        """Edit a question or an answer; what it said before is kept."""
        tags = " ".join(body.tags)
        change(person, edits.edit, person, post_id, body=body.body, title=body.title, tags=tags, now=_now())

    @router.put("/posts/{post_id}/flag", status_code=204)
    def flag(post_id: int, body: shapes.Reason, person: str = doors.comment) -> None:
        """Ask moderators to look at a post."""
        change(person, moderation.flag, person, post_id, body.reason, _now())

    return router


def _now() -> int:
    return int(time.time())
