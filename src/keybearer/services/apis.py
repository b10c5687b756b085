"""APIs: registered, shown, changed, switched off and brought back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from msgspec import UNSET

from ..core import own_api
from ..core.credential import new_id
from ..core.errors import Conflict, NotFound
from ..core.instant import SECOND
from ..core.lifecycle import Change, touch
from ..core.permissions import is_name
from ..core.records import API_ID, Api, Permission, Plan, Project, State
from ..ports import UnitOfWork
from ..wire.records import ApiView, CreateApi, PermissionSpec, PermissionView, UpdateApi
from .authority import Authority, Caller, Deed
from .paging import Page, PageQuery, cut, read_page
from .plans import require_plan
from .problems import Problems
from .standing import change_state, require_live
from .text import check_metadata, check_text, shown
from .views import find_api, record_fields
from .x_auth_catalog import check_catalog

READ: Final = "keybearer:apis.read"
WRITE: Final = "keybearer:apis.write"
_COPIED: Final = ("name", "allow_publishable_in_query", "token_cookie", "default_plan_id", "token_format", "metadata")
_READING: Final = ("read", "list", "get", "view")
_MEANT_OTHERWISE: Final = re.compile(
    r"cookie|origin|referer|host|forwarded|dpop|connection|upgrade|te|trailer|transfer-encoding|expect|date|range"
    r"|(?:x-keybearer|x-forwarded|x-original|x-rewrite|sec|proxy|content|access-control|x-android|x-ios)-.*"
    r"|x-(?:real-ip|http-method|http-method-override|method-override)"
)
"""Headers that say something else: what browsers send by themselves, proxies set or take away, and guards believe."""


async def create(authority: Authority, caller: Caller, body: CreateApi) -> ApiView:
    """Register an API; raises ``Conflict`` when its identifier is taken."""
    caller.need_everything(WRITE)
    problems = Problems()
    check_text(problems, body)
    check_metadata(problems, body.metadata)
    check_catalog(problems, body.metadata)
    permissions = to_permissions(problems, body.permissions)
    if body.identifier.startswith(API_ID):
        problems.add("identifier", f"must not begin with {API_ID!r}, as ids do")
    _check_key_header(problems, body.key_header)
    problems.settle()
    now = authority.clock.now()
    api = Api(
        id=API_ID + new_id(now),
        created_at=now,
        updated_at=now,
        identifier=body.identifier,
        name=body.name,
        permissions=permissions,
        accepts=tuple(dict.fromkeys(body.accepts)),
        token_format=body.token_format,
        token_in=None if body.token_in is None else body.token_in * SECOND,
        key_header=body.key_header.lower(),
        allow_publishable_in_query=body.allow_publishable_in_query,
        token_cookie=body.token_cookie,
        default_plan_id=body.default_plan_id,
        metadata=body.metadata,
    )

    async def work(uow: UnitOfWork) -> ApiView:
        if api.default_plan_id is not None:
            await require_plan(uow, api.default_plan_id, "default_plan_id")
        try:
            await uow.insert(api)
        except Conflict:
            taken = f"There already is an API with the identifier {shown(api.identifier)}."
            raise Conflict(f"{taken} A deleted one keeps it until it is gone for good.") from None
        Deed(uow, caller, now).note("api.create", api.id, details={"identifier": api.identifier})
        return view(api)

    return await authority.change(caller, work)


async def get(authority: Authority, caller: Caller, reference: str) -> ApiView:
    """Return an API by id or identifier; a project's caller sees those that its project may call."""
    caller.need(READ)
    api = await find_api(authority.store, reference)
    if caller.project_id is not None:
        project = await authority.store.get(Project, caller.project_id)
        if api.id not in project.enabled_apis:
            raise NotFound("API", reference)
    return view(api)


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[ApiView]:
    """Return one page of APIs."""
    caller.need(READ)
    if caller.project_id is None:
        found = await read_page(authority.store, Api, query)
        return Page([view(api) for api in found.items], found.after)
    # The APIs of one project are few, and listed in its own record.
    project = await authority.store.get(Project, caller.project_id)
    apis = [await authority.store.get(Api, api_id) for api_id in sorted(project.enabled_apis)]
    state = query.where.get("state")
    wanted = [
        api
        for api in apis
        if (query.after is None or api.id > query.after)
        and (api.state is not State.DELETED if state is None else api.state == state)
        and query.where.get("identifier", api.identifier) == api.identifier
        and query.where.get("name", api.name) == api.name
    ]
    some = cut(wanted, query.limit, lambda api: api.id)
    return Page([view(api) for api in some.items], some.after)


