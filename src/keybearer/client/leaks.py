"""Leaks: findings checked, incidents, and what is done about them."""

# ruff: noqa: A002 (parameters have the names of the wire: id)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from msgspec import UNSET, UnsetType

from ..core.incidents import Status
from ..core.leaks import LeakKind, Measure
from ..core.records import Environment
from ..core.secret import Secret
from ..wire.leaks import (
    CheckedLeaks,
    CheckLeaks,
    IncidentDetail,
    IncidentNote,
    IncidentView,
    LeakFinding,
    LeakPolicyView,
    LeakSource,
    SetLeakPolicy,
    UrlReport,
)
from ..wire.listing import Listing
from .call import Call, Duration, Pages, once, query, seconds, segment
from .operation import D, Resource, operation, series

StatusName = Status | Literal["open", "acknowledged", "resolved"]


class Found(NamedTuple):
    """A credential that was found, and where."""

    credential: Secret
    source: LeakSource


class Leaks(Resource[D]):
    """What found credentials are, and what is done about them."""

    @operation
    def check(self, findings: Sequence[Found], *, act: bool = False) -> Call[CheckedLeaks]:
        """Tell what found credentials are, a thousand at most; with ``act``, have the policies' measures taken."""
        told = [LeakFinding(credential=one.credential.reveal(), source=one.source) for one in findings]
        body = CheckLeaks(findings=told, act=act)
        # Safe to repeat without a key: each leaked secret has one incident, and each place counts once.
        return Call("POST", "/v1/leaks/check", CheckedLeaks, body=body, idempotent=True)

    @operation
    def urls(
        self,
        *,
        start: str | None = None,
        end: str | None = None,
        project_id: str | None = None,
        key_id: str | None = None,
    ) -> Call[UrlReport]:
        """Return who sent credentials in URLs; for the last week unless told otherwise."""
        parameters = query(start=start, end=end, project_id=project_id, key_id=key_id)
        return Call("GET", "/v1/leaks/urls", UrlReport, query=parameters, idempotent=True)

    @operation
    def policy(self, project_id: str) -> Call[LeakPolicyView]:
        """Return what is done about a project's leaks."""
        return Call("GET", f"/v1/leaks/policies/{segment(project_id)}", LeakPolicyView, idempotent=True)

    @operation
    def set_policy(
        self,
        project_id: str,
        *,
        measures: Mapping[str, Measure | None] | UnsetType = UNSET,
        grace_in: Duration | UnsetType | None = UNSET,
        in_urls: Measure | UnsetType | None = UNSET,
    ) -> Call[LeakPolicyView]:
        """Say what is done about a project's leaks, as ``{"live.secret_key": "rotate"}``; ``None`` is the default."""
        body = SetLeakPolicy(
            measures=UNSET if isinstance(measures, UnsetType) else dict(measures),
            grace_in=UNSET if isinstance(grace_in, UnsetType) else seconds(grace_in),
            in_urls=in_urls,
        )
        path = f"/v1/leaks/policies/{segment(project_id)}"
        return Call("PATCH", path, LeakPolicyView, body=body, idempotency_key=once(None))


class Incidents(Resource[D]):
    """Leaked credentials: where they were seen, what was done, when and by whom."""

    @operation
    def get(self, id: str) -> Call[IncidentDetail]:
        """Return an incident with what its credential was used for since it was first seen."""
        return Call("GET", f"/v1/incidents/{segment(id)}", IncidentDetail, idempotent=True)

    @operation
    def acknowledge(self, id: str, *, note: str = "") -> Call[IncidentView]:
        """Say that somebody looks into it."""
        return self._change(id, "acknowledge", note)

    @operation
    def resolve(self, id: str, *, note: str = "") -> Call[IncidentView]:
        """Say that it is over."""
        return self._change(id, "resolve", note)

    @operation
    def reopen(self, id: str, *, note: str = "") -> Call[IncidentView]:
        """Say that it is not over."""
        return self._change(id, "reopen", note)

    def _change(self, id: str, verb: str, note: str) -> Call[IncidentView]:
        path = f"/v1/incidents/{segment(id)}/{verb}"
        return Call("POST", path, IncidentView, body=IncidentNote(note=note), idempotency_key=once(None))

    @series
    def list(
        self,
        *,
        project_id: str | None = None,
        key_id: str | None = None,
        kind: LeakKind | str | None = None,
        environment: Environment | str | None = None,
        status: StatusName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[IncidentView]:
        """Iterate over incidents, oldest first, through all pages."""
        parameters = query(
            project_id=project_id,
            key_id=key_id,
            kind=kind,
            environment=environment,
            status=status,
            limit=page_size,
            cursor=cursor,
        )
        return Pages(Call("GET", "/v1/incidents", Listing[IncidentView], query=parameters, idempotent=True))
