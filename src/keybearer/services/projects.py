"""Projects: registered, given APIs and a plan, changed, switched off and brought back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import UNSET

from ..core import own_api
from ..core.credential import new_id
from ..core.errors import Conflict, NotFound, NotPermitted
from ..core.lifecycle import Change, touch
from ..core.records import PROJECT_ID, Project, State
from ..ports import UnitOfWork
from ..wire.records import CreateProject, ProjectView, UpdateProject
from .authority import Authority, Caller, Deed
from .paging import Page, PageQuery, read_page
from .plans import require_plan
from .problems import Problems
from .standing import change_state, require_live
from .text import check_metadata, check_text, shown
from .views import find_api, record_fields

READ: Final = "keybearer:projects.read"
WRITE: Final = "keybearer:projects.write"
MAX_ENABLED: Final = 200


async def create(authority: Authority, caller: Caller, body: CreateProject) -> ProjectView:
    """Register a project."""
    caller.need_everything(WRITE)
    problems = Problems()
    check_text(problems, body)
    check_metadata(problems, body.metadata)
    enabled = await _enabled(authority, caller, problems, body.enabled_apis, ())
    problems.settle()
    now = authority.clock.now()
    project = Project(
        id=PROJECT_ID + new_id(now),
        created_at=now,
        updated_at=now,
        name=body.name,
        brand=body.brand,
        enabled_apis=enabled,
        plan_id=body.plan_id,
        metadata=body.metadata,
    )

    async def work(uow: UnitOfWork) -> ProjectView:
        if project.plan_id is not None:
            await require_plan(uow, project.plan_id, "plan_id")
        await uow.insert(project)
        Deed(uow, caller, now).note("project.create", project.id, project_id=project.id)
        return view(project)

    return await authority.change(caller, work)


async def get(authority: Authority, caller: Caller, project_id: str) -> ProjectView:
    """Return a project; a project's caller sees its own."""
    caller.need_project(READ, project_id, "project", project_id)
    return view(await authority.store.get(Project, project_id))


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[ProjectView]:
    """Return one page of projects."""
    caller.need(READ)
    if caller.project_id is not None:
        own = await authority.store.get(Project, caller.project_id)
        fits = all(getattr(own, name) == value for name, value in query.where.items())
        return Page([view(own)] if fits and (query.after is None or own.id > query.after) else [])
    found = await read_page(authority.store, Project, query)
    return Page([view(project) for project in found.items], found.after)


async def update(authority: Authority, caller: Caller, project_id: str, body: UpdateProject) -> ProjectView:
    """Change a project. The authority's own keeps its name, brand and Keybearer's own API."""
    caller.need_everything(WRITE)
    before = await authority.store.get(Project, project_id)
    problems = Problems()
    check_text(problems, body)
    changes: dict[str, Any] = {
        name: getattr(body, name)
        for name in ("name", "brand", "plan_id", "metadata")
        if getattr(body, name) is not UNSET
    }
    if body.metadata is not UNSET:
        check_metadata(problems, body.metadata)
    if body.enabled_apis is not UNSET:
        changes["enabled_apis"] = await _enabled(authority, caller, problems, body.enabled_apis, before.enabled_apis)
    problems.settle()
    if project_id == authority.own_project_id:
        _protect_own(authority, caller, changes)

    async def work(uow: UnitOfWork) -> ProjectView:
        project = await uow.get(Project, project_id)
        require_live(project)
        if changes.get("plan_id") not in (None, project.plan_id):
            await require_plan(uow, changes["plan_id"], "plan_id")
        now = authority.clock.now()
        changed = touch(project, now, **changes)
        await uow.update(changed)
        Deed(uow, caller, now).note(
            "project.update", project.id, project_id=project.id, details={"fields": sorted(changes)}
        )
        return view(changed)

    return await authority.change(caller, work)