async def update(authority: Authority, caller: Caller, reference: str, body: UpdateApi) -> ApiView:
    """Change an API. Keybearer's own keeps its name, permissions, kinds and plan: a limit there would hold for all."""
    caller.need_everything(WRITE)
    api_id = (await find_api(authority.store, reference)).id
    problems = Problems()
    check_text(problems, body)
    changes: dict[str, Any] = {name: getattr(body, name) for name in _COPIED if getattr(body, name) is not UNSET}
    if body.metadata is not UNSET:
        check_metadata(problems, body.metadata)
        check_catalog(problems, body.metadata)
    if body.permissions is not UNSET:
        changes["permissions"] = to_permissions(problems, body.permissions)
    if body.accepts is not UNSET:
        changes["accepts"] = tuple(dict.fromkeys(body.accepts))
    if body.token_in is not UNSET:
        changes["token_in"] = None if body.token_in is None else body.token_in * SECOND
    if body.key_header is not UNSET:
        changes["key_header"] = body.key_header.lower()
        _check_key_header(problems, body.key_header)
    problems.settle()
    if api_id == authority.own_api_id and {*changes} - {"metadata"}:
        raise Conflict("Keybearer's own API stays as it is, but for its metadata.")

    async def work(uow: UnitOfWork) -> ApiView:
        api = await uow.get(Api, api_id)
        require_live(api)
        if changes.get("default_plan_id") not in (None, api.default_plan_id):
            await require_plan(uow, changes["default_plan_id"], "default_plan_id")
        now = authority.clock.now()
        changed = touch(api, now, **changes)
        await uow.update(changed)
        Deed(uow, caller, now).note("api.update", api.id, details={"fields": sorted(changes)})
        return view(changed)

    return await authority.change(caller, work)


async def set_state(authority: Authority, caller: Caller, reference: str, wanted: Change) -> ApiView:
    """Enable, disable, delete or undelete an API; Keybearer's own stays as it is."""
    caller.need_everything(WRITE)
    api_id = (await find_api(authority.store, reference)).id
    if api_id == authority.own_api_id and wanted in (Change.DISABLE, Change.DELETE):
        raise Conflict("Keybearer's own API cannot be disabled or deleted.")

    async def check(uow: UnitOfWork, api: Api, _now: int) -> None:
        if wanted is Change.UNDELETE and api.default_plan_id is not None:
            plan = await uow.get(Plan, api.default_plan_id)
            if plan.state is State.DELETED:
                raise Conflict(f"Its default plan {plan.id} was deleted; undelete that first.")

    return await change_state(authority, caller, Api, api_id, wanted, view, check=check)


def _check_key_header(problems: Problems, name: str) -> None:
    """Note a header that no credential may stand in: in ``Cookie``, say, other sites could make a browser send it."""
    if _MEANT_OTHERWISE.fullmatch(name.lower()):
        problems.add("key_header", f"{name!r} says something else; name one of your own, such as 'X-Api-Key'")


def to_permissions(problems: Problems, specs: Sequence[PermissionSpec]) -> tuple[Permission, ...]:
    """Return the permissions that an API declares. Names of Keybearer's own API are reserved."""
    seen: set[str] = set()
    for index, spec in enumerate(specs):
        at = f"permissions[{index}].name"
        if not is_name(spec.name):
            problems.add(at, f"{shown(spec.name)} is not a permission name; write one such as 'orders:read'")
        elif own_api.is_own(spec.name):
            problems.add(at, f"names that begin with {own_api.NAMESPACE!r} belong to Keybearer's own API")
        elif spec.name in seen:
            problems.add(at, f"{spec.name!r} is declared twice")
        seen.add(spec.name)
    return tuple(
        Permission(
            spec.name,
            spec.description,
            _is_reading(spec.name) if spec.read_only is None else spec.read_only,
            spec.restricted,
        )
        for spec in specs
    )


def _is_reading(name: str) -> bool:
    return name.replace(".", ":").rpartition(":")[2] in _READING


async def synchronise_own(authority: Authority) -> None:
    """Bring the permissions of Keybearer's own API up to those of this version."""
    stored = await authority.store.get(Api, authority.own_api_id)
    if (stored.permissions, stored.accepts) == (own_api.PERMISSIONS, own_api.ACCEPTS):
        return

    async def work(uow: UnitOfWork) -> None:
        api = await uow.get(Api, authority.own_api_id)
        now = authority.clock.now()
        await uow.update(replace(touch(api, now), permissions=own_api.PERMISSIONS, accepts=own_api.ACCEPTS))
        Deed(uow, Caller("system", frozenset()), now).note("api.update", api.id, details={"fields": ["permissions"]})

    await authority.store.transact(work)


def view(api: Api) -> ApiView:
    """Return an API as it travels."""
    return ApiView(
        **record_fields(api),
        identifier=api.identifier,
        name=api.name,
        permissions=[PermissionView(p.name, p.description, p.read_only, p.restricted) for p in api.permissions],
        accepts=list(api.accepts),
        token_format=api.token_format,
        token_in=None if api.token_in is None else api.token_in // SECOND,
        key_header=api.key_header,
        allow_publishable_in_query=api.allow_publishable_in_query,
        token_cookie=api.token_cookie,
        default_plan_id=api.default_plan_id,
        metadata=dict(api.metadata),
    )
