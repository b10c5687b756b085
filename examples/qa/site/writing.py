"""What people do who are signed in: each time Keybearer is asked whether this token still may."""

from __future__ import annotations

import time

from starlette.responses import Response

from .. import permissions
from ..forum import answers, comments, edits, moderation, posts, questions, votes
from ..forum.errors import Unreadable
from ..gate import NotSignedIn
from .visit import Visit


async def ask(visit: Visit) -> Response:
    """Show the form for a question, or ask it."""
    if visit.request.method == "GET":
        if visit.person_id is None:
            raise NotSignedIn
        return visit.page("ask.html", form={}, problem=None)
    form = await visit.form()
    author_id = await visit.person_allowed(permissions.ASK)
    title, body, tags = (form.get(name, "") for name in ("title", "body", "tags"))
    try:
        question_id = await visit.front.change(questions.ask, author_id, title, body, tags, _now())
    except Unreadable as problem:
        return visit.page("ask.html", 422, form=form, problem=problem)
    return visit.to(f"/questions/{question_id}")


async def answer(visit: Visit) -> Response:
    """Answer a question."""
    form, question_id = await visit.form(), visit.request.path_params["id"]
    author_id = await visit.person_allowed(permissions.ANSWER)
    answer_id = await visit.front.change(answers.answer, author_id, question_id, form.get("body", ""), _now())
    return visit.to(f"/questions/{question_id}#post-{answer_id}")


async def comment(visit: Visit) -> Response:
    """Comment on a post."""
    form, post_id = await visit.form(), visit.request.path_params["id"]
    author_id = await visit.person_allowed(permissions.COMMENT)
    await visit.front.change(comments.comment, author_id, post_id, form.get("body", ""), _now())
    return await _back_to(visit, post_id)


async def vote(visit: Visit) -> Response:
    """Vote a post up or down; the same vote again takes it back."""
    form, post_id = await visit.form(), visit.request.path_params["id"]
    person_id = await visit.person_allowed(permissions.VOTE)
    value = {"up": 1, "down": -1}.get(form.get("vote", ""), 0)
    await visit.front.change(votes.vote, person_id, post_id, value)
    return await _back_to(visit, post_id)


async def accept(visit: Visit) -> Response:
    """Accept an answer, or no longer."""
    form, answer_id = await visit.form(), visit.request.path_params["id"]
    person_id = await visit.person_allowed(permissions.ASK)
    await visit.front.change(answers.accept, person_id, answer_id, accepted=form.get("accepted") == "yes")
    return await _back_to(visit, answer_id)


async def edit(visit: Visit) -> Response:
    """Show the form with what a post says, or change it."""
    post_id = visit.request.path_params["id"]
    if visit.request.method == "GET":
        if visit.person_id is None:
            raise NotSignedIn
        row = await visit.front.read(posts.found_open, post_id)
        tags = " ".join(await visit.front.read(questions.tags_of, post_id))
        form = {"title": row["title"], "body": row["body"], "tags": tags}
        return visit.page("edit.html", form=form, post_id=post_id, is_question=row["title"] is not None, problem=None)
    form = await visit.form()
    editor = await visit.allowed(permissions.EDIT)
    assert editor.user_id is not None  # the gate lets in nobody else
    person_id, moderates = editor.user_id, editor.may(permissions.MODERATE)
    texts = {name: form.get(name, "") for name in ("title", "body", "tags")}
    try:
        await visit.front.change(edits.edit, person_id, post_id, now=_now(), moderates=moderates, **texts)
    except Unreadable as problem:
        is_question = "title" in form
        return visit.page("edit.html", 422, form=form, post_id=post_id, is_question=is_question, problem=problem)
    return await _back_to(visit, post_id)


async def flag(visit: Visit) -> Response:
    """Ask moderators to look at a post."""
    form, post_id = await visit.form(), visit.request.path_params["id"]
    person_id = await visit.person_allowed(permissions.COMMENT)
    await visit.front.change(moderation.flag, person_id, post_id, form.get("reason", ""), _now())
    return await _back_to(visit, post_id)


async def _back_to(visit: Visit, post_id: int) -> Response:
    row = await visit.front.read(posts.found, post_id)
    return visit.to(f"/questions/{row['top_id']}#post-{post_id}")


def _now() -> int:
    return int(time.time())
