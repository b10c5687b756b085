"""APIs, projects, identities, bootstrap, usage and the audit log."""

import dataclasses

import pytest

from keybearer.core.errors import Conflict, InvalidInput, NotFound, NotPermitted
from keybearer.core.lifecycle import Change
from keybearer.core.own_api import PERMISSIONS
from keybearer.core.records import Api, Project
from keybearer.services import apis, audit, bootstrap, events, identities, keys, projects, sweeper, usage
from keybearer.services.authority import Caller
from keybearer.services.paging import PageQuery
from keybearer.wire.keys import CreateKey
from keybearer.wire.records import (
    CreateApi,
    CreateIdentity,
    CreateProject,
    PermissionSpec,
    UpdateApi,
    UpdateProject,
)
from tests.support.embedded import Embedded

pytestmark = pytest.mark.anyio


async def test_bootstrap_happens_once_and_keeps_its_permissions_up_to_date(world: Embedded) -> None:
    own = await world.store.get(Api, world.authority.own_api_id)

    async def age(uow: object) -> None:
        await uow.update(dataclasses.replace(own, permissions=PERMISSIONS[:3], revision=2))  # type: ignore[attr-defined]

    await world.store.transact(age)
    assert await bootstrap.initialise(world.authority, "ada@example.com") is None
    assert (await world.store.get(Api, world.authority.own_api_id)).permissions == PERMISSIONS
    assert (await world.verify(world.root_key))["permissions"] == ["keybearer:admin"]
    another = await bootstrap.issue_root_key(world.authority)
    assert (await world.verify(another.credential))["valid"]


async def test_what_the_authority_stands_on_cannot_be_taken_away(world: Embedded) -> None:
    authority, root = world.authority, world.root
    api, project = authority.own_api_id, authority.own_project_id
    for attempt in (
        apis.set_state(authority, root, api, Change.DELETE),
        apis.set_state(authority, root, "urn:keybearer:api", Change.DISABLE),
        apis.update(authority, root, api, UpdateApi(name="x")),
        apis.update(authority, root, api, UpdateApi(permissions=[])),
        projects.set_state(authority, root, project, Change.DELETE),
        projects.set_state(authority, root, project, Change.DISABLE),
        projects.update(authority, root, project, UpdateProject(name="x")),
        projects.update(authority, root, project, UpdateProject(enabled_apis=[])),
        projects.disable_api(authority, root, project, api),
    ):
        with pytest.raises(Conflict):
            await attempt


async def test_only_an_administrator_opens_keybearers_own_api_to_a_project(world: Embedded) -> None:
    writer = Caller("key_w", frozenset({"keybearer:projects.write"}))
    api = world.authority.own_api_id
    project = await projects.create(world.authority, writer, CreateProject(name="p"))
    for attempt in (
        projects.create(world.authority, writer, CreateProject(name="p", enabled_apis=[api])),
        projects.update(world.authority, writer, project.id, UpdateProject(enabled_apis=[api])),
        projects.enable_api(world.authority, writer, project.id, "urn:keybearer:api"),
    ):
        with pytest.raises(NotPermitted):
            await attempt
    assert (await projects.enable_api(world.authority, world.root, project.id, api)).enabled_apis == [api]
    assert (await projects.disable_api(world.authority, writer, project.id, api)).enabled_apis == []


async def test_nobody_else_declares_permissions_of_keybearer(world: Embedded) -> None:
    with pytest.raises(InvalidInput) as error:
        await apis.create(
            world.authority,
            world.root,
            CreateApi("urn:x", "X", [PermissionSpec("keybearer:admin"), PermissionSpec("a b"), PermissionSpec("a:*")]),
        )
    assert [p.field for p in error.value.problems] == [f"permissions[{n}].name" for n in range(3)]


async def test_names_that_end_in_reading_are_read_only(world: Embedded) -> None:
    names = ["o:read", "o:list", "o.get", "o:view", "o:write", "o:reader"]
    body = CreateApi("urn:x", "X", [PermissionSpec(name) for name in names] + [PermissionSpec("p:read", "", False)])
    view = await apis.create(world.authority, world.root, body)
    assert [p.read_only for p in view.permissions] == [True, True, True, True, False, False, False]


async def test_an_identifier_is_taken_once(world: Embedded) -> None:
    await apis.create(world.authority, world.root, CreateApi("urn:x", "X"))
    with pytest.raises(Conflict, match="identifier 'urn:x'"):
        await apis.create(world.authority, world.root, CreateApi("urn:x", "X"))
    assert (await apis.get(world.authority, world.root, "urn:x")).name == "X"
    with pytest.raises(NotFound):
        await apis.get(world.authority, world.root, "urn:y")


