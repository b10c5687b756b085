"""Lists, usage, audit and problems as they travel."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

from .base import Metadata, Response

T = TypeVar("T")


class Listing(Response, Generic[T]):
    """One page: ``next_cursor`` asks for the page after it, and is null on the last."""

    items: list[T]
    next_cursor: str | None = None


class UsageView(Response, omit_defaults=True):
    """One group of a usage query: only the fields that were grouped by are there."""

    count: int
    at: datetime | None = None
    project_id: str | None = None
    key_id: str | None = None
    api_id: str | None = None
    code: str | None = None
    source: str | None = None
    tag: str | None = None


class UsageReport(Response):
    """Usage from ``start`` to ``end``; ``truncated`` when there were more groups than asked for. ``total`` sums up the
    groups that are there."""

    start: datetime
    end: datetime
    group_by: list[str]
    total: int
    groups: list[UsageView]
    truncated: bool


class AuditView(Response):
    """One entry of the audit log; ``digest`` chains it to the one before."""

    seq: int
    at: datetime
    actor: str
    action: str
    target: str
    outcome: str
    project_id: str | None
    source: str | None
    request_id: str | None
    details: Metadata
    digest: str


class AuditVerification(Response):
    """Whether the chain is whole. Keep ``seq`` and ``digest`` elsewhere to notice a cut-off end later."""

    intact: bool
    entries: int
    seq: int
    digest: str
    broken_at: int | None = None
    message: str = ""


class EventView(Response):
    """One change that can alter a decision."""

    seq: int
    at: datetime
    type: str
    subject: str


class EventFeed(Response):
    """Events behind ``after``, in order and without gaps; ``head`` is the newest there is."""

    head: int
    items: list[EventView]


class EventNotice(Response):
    """What the data of an event in the stream says; its ``seq`` is the id, its type the name of the event."""

    subject: str
    at: datetime


class Heartbeat(Response):
    """All events up to ``head`` were sent, and ``age`` milliseconds ago the database knew no others.

    ``clock`` is the node's monotonic clock in milliseconds, ``now`` its time of day.
    """

    head: int
    age: int
    clock: int
    now: datetime


class ProblemField(Response):
    """One wrong field."""

    field: str
    message: str


class Problem(Response, omit_defaults=True):
    """An error. Spec: RFC 9457."""

    type: str
    title: str
    status: int
    detail: str = ""
    instance: str = ""
    errors: list[ProblemField] = []
    missing: list[str] = []
