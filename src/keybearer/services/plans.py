"""Plans: named limits and quotas. A plan that something uses cannot be deleted."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from ..core.credential import new_id
from ..core.errors import Conflict, InvalidInput, NotFound
from ..core.lifecycle import Change, touch
from ..core.records import PLAN_ID, Api, ApiKey, Plan, Project, State
from ..ports import Query, UnitOfWork
from ..wire.records import CreatePlan, PlanView, UpdatePlan
from .authority import Authority, Caller, Deed
from .limits import check_names, limit_specs, quota_specs, to_limits, to_quotas
from .paging import Page, PageQuery, read_page
from .problems import Problems
from .standing import change_state, require_live
from .text import check_metadata, check_text, shown
from .views import Reader, record_fields

READ: Final = "keybearer:plans.read"
WRITE: Final = "keybearer:plans.write"


async def create(authority: Authority, caller: Caller, body: CreatePlan) -> PlanView:
    """Make a plan."""
    caller.need_everything(WRITE)
    problems = Problems()
    check_text(problems, body)
    check_metadata(problems, body.metadata)
    now = authority.clock.now()
    plan = Plan(
        id=PLAN_ID + new_id(now),
        created_at=now,
        updated_at=now,
        name=body.name,
        limits=to_limits(body.limits),
        quotas=to_quotas(body.quotas),
        metadata=body.metadata,
    )
    check_names(problems, plan.limits, plan.quotas)
    problems.settle()

    async def work(uow: UnitOfWork) -> PlanView:
        await uow.insert(plan)
        Deed(uow, caller, now).note("plan.create", plan.id)
        return view(plan)

    return await authority.change(caller, work)


async def get(authority: Authority, caller: Caller, plan_id: str) -> PlanView:
    """Return a plan; a project's caller sees the plan of its own project."""
    caller.need(READ)
    if caller.project_id is not None:
        project = await authority.store.get(Project, caller.project_id)
        if project.plan_id != plan_id:
            raise NotFound("plan", plan_id)
    return view(await authority.store.get(Plan, plan_id))


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[PlanView]:
    """Return one page of plans."""
    caller.need_everything(READ)
    found = await read_page(authority.store, Plan, query)
    return Page([view(plan) for plan in found.items], found.after)


async def update(authority: Authority, caller: Caller, plan_id: str, body: UpdatePlan) -> PlanView:
    """Change a plan; it holds at once for all who have it."""
    caller.need_everything(WRITE)
    problems = Problems()
    check_text(problems, body)
    changes: dict[str, Any] = {}
    if body.name is not UNSET:
        changes["name"] = body.name
    if body.metadata is not UNSET:
        check_metadata(problems, body.metadata)
        changes["metadata"] = body.metadata
    if body.limits is not UNSET:
        changes["limits"] = to_limits(body.limits)
    if body.quotas is not UNSET:
        changes["quotas"] = to_quotas(body.quotas)
    problems.settle()

    async def work(uow: UnitOfWork) -> PlanView:
        plan = await uow.get(Plan, plan_id)
        require_live(plan)
        now = authority.clock.now()
        changed = touch(plan, now, **changes)
        clash = Problems()
        check_names(clash, changed.limits, changed.quotas)
        clash.settle()
        await uow.update(changed)
        Deed(uow, caller, now).note("plan.update", plan.id, details={"fields": sorted(changes)})
        return view(changed)

    return await authority.change(caller, work)


async def set_state(authority: Authority, caller: Caller, plan_id: str, wanted: Change) -> PlanView:
    """Delete a plan that nothing uses, or bring it back."""
    caller.need_everything(WRITE)

    async def check(uow: UnitOfWork, plan: Plan, _now: int) -> None:
        if wanted is Change.DELETE:
            await _require_unused(uow, plan)

    return await change_state(authority, caller, Plan, plan_id, wanted, view, check=check)


async def require_plan(uow: UnitOfWork, plan_id: str, field: str) -> Plan:
    """Return a plan that may be chosen, locked so that nobody deletes it meanwhile; ``field`` names it when wrong."""
    problems = Problems()
    plan = await check_plan(problems, uow, plan_id, field)
    if plan is None:
        raise InvalidInput(*problems.found)
    return plan


async def check_plan(problems: Problems, reader: Reader, plan_id: str, field: str) -> Plan | None:
    """Return a plan that may be chosen, or note that there is none."""
    try:
        plan = await reader.get(Plan, plan_id)
    except NotFound:
        plan = None
    if plan is None or plan.state is State.DELETED:
        problems.add(field, f"there is no plan {shown(plan_id)}; create it first")
        return None
    return plan


async def _require_unused(uow: UnitOfWork, plan: Plan) -> None:
    # Whoever chooses a plan locks its row first, as the caller did here: nobody can choose it in between. Deleted
    # users count as well: they may come back, and must not come back without their limits.
    for kind, word in ((Project, "project"), (ApiKey, "key")):
        for state in (None, State.DELETED):
            where = {"plan_id": plan.id} if state is None else {"plan_id": plan.id, "state": state.value}
            query = Query(where, limit=1)
            users = await (uow.page(Project, query) if kind is Project else uow.page(ApiKey, query))
            if users:
                deleted = " (deleted, but it can be brought back)" if state else ""
                raise Conflict(f"The {word} {users[0].id} uses this plan{deleted}; give it another one first.")
    after: str | None = None
    while apis := await uow.page(Api, Query(after=after, limit=200)):
        for api in apis:
            if api.default_plan_id == plan.id:
                raise Conflict(f"The API {api.id} has this plan as its default; give it another one first.")
        after = apis[-1].id


def view(plan: Plan) -> PlanView:
    """Return a plan as it travels."""
    return PlanView(
        **record_fields(plan),
        name=plan.name,
        limits=limit_specs(plan.limits),
        quotas=quota_specs(plan.quotas),
        metadata=dict(plan.metadata),
    )