async def test_a_projects_caller_sees_what_its_project_stands_on_and_no_more(world: Embedded) -> None:
    await apis.create(world.authority, world.root, CreateApi("urn:mine", "M"))
    await apis.create(world.authority, world.root, CreateApi("urn:other", "O"))
    project = await projects.create(world.authority, world.root, CreateProject(name="p", enabled_apis=["urn:mine"]))
    caller = Caller("key_p", frozenset({"keybearer:*"}), project_id=project.id)
    assert [a.identifier for a in (await apis.page(world.authority, caller, PageQuery({}))).items] == ["urn:mine"]
    assert [p.id for p in (await projects.page(world.authority, caller, PageQuery({}))).items] == [project.id]
    for attempt in (
        apis.get(world.authority, caller, "urn:other"),
        projects.get(world.authority, caller, world.authority.own_project_id),
        usage.report(world.authority, caller, filters={"project_id": world.authority.own_project_id}),
        identities.page(world.authority, caller, PageQuery({"project_id": world.authority.own_project_id})),
    ):
        with pytest.raises(NotFound):
            await attempt
    for refused in (
        projects.update(world.authority, caller, project.id, UpdateProject(plan_id=None)),
        apis.create(world.authority, caller, CreateApi("urn:z", "Z")),
        audit.verify(world.authority, caller),
        events.feed(world.authority, caller, 0),
    ):
        with pytest.raises(NotPermitted):
            await refused
    entries = (await audit.page(world.authority, caller, PageQuery({}))).items
    assert {entry.project_id for entry in entries} == {project.id}


async def test_identities_belong_to_one_project(world: Embedded) -> None:
    one = await projects.create(world.authority, world.root, CreateProject(name="1"))
    two = await projects.create(world.authority, world.root, CreateProject(name="2"))
    identity = await identities.create(world.authority, world.root, CreateIdentity(one.id, "u1"))
    with pytest.raises(Conflict, match="external_id 'u1'"):
        await identities.create(world.authority, world.root, CreateIdentity(one.id, "u1"))
    await identities.create(world.authority, world.root, CreateIdentity(two.id, "u1"))
    body = CreateKey(project_id=two.id, name="k", identity_id=identity.id)
    with pytest.raises(InvalidInput, match="identity_id"):
        await keys.create(world.authority, world.root, body)
    body = CreateKey(project_id=one.id, name="k", identity_id=identity.id)
    issued = await keys.create(world.authority, world.root, body)
    await identities.set_state(world.authority, world.root, identity.id, Change.DISABLE)
    assert (await world.verify(issued.credential))["code"] == "OWNER_DISABLED"


async def test_the_chain_is_verified_and_a_cut_or_rewritten_log_is_noticed(world: Embedded) -> None:
    seen = await audit.verify(world.authority, world.root)
    assert seen.intact
    anchor = f"{seen.seq}:{seen.digest}"
    await projects.create(world.authority, world.root, CreateProject(name="p"))
    assert (await audit.verify(world.authority, world.root, anchor)).intact
    ahead = await audit.verify(world.authority, world.root, f"{seen.seq + 10}:{seen.digest}")
    assert not ahead.intact
    assert "cut off" in ahead.message
    rewritten = await audit.verify(world.authority, world.root, f"{seen.seq}:{'0' * 64}")
    assert not rewritten.intact
    with pytest.raises(InvalidInput):
        await audit.verify(world.authority, world.root, "newest")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"start": "yesterday"}, "start"),
        ({"start": "2026-01-01T00:00:00"}, "start"),
        ({"start": "now", "end": "-1h"}, "start"),
        ({"group_by": ("weather",)}, "group_by"),
        ({"group_by": ("hour", "day")}, "group_by"),
        ({"group_by": ("source", "minute")}, "group_by"),
        ({"group_by": ("source", "tag")}, "group_by"),
        ({"limit": 0}, "limit"),
        ({"filters": {"code": "VALIDD"}}, "code"),
        ({"start": "-631152000s"}, "start"),
        ({"start": "-9999w"}, "start"),
    ],
)
async def test_senseless_usage_queries(world: Embedded, asked: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        await usage.report(world.authority, world.root, **asked)  # type: ignore[arg-type]
    assert {problem.field for problem in error.value.problems} == {field}


async def test_usage_is_counted_and_grouped(world: Embedded) -> None:
    await world.verify(world.root_key)
    await world.verify("kb_sk_live_nonsense")
    await world.recorder.flush()
    report = await usage.report(
        world.authority, world.root, start="-1h", end="2027-01-16T00:00:00Z", group_by=("code",)
    )
    counts = {group.code: group.count for group in report.groups}
    assert counts["VALID"] >= 1
    assert counts["MALFORMED"] == 1
    assert report.total == sum(counts.values())


async def test_usage_of_an_api_is_found_by_its_identifier_too(world: Embedded) -> None:
    identifier = (await world.store.get(Api, world.authority.own_api_id)).identifier
    await world.verify(world.root_key)
    await world.verify(world.root_key, api=identifier)
    await world.recorder.flush()
    for name in (identifier, world.authority.own_api_id):
        report = await usage.report(world.authority, world.root, end="2027-01-16T00:00:00Z", filters={"api_id": name})
        assert report.total == 3
    with pytest.raises(NotFound):
        await usage.report(world.authority, world.root, filters={"api_id": "urn:nobody"})


async def test_what_was_deleted_is_forgotten_after_thirty_days(world: Embedded) -> None:
    project = await projects.create(world.authority, world.root, CreateProject(name="p"))
    await keys.create(world.authority, world.root, CreateKey(project_id=project.id, name="k"))
    await projects.set_state(world.authority, world.root, project.id, Change.DELETE)
    await sweeper.sweep_once(world.authority)
    assert (await world.store.get(Project, project.id)).state == "deleted"
    world.clock.move(31 * 86_400)
    await sweeper.sweep_once(world.authority)
    with pytest.raises(NotFound):
        await world.store.get(Project, project.id)
