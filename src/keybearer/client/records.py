"""APIs, projects, plans and identities: what all records can do, and what each is made of."""

# ruff: noqa: A002 (parameters have the names of the wire: id, credits)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

from msgspec import UNSET, Struct, UnsetType

from ..core.records import CredentialKind, State, TokenFormat
from ..wire.limits import CreditsSpec, CreditsView, QuotaSpec, RateLimitSpec, SetCredits
from ..wire.listing import Listing
from ..wire.records import (
    ApiView,
    CreateApi,
    CreateIdentity,
    CreatePlan,
    CreateProject,
    IdentityView,
    PermissionSpec,
    PlanView,
    ProjectView,
    RecordView,
    UpdateApi,
    UpdateIdentity,
    UpdatePlan,
    UpdateProject,
)
from .call import Call, Duration, Pages, listed, once, query, seconds, segment
from .operation import D, Resource, operation, series

T = TypeVar("T")
V = TypeVar("V", bound=RecordView)
StateName = State | Literal["enabled", "disabled", "revoked", "deleted"]


class Records(Resource[D], Generic[D, V]):
    """What all records can do."""

    _path: ClassVar[str]
    _view: ClassVar[Any]

    @operation
    def get(self, id: str) -> Call[V]:
        """Return one record, also a deleted one that can still be brought back."""
        return Call("GET", self._at(id), self._view, idempotent=True)

    @operation
    def enable(self, id: str) -> Call[V]:
        """Enable a disabled record."""
        return self._change(id, "enable")

    @operation
    def disable(self, id: str) -> Call[V]:
        """Refuse everything that depends on this record until it is enabled again."""
        return self._change(id, "disable")

    @operation
    def delete(self, id: str) -> Call[V]:
        """Delete a record; for 30 days ``undelete`` brings it back."""
        return Call("DELETE", self._at(id), self._view, idempotent=True)

    @operation
    def undelete(self, id: str) -> Call[V]:
        """Bring a deleted record back in the state it had."""
        return self._change(id, "undelete")

    def _at(self, id: str) -> str:
        return f"{self._path}/{segment(id)}"

    def _change(self, id: str, verb: str) -> Call[V]:
        return Call("POST", f"{self._at(id)}/{verb}", self._view, idempotency_key=once(None))

    def _create(self, body: Struct, idempotency_key: str | None) -> Call[V]:
        return Call("POST", self._path, self._view, body=body, idempotency_key=once(idempotency_key))

    def _update(self, id: str, body: Struct) -> Call[V]:
        return Call("PATCH", self._at(id), self._view, body=body, idempotency_key=once(None))

    def _pages(self, **parameters: str | int | None) -> Pages[V]:
        page = Listing[self._view]  # type: ignore[name-defined]
        return Pages(Call("GET", self._path, page, query=query(**parameters), idempotent=True))


