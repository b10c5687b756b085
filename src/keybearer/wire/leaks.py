"""Leaks as they travel: findings, what is known of each, incidents and policies; a credential only comes in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..core.incidents import SourceKind, Status
from ..core.leaks import Done, LeakKind, LeakState, Measure
from ..core.records import Environment
from .base import Moment, Request, Response, Seconds, Text
from .records import RecordView

MAX_FINDINGS = 1000
MAX_PLACE = 1024

Credential = Annotated[str, Meta(min_length=1, max_length=8192)]
Place = Annotated[str, Meta(max_length=MAX_PLACE)]
Number = Annotated[int, Meta(ge=0, le=2**53 - 1)]
RuleName = Annotated[str, Meta(min_length=1, max_length=64)]


class LeakSource(Request):
    """Where a credential was found. ``at`` is the time written there, ``client_ip`` the address beside it."""

    kind: SourceKind
    name: Place = ""
    line: Number | None = None
    column: Number | None = None
    at: Moment | None = None
    client_ip: Annotated[str, Meta(max_length=64)] | None = None
    commit: Annotated[str, Meta(max_length=64)] | None = None


class LeakFinding(Request):
    """A credential that was found somewhere. It is looked up by its digest and dropped: never stored nor answered."""

    credential: Credential
    source: LeakSource

    def __repr__(self) -> str:
        return f"LeakFinding(credential=redacted, source={self.source!r})"


class CheckLeaks(Request):
    """Tell what found credentials are; with ``act``, have the policies' measures taken."""

    findings: Annotated[list[LeakFinding], Meta(min_length=1, max_length=MAX_FINDINGS)]
    act: bool = False


class CheckedFinding(Response):
    """What one finding is, in the order that was asked. All but ``state`` is null for what is unknown."""

    state: LeakState
    kind: LeakKind | None = None
    credential_id: str | None = None
    project_id: str | None = None
    project_name: str | None = None
    key_id: str | None = None
    key_name: str | None = None
    client_id: str | None = None
    environment: Environment | None = None
    incident_id: str | None = None
    action: Done = Done.NONE


class CheckedLeaks(Response):
    """One answer for each finding."""

    findings: list[CheckedFinding]


class SightingView(Response):
    """One place where the credential was found."""

    kind: SourceKind
    name: str
    reported_at: datetime
    line: int | None
    column: int | None
    at: datetime | None
    client_ip: str | None
    commit: str | None


class StepView(Response):
    """One entry of the history: what was done, when and by whom."""

    at: datetime
    what: str
    actor: str
    note: str


class RequestsView(Response):
    """Requests since the credential was first seen, by minute (later by hour) and outcome."""

    at: datetime
    code: str
    count: int


class RequesterView(Response):
    """Requests since then from one address, by outcome."""

    source: str
    code: str
    count: int


class IncidentView(RecordView):
    """One leaked secret: where it was seen, what was done, when and by whom; never the secret.

    ``sightings`` are the first and the newest of the ``sighted`` in all.
    """

    status: Status
    project_id: str
    kind: LeakKind
    environment: Environment
    credential_id: str
    version: int
    name: str
    key_id: str | None
    client_id: str | None
    owner: str | None
    action: Done
    first_seen_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None
    sighted: int
    sightings: list[SightingView]
    history: list[StepView]


class IncidentDetail(IncidentView):
    """An incident with what its credential was used for since it was first seen, where usage can tell.

    Usage is counted per key (all its secrets) or client; ``requests_from`` names what was counted.
    """

    requests_from: str
    requests: list[RequestsView]
    requesters: list[RequesterView]
    requests_truncated: bool


class IncidentNote(Request):
    """Say something about an incident with the change."""

    note: Text = ""


class SetLeakPolicy(Request):
    """Say what is done about a project's leaks. ``measures`` by environment and kind, as ``live.secret_key``.

    What is not given stays; null takes a measure, or another field, back to the default.
    """

    measures: Annotated[dict[RuleName, Measure | None], Meta(max_length=10)] | UnsetType = UNSET
    grace_in: Seconds | UnsetType | None = UNSET
    in_urls: Measure | UnsetType | None = UNSET


class LeakPolicyView(Response):
    """What holds for a project, and which of it the project's own policy says; the rest is the default of all."""

    project_id: str
    measures: dict[str, Measure]
    grace_in: int
    in_urls: Measure
    own: list[str]


class UrlUseView(Response):
    """Credentials of one key (or client) that came in URLs from one address, by outcome."""

    project_id: str
    key_id: str
    source: str
    code: str
    count: int
    last_at: datetime


class UrlReport(Response):
    """Who still sends credentials in URLs."""

    start: datetime
    end: datetime
    uses: list[UrlUseView]
    truncated: bool


class ReportedFinding(Request):
    """A credential that somebody found, and where."""

    credential: Credential
    where: Place = ""

    def __repr__(self) -> str:
        return f"ReportedFinding(credential=redacted, where={self.where!r})"


class ReportLeaks(Request):
    """Report credentials that one holds though they are not one's own."""

    findings: Annotated[list[ReportedFinding], Meta(min_length=1, max_length=100)]


class ReportedLeaks(Response):
    """How many findings were taken; never whether any of them is known."""

    accepted: int


class GithubFinding(msgspec.Struct):
    """One secret of GitHub's message. Spec: GitHub secret scanning partner program."""

    token: Credential
    type: Annotated[str, Meta(max_length=255)] = ""
    url: str | None = ""
    source: str | None = ""

    def __repr__(self) -> str:
        return "GithubFinding(token=redacted)"


class GithubLabel(Response):
    """What became of one secret of GitHub's message; ``token_hash`` is the SHA-256 of it, in base64."""

    token_hash: str
    token_type: str
    label: str


class GitlabToken(msgspec.Struct):
    """One token of GitLab's message. Spec: GitLab Token Revocation API."""

    type: Annotated[str, Meta(max_length=255)]
    token: Credential
    location: str | None = ""

    def __repr__(self) -> str:
        return "GitlabToken(token=redacted)"


class RevocableTypes(Response):
    """The types of token that can be revoked here."""

    types: list[str]
