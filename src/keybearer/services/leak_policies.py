"""Leak policies: what is done about a leaked credential, by environment and kind, for all projects or for one."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from ..core.credential import new_id
from ..core.errors import NotFound
from ..core.instant import SECOND
from ..core.leaks import POLICY_ID, LeakKind, LeakPolicy, Measure, Rules, rule_name, rules_of, suits
from ..core.lifecycle import touch
from ..core.records import Environment, Project, State
from ..ports import Query, UnitOfWork
from ..wire.leaks import LeakPolicyView, SetLeakPolicy
from .authority import Authority, Caller, Deed
from .problems import Problems
from .text import shown
from .views import Reader

READ: Final = "keybearer:leaks.read"
WRITE: Final = "keybearer:leaks.write"
_RULES: Final = {rule_name(environment, kind): kind for environment in Environment for kind in LeakKind}


async def effective(authority: Authority, project_id: str) -> Rules:
    """Return what holds for a project now."""
    own, default = await _policies(authority.store, authority, project_id)
    return rules_of(own, default)


async def get(authority: Authority, caller: Caller, project_id: str) -> LeakPolicyView:
    """Return what holds for a project."""
    caller.need_project(READ, project_id, "project", project_id)
    project = await authority.store.get(Project, project_id)
    if project.state is State.DELETED:
        raise NotFound("project", project_id)
    return _view(project_id, *(await _policies(authority.store, authority, project_id)))


async def set_policy(authority: Authority, caller: Caller, project_id: str, body: SetLeakPolicy) -> LeakPolicyView:
    """Change the policy of a project; that of the authority's own project is what holds where others say nothing."""
    caller.need_everything(WRITE)
    problems = Problems()
    given = {} if body.measures is UNSET else body.measures
    for name, measure in given.items():
        kind = _RULES.get(name)
        if kind is None:
            problems.add("measures", f"{shown(name)} is not one of {', '.join(_RULES)}")
        elif measure is not None and not suits(kind, measure):
            problems.add("measures", f"{name} can be revoke, alert or ignore, not {measure.value}")
    if body.in_urls not in (UNSET, None, Measure.ALERT, Measure.IGNORE):
        problems.add("in_urls", "must be alert or ignore")
    problems.settle()

    async def work(uow: UnitOfWork) -> LeakPolicyView:
        project = await uow.get(Project, project_id)
        if project.state is State.DELETED:
            raise NotFound("project", project_id)
        own, default = await _policies(uow, authority, project_id)
        now = authority.clock.now()
        before = own or LeakPolicy(id=POLICY_ID + new_id(now), created_at=now, updated_at=now, project_id=project_id)
        measures = {name: one for name, one in before.measures.items() if name not in given}
        measures |= {name: one for name, one in given.items() if one is not None}
        changes: dict[str, Any] = {"measures": measures}
        if body.grace_in is not UNSET:
            changes["grace_in"] = None if body.grace_in is None else body.grace_in * SECOND
        if body.in_urls is not UNSET:
            changes["in_urls"] = body.in_urls
        changed = touch(before, now, **changes)
        if own is None:
            await uow.insert(changed)
        else:
            await uow.update(changed)
        details = {
            "measures": {name: str(one) for name, one in measures.items()},
            "grace_in": None if changed.grace_in is None else changed.grace_in // SECOND,
            "in_urls": None if changed.in_urls is None else changed.in_urls.value,
        }
        Deed(uow, caller, now).note("leak_policy.set", changed.id, project_id=project_id, details=details, event=False)
        is_default = project_id == authority.own_project_id
        return _view(project_id, changed, changed if is_default else default)

    return await authority.change(caller, work)


async def _policies(
    reader: Reader, authority: Authority, project_id: str
) -> tuple[LeakPolicy | None, LeakPolicy | None]:
    """Return the policy of a project and that of the authority's own project."""
    found = []
    for asked in (project_id, authority.own_project_id):
        one = await reader.page(LeakPolicy, Query({"project_id": asked}, limit=1))
        found.append(one[0] if one else None)
    return found[0], found[1]


def _view(project_id: str, own: LeakPolicy | None, default: LeakPolicy | None) -> LeakPolicyView:
    rules = rules_of(own, default)
    said = [] if own is None else sorted(own.measures)
    if own is not None:
        said += [name for name in ("grace_in", "in_urls") if getattr(own, name) is not None]
    return LeakPolicyView(
        project_id=project_id,
        measures=dict(rules.measures),
        grace_in=rules.grace_in // SECOND,
        in_urls=rules.in_urls,
        own=said,
    )
