"""What travels: the JSON that programs send and get."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from ..forum import posts, questions

Text = Annotated[str, Field(max_length=40_000)]


class Body(BaseModel):
    """What is sent: unknown fields are refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NewQuestion(Body):
    """A question to ask."""

    title: Text
    body: Text
    tags: Annotated[list[Annotated[str, Field(max_length=60)]], Field(min_length=1, max_length=5)]


class NewAnswer(Body):
    """An answer to give."""

    body: Text


class NewComment(Body):
    """A remark to make."""

    body: Text


class Vote(Body):
    """Up (1), down (-1), or not at all (0)."""

    value: Literal[-1, 0, 1]


class Edit(Body):
    """What a post shall say; ``title`` and ``tags`` are those of a question."""

    body: Text
    title: Text = ""
    tags: Annotated[list[Annotated[str, Field(max_length=60)]], Field(max_length=5)] = []


class Acceptance(Body):
    """The answer that helped, or none."""

    answer_id: int | None


class Reason(Body):
    """Why."""

    reason: Text


class Made(BaseModel):
    """The id of what was made."""

    id: int


class Score(BaseModel):
    """What a post's votes add up to."""

    score: int


class Comment(BaseModel):
    """A remark."""

    id: int
    author_id: str
    author: str
    body: str
    created_at: datetime

    @classmethod
    def of(cls, comment: posts.Comment) -> Self:
        """Return a comment as it travels."""
        return cls(
            id=comment.id,
            author_id=comment.author_id,
            author=comment.author,
            body=comment.body,
            created_at=moment(comment.created_at),
        )


class Post(BaseModel):
    """A question or an answer; ``body`` is Markdown."""

    id: int
    author_id: str
    author: str
    body: str
    score: int
    created_at: datetime
    edited_at: datetime | None
    comments: list[Comment]

    @classmethod
    def of(cls, post: posts.Post) -> Self:
        """Return a post as it travels."""
        return cls(
            id=post.id,
            author_id=post.author_id,
            author=post.author,
            body=post.body,
            score=post.score,
            created_at=moment(post.created_at),
            edited_at=None if post.edited_at is None else moment(post.edited_at),
            comments=[Comment.of(comment) for comment in post.comments],
        )


class Summary(BaseModel):
    """A question as it stands in a list."""

    id: int
    title: str
    author_id: str
    author: str
    score: int
    answers: int
    accepted: bool
    closed: bool
    created_at: datetime
    active_at: datetime
    tags: list[str]

    @classmethod
    def of(cls, one: questions.Summary) -> Self:
        """Return a summary as it travels."""
        return cls(
            id=one.id,
            title=one.title,
            author_id=one.author_id,
            author=one.author,
            score=one.score,
            answers=one.answers,
            accepted=one.accepted,
            closed=one.closed,
            created_at=moment(one.created_at),
            active_at=moment(one.active_at),
            tags=list(one.tags),
        )


class Listing(BaseModel):
    """One page of questions."""

    questions: list[Summary]
    page: int
    has_more: bool


class Thread(BaseModel):
    """A question with its answers, the accepted one first, then the best."""

    title: str
    tags: list[str]
    question: Post
    answers: list[Post]
    accepted_id: int | None
    closed_because: str | None

    @classmethod
    def of(cls, thread: questions.Thread) -> Self:
        """Return a thread as it travels."""
        return cls(
            title=thread.question.title or "",
            tags=list(thread.tags),
            question=Post.of(thread.question),
            answers=[Post.of(answer) for answer in thread.answers],
            accepted_id=thread.accepted_id,
            closed_because=thread.closed_because,
        )


class Revision(BaseModel):
    """What a post said from some time on."""

    number: int
    editor_id: str
    editor: str
    title: str | None
    tags: list[str]
    body: str
    at: datetime


class Flagged(BaseModel):
    """A post that somebody wants looked at."""

    post_id: int
    question_id: int
    title: str
    excerpt: str
    reasons: list[str]


def moment(at: int) -> datetime:
    """Return seconds as a time in UTC."""
    return datetime.fromtimestamp(at, UTC)