class Apis(Records[D, ApiView]):
    """Resource servers."""

    _path = "/v1/apis"
    _view = ApiView

    @operation
    def create(
        self,
        *,
        identifier: str,
        name: str,
        permissions: Sequence[PermissionSpec] = (),
        accepts: Sequence[CredentialKind] | None = None,
        token_format: TokenFormat = TokenFormat.OPAQUE,
        token_in: Duration | None = None,
        key_header: str = "x-api-key",
        allow_publishable_in_query: bool = False,
        token_cookie: str = "",
        default_plan_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[ApiView]:
        """Register a resource server. ``identifier`` is its audience URI and never changes.

        ``default_plan_id`` serves projects without a plan of their own. ``accepts`` defaults to every kind of
        credential. ``token_in`` is how long an access token for it lives at most.
        """
        body = CreateApi(
            identifier=identifier,
            name=name,
            permissions=listed(permissions),
            accepts=listed(CredentialKind if accepts is None else accepts),
            token_format=TokenFormat(token_format),
            token_in=seconds(token_in),
            key_header=key_header,
            allow_publishable_in_query=allow_publishable_in_query,
            token_cookie=token_cookie,
            default_plan_id=default_plan_id,
            metadata=dict(metadata or {}),
        )
        return self._create(body, idempotency_key)

    @operation
    def update(
        self,
        id: str,
        *,
        name: str | UnsetType = UNSET,
        permissions: Sequence[PermissionSpec] | UnsetType = UNSET,
        accepts: Sequence[CredentialKind] | UnsetType = UNSET,
        token_format: TokenFormat | UnsetType = UNSET,
        token_in: Duration | UnsetType | None = UNSET,
        key_header: str | UnsetType = UNSET,
        allow_publishable_in_query: bool | UnsetType = UNSET,
        token_cookie: str | UnsetType = UNSET,
        default_plan_id: str | UnsetType | None = UNSET,
        metadata: Mapping[str, Any] | UnsetType = UNSET,
    ) -> Call[ApiView]:
        """Change what is given; ``None`` clears a field."""
        body = UpdateApi(
            name=name,
            permissions=given_list(permissions),
            accepts=given_list(accepts),
            token_format=token_format,
            token_in=UNSET if isinstance(token_in, UnsetType) else seconds(token_in),
            key_header=key_header,
            allow_publishable_in_query=allow_publishable_in_query,
            token_cookie=token_cookie,
            default_plan_id=default_plan_id,
            metadata=given_dict(metadata),
        )
        return self._update(id, body)

    @series
    def list(
        self,
        *,
        identifier: str | None = None,
        name: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[ApiView]:
        """Iterate over APIs, oldest first, through all pages. Deleted ones only with ``state="deleted"``."""
        return self._pages(identifier=identifier, name=name, state=state, limit=page_size, cursor=cursor)


class Projects(Records[D, ProjectView]):
    """Calling applications and sites."""

    _path = "/v1/projects"
    _view = ProjectView

    @operation
    def create(
        self,
        *,
        name: str,
        brand: str = "kb",
        enabled_apis: Sequence[str] = (),
        plan_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[ProjectView]:
        """Register a calling application. ``brand`` stands in place of ``kb`` in its keys."""
        body = CreateProject(
            name=name,
            brand=brand,
            enabled_apis=listed(enabled_apis),
            plan_id=plan_id,
            metadata=dict(metadata or {}),
        )
        return self._create(body, idempotency_key)

    @operation
    def update(
        self,
        id: str,
        *,
        name: str | UnsetType = UNSET,
        brand: str | UnsetType = UNSET,
        enabled_apis: Sequence[str] | UnsetType = UNSET,
        plan_id: str | UnsetType | None = UNSET,
        metadata: Mapping[str, Any] | UnsetType = UNSET,
    ) -> Call[ProjectView]:
        """Change what is given; ``None`` clears a field."""
        body = UpdateProject(
            name=name,
            brand=brand,
            enabled_apis=given_list(enabled_apis),
            plan_id=plan_id,
            metadata=given_dict(metadata),
        )
        return self._update(id, body)

    @operation
    def enable_api(self, id: str, api: str) -> Call[ProjectView]:
        """Let a project call an API, given by its id or identifier."""
        return Call("PUT", f"{self._at(id)}/apis/{segment(api)}", ProjectView, idempotent=True)

    @operation
    def disable_api(self, id: str, api: str) -> Call[ProjectView]:
        """Forbid a project to call an API; its keys are refused there at once."""
        return Call("DELETE", f"{self._at(id)}/apis/{segment(api)}", ProjectView, idempotent=True)

    @series
    def list(
        self,
        *,
        name: str | None = None,
        plan_id: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[ProjectView]:
        """Iterate over projects, oldest first, through all pages. Deleted ones only with ``state="deleted"``."""
        return self._pages(name=name, plan_id=plan_id, state=state, limit=page_size, cursor=cursor)


class Plans(Records[D, PlanView]):
    """Named limits and quotas that projects share by having the plan."""

    _path = "/v1/plans"
    _view = PlanView

    @operation
    def create(
        self,
        *,
        name: str,
        limits: Sequence[RateLimitSpec] = (),
        quotas: Sequence[QuotaSpec] = (),
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[PlanView]:
        """Name a set of limits and quotas."""
        body = CreatePlan(name=name, limits=listed(limits), quotas=listed(quotas), metadata=dict(metadata or {}))
        return self._create(body, idempotency_key)

    @operation
    def update(
        self,
        id: str,
        *,
        name: str | UnsetType = UNSET,
        limits: Sequence[RateLimitSpec] | UnsetType = UNSET,
        quotas: Sequence[QuotaSpec] | UnsetType = UNSET,
        metadata: Mapping[str, Any] | UnsetType = UNSET,
    ) -> Call[PlanView]:
        """Change what is given; it holds at once for all who have the plan."""
        body = UpdatePlan(
            name=name, limits=given_list(limits), quotas=given_list(quotas), metadata=given_dict(metadata)
        )
        return self._update(id, body)

    @series
    def list(
        self,
        *,
        name: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[PlanView]:
        """Iterate over plans, oldest first, through all pages. Deleted ones only with ``state="deleted"``."""
        return self._pages(name=name, state=state, limit=page_size, cursor=cursor)


class Identities(Records[D, IdentityView]):
    """External subjects through which several keys share limits and credits."""

    _path = "/v1/identities"
    _view = IdentityView

    @operation
    def create(
        self,
        *,
        project_id: str,
        external_id: str,
        name: str = "",
        limits: Sequence[RateLimitSpec] = (),
        quotas: Sequence[QuotaSpec] = (),
        credits: CreditsSpec | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[IdentityView]:
        """Register an external subject; ``external_id`` is unique within its project."""
        body = CreateIdentity(
            project_id=project_id,
            external_id=external_id,
            name=name,
            limits=listed(limits),
            quotas=listed(quotas),
            credits=credits,
            metadata=dict(metadata or {}),
        )
        return self._create(body, idempotency_key)

    @operation
    def update(
        self,
        id: str,
        *,
        name: str | UnsetType = UNSET,
        limits: Sequence[RateLimitSpec] | UnsetType = UNSET,
        quotas: Sequence[QuotaSpec] | UnsetType = UNSET,
        credits: CreditsSpec | UnsetType | None = UNSET,
        metadata: Mapping[str, Any] | UnsetType = UNSET,
    ) -> Call[IdentityView]:
        """Change what is given. ``credits=None`` takes its credits away."""
        body = UpdateIdentity(
            name=name,
            limits=given_list(limits),
            quotas=given_list(quotas),
            credits=credits,
            metadata=given_dict(metadata),
        )
        return self._update(id, body)

    @operation
    def set_credits(self, id: str, *, balance: int | None = None, add: int | None = None) -> Call[CreditsView]:
        """Set the balance, or add to it; exactly one of the two."""
        return credits_call(self._at(id), balance, add)

    @series
    def list(
        self,
        *,
        project_id: str | None = None,
        external_id: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[IdentityView]:
        """Iterate over identities, oldest first, through all pages. Deleted ones only with ``state="deleted"``."""
        return self._pages(project_id=project_id, external_id=external_id, state=state, limit=page_size, cursor=cursor)


def credits_call(path: str, balance: int | None, add: int | None) -> Call[CreditsView]:
    """Return the request that changes the credits of the key or identity at ``path``."""
    body = SetCredits(balance=balance, add=add)
    return Call("PUT", f"{path}/credits", CreditsView, body=body, idempotency_key=once(None))


def given_list(value: Sequence[T] | UnsetType) -> list[T] | UnsetType:
    """Return a list of what was given, if it was."""
    return value if isinstance(value, UnsetType) else listed(value)


def given_dict(value: Mapping[str, Any] | UnsetType) -> dict[str, Any] | UnsetType:
    """Return a dict of what was given, if it was."""
    return value if isinstance(value, UnsetType) else dict(value)