async def set_state(authority: Authority, caller: Caller, project_id: str, wanted: Change) -> ProjectView:
    """Enable, disable, delete or undelete a project; the authority's own stays as it is."""
    caller.need_everything(WRITE)
    if project_id == authority.own_project_id and wanted in (Change.DISABLE, Change.DELETE):
        raise Conflict("The authority's own project cannot be disabled or deleted.")
    return await change_state(authority, caller, Project, project_id, wanted, view)


async def enable_api(authority: Authority, caller: Caller, project_id: str, reference: str) -> ProjectView:
    """Let a project call an API, given by id or identifier."""
    caller.need_everything(WRITE)
    api = await find_api(authority.store, reference)
    if api.state is State.DELETED:
        raise NotFound("API", reference)
    if project_id != authority.own_project_id:
        _require_leave_for_own(authority, caller, api.id)
    return await _set_enabled(authority, caller, project_id, api.id, True)


async def disable_api(authority: Authority, caller: Caller, project_id: str, reference: str) -> ProjectView:
    """Forbid a project to call an API; its keys are refused there at once."""
    caller.need_everything(WRITE)
    api_id = (await find_api(authority.store, reference)).id
    if project_id == authority.own_project_id and api_id == authority.own_api_id:
        raise Conflict("The authority's own project keeps Keybearer's own API.")
    return await _set_enabled(authority, caller, project_id, api_id, False)


async def _set_enabled(
    authority: Authority, caller: Caller, project_id: str, api_id: str, enabled: bool
) -> ProjectView:
    async def work(uow: UnitOfWork) -> ProjectView:
        project = await uow.get(Project, project_id)
        require_live(project)
        if (api_id in project.enabled_apis) is enabled:
            return view(project)
        apis = tuple(other for other in project.enabled_apis if other != api_id) + ((api_id,) if enabled else ())
        if len(apis) > MAX_ENABLED:
            raise Conflict(f"A project may have {MAX_ENABLED} APIs at most.")
        now = authority.clock.now()
        changed = touch(project, now, enabled_apis=apis)
        await uow.update(changed)
        action = "project.enable_api" if enabled else "project.disable_api"
        Deed(uow, caller, now).note(action, project.id, project_id=project.id, details={"api_id": api_id})
        return view(changed)

    return await authority.change(caller, work)


async def _enabled(
    authority: Authority, caller: Caller, problems: Problems, references: Sequence[str], before: tuple[str, ...]
) -> tuple[str, ...]:
    enabled: list[str] = []
    for index, reference in enumerate(references):
        try:
            api = await find_api(authority.store, reference)
        except NotFound:
            api = None
        if api is None or (api.state is State.DELETED and api.id not in before):
            problems.add(f"enabled_apis[{index}]", f"there is no API {shown(reference)}; register it first")
            continue
        if api.id not in before:
            _require_leave_for_own(authority, caller, api.id)
        enabled.append(api.id)
    return tuple(dict.fromkeys(enabled))


def _require_leave_for_own(authority: Authority, caller: Caller, api_id: str) -> None:
    if api_id == authority.own_api_id and own_api.ADMIN not in caller.permissions:
        raise NotPermitted(
            f"Enabling Keybearer's own API for a project needs {own_api.ADMIN!r}.", missing=(own_api.ADMIN,)
        )


def _protect_own(authority: Authority, caller: Caller, changes: dict[str, Any]) -> None:
    if {"name", "brand"} & changes.keys():
        raise Conflict("The authority's own project keeps its name and brand.")
    if authority.own_api_id not in changes.get("enabled_apis", (authority.own_api_id,)):
        raise Conflict("The authority's own project keeps Keybearer's own API.")
    if "plan_id" in changes and own_api.ADMIN not in caller.permissions:
        # Its limits would hold for administrators too, and could lock them out.
        raise NotPermitted("Only an administrator may choose the plan of the authority's own project.")


def view(project: Project) -> ProjectView:
    """Return a project as it travels."""
    return ProjectView(
        **record_fields(project),
        name=project.name,
        brand=project.brand,
        enabled_apis=list(project.enabled_apis),
        plan_id=project.plan_id,
        metadata=dict(project.metadata),
    )
