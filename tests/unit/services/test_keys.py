"""Keys: what may be created, who may, and what a change may widen."""

from datetime import UTC, datetime
from typing import Any

import pytest

from keybearer.core.errors import Conflict, InvalidInput, NotFound, NotPermitted
from keybearer.core.lifecycle import Change
from keybearer.core.records import Api, ApiKey, CredentialKind
from keybearer.ports import Query
from keybearer.services import apis, keys, plans, projects, rotation
from keybearer.services.authority import Caller
from keybearer.services.paging import PageQuery
from keybearer.wire.keys import CreateKey, IssuedKey, RestrictionsSpec, RevokeKey, RotateKey, UpdateKey
from keybearer.wire.limits import CreditsSpec, RateLimitSpec, SetCredits
from keybearer.wire.records import CreateApi, CreatePlan, CreateProject, PermissionSpec, UpdateProject
from tests.support.embedded import Embedded

pytestmark = pytest.mark.anyio


async def shop(world: Embedded, **changes: Any) -> str:
    """A project that may call an API with orders:read, orders:write."""
    if not await world.store.page(Api, Query({"identifier": "urn:orders"})):
        await apis.create(
            world.authority,
            world.root,
            CreateApi("urn:orders", "Orders", [PermissionSpec("orders:read"), PermissionSpec("orders:write")]),
        )
    body = CreateProject(name="Shop", enabled_apis=["urn:orders"], **changes)
    return (await projects.create(world.authority, world.root, body)).id


async def issue(world: Embedded, project_id: str, caller: Caller | None = None, **settings: Any) -> IssuedKey:
    body = CreateKey(project_id=project_id, name="k", **settings)
    return await keys.create(world.authority, caller or world.root, body)


def fields(error: pytest.ExceptionInfo[InvalidInput]) -> set[str]:
    return {problem.field for problem in error.value.problems}


async def test_a_credential_is_answered_once_and_only_its_digest_is_kept(world: Embedded) -> None:
    issued = await issue(world, await shop(world), permissions=["orders:read"])
    assert issued.credential.startswith("kb_sk_live_" + issued.key.id.removeprefix("key_"))
    stored = await world.store.get(ApiKey, issued.key.id)
    assert issued.credential not in repr(stored)
    secret = issued.credential.rpartition("_")[2]
    assert all(secret not in repr(entry) for entry in await world.audit())
    view = await keys.get(world.authority, world.root, issued.key.id)
    assert secret not in repr(view)
    assert (await world.verify(issued.credential))["code"] == "VALID"


async def test_a_permission_must_be_declared_by_an_enabled_api(world: Embedded) -> None:
    project = await shop(world)
    for good in (["orders:read"], ["orders:*"]):
        await issue(world, project, permissions=good)
    for bad in ("stock:read", "stock:*", "orders:*:x", "or ders"):
        with pytest.raises(InvalidInput) as error:
            await issue(world, project, permissions=["orders:read", bad])
        assert fields(error) == {"permissions[1]"}


async def test_publishable_keys_are_bound_and_only_read(world: Embedded) -> None:
    project = await shop(world)
    public: dict[str, Any] = {"kind": CredentialKind.PUBLISHABLE_KEY}
    bound = {**public, "restrictions": RestrictionsSpec(origins=["https://shop.example.com"])}
    with pytest.raises(InvalidInput) as error:
        await issue(world, project, **public)
    assert fields(error) == {"restrictions"}
    for bad in ("orders:write", "orders:*"):
        with pytest.raises(InvalidInput) as error:
            await issue(world, project, **bound, permissions=[bad])
        assert fields(error) == {"permissions[0]"}
    issued = await issue(world, project, **bound, permissions=["orders:read"])
    assert issued.credential.startswith("kb_pk_live_")
    with pytest.raises(InvalidInput):
        await keys.update(world.authority, world.root, issued.key.id, UpdateKey(restrictions=RestrictionsSpec()))


async def test_all_wrong_fields_are_named_at_once(world: Embedded) -> None:
    project = await shop(world)
    with pytest.raises(InvalidInput) as error:
        await issue(
            world,
            project,
            owner="a\x00b",
            tags=["ok", "b\nad"],
            limits=[RateLimitSpec("r", 1, 1), RateLimitSpec("r", 2, 2)],
            metadata={"deep": [[[[[[[[[1]]]]]]]]]},
            restrictions=RestrictionsSpec(ip_networks=["10.0.0.1/8"]),
            expires_in=5,
            expires_at=datetime(2030, 1, 1, tzinfo=UTC),
        )
    assert fields(error) == {
        "owner",
        "tags[1]",
        "limits[1].name",
        "metadata",
        "restrictions.ip_networks[0]",
        "expires_in",
    }
    assert "10.0.0.0/8" in str(error.value)


async def own_caller(world: Embedded, *permissions: str) -> Caller:
    return Caller("key_own", frozenset(permissions))


@pytest.mark.parametrize(
    ("held", "wanted", "allowed"),
    [
        (("keybearer:keys.write",), "keybearer:verify", False),
        (("keybearer:keys.write", "keybearer:verify"), "keybearer:verify", False),
        (("keybearer:keys.write", "keybearer:verify", "keybearer:delegate"), "keybearer:verify", True),
        (("keybearer:keys.write", "keybearer:verify", "keybearer:delegate"), "keybearer:admin", False),
        (("keybearer:keys.write", "keybearer:verify", "keybearer:delegate"), "keybearer:*", False),
        (("keybearer:keys.write", "keybearer:verify", "keybearer:delegate"), "*", False),
        (("keybearer:admin",), "keybearer:admin", True),
    ],
)
async def test_no_key_creates_or_widens_keys_beyond_its_leave(
    world: Embedded, held: tuple[str, ...], wanted: str, allowed: bool
) -> None:
    own = world.authority.own_project_id
    caller = await own_caller(world, *held)
    plain = await issue(world, own)
    update = UpdateKey(permissions=[wanted])
    if allowed:
        await issue(world, own, caller, permissions=[wanted])
        await keys.update(world.authority, caller, plain.key.id, update)
        return
    with pytest.raises(NotPermitted):
        await issue(world, own, caller, permissions=[wanted])
    with pytest.raises(NotPermitted):
        await keys.update(world.authority, caller, plain.key.id, update)
    assert (await world.store.get(ApiKey, plain.key.id)).permissions == ()


async def test_a_more_powerful_key_can_be_ended_but_not_touched_by_a_lesser_one(world: Embedded) -> None:
    issued = await issue(world, world.authority.own_project_id, permissions=["keybearer:admin"])
    lesser = await own_caller(world, "keybearer:keys.write")
    key_id = issued.key.id
    with pytest.raises(NotPermitted):
        await keys.update(world.authority, lesser, key_id, UpdateKey(name="mine"))
    with pytest.raises(NotPermitted):
        await rotation.rotate(world.authority, lesser, key_id, RotateKey())
    await keys.set_state(world.authority, lesser, key_id, Change.DISABLE)
    with pytest.raises(NotPermitted):
        await keys.set_state(world.authority, lesser, key_id, Change.ENABLE)
    await keys.set_state(world.authority, lesser, key_id, Change.DELETE)
    with pytest.raises(NotPermitted):
        await keys.set_state(world.authority, lesser, key_id, Change.UNDELETE)


async def test_a_projects_caller_sees_its_own_project_only(world: Embedded) -> None:
    mine, other = await shop(world), await shop(world)
    theirs = await issue(world, other)
    caller = Caller("key_p", frozenset({"keybearer:keys.read", "keybearer:keys.write"}), project_id=mine)
    for attempt in (
        keys.get(world.authority, caller, theirs.key.id),
        keys.update(world.authority, caller, theirs.key.id, UpdateKey(name="x")),
        keys.revoke(world.authority, caller, theirs.key.id, RevokeKey()),
        keys.create(world.authority, caller, CreateKey(project_id=other, name="x")),
        keys.page(world.authority, caller, PageQuery({"project_id": other})),
    ):
        with pytest.raises(NotFound):
            await attempt
    await issue(world, mine, caller)
    assert {k.project_id for k in (await keys.page(world.authority, caller, PageQuery({}))).items} == {mine}


async def test_only_the_authority_chooses_plans_for_keys(world: Embedded) -> None:
    project = await shop(world)
    plan = await plans.create(world.authority, world.root, CreatePlan("big", [RateLimitSpec("r", 9, 9)]))
    caller = Caller("key_p", frozenset({"keybearer:keys.write"}), project_id=project)
    with pytest.raises(InvalidInput) as error:
        await issue(world, project, caller, plan_id=plan.id)
    assert fields(error) == {"plan_id"}
    issued = await issue(world, project, plan_id=plan.id)
    with pytest.raises(Conflict, match=issued.key.id):
        await plans.set_state(world.authority, world.root, plan.id, Change.DELETE)


async def test_a_plan_of_a_project_cannot_be_deleted(world: Embedded) -> None:
    plan = await plans.create(world.authority, world.root, CreatePlan("big"))
    project = await shop(world, plan_id=plan.id)
    with pytest.raises(Conflict, match=project):
        await plans.set_state(world.authority, world.root, plan.id, Change.DELETE)
    await projects.update(world.authority, world.root, project, UpdateProject(plan_id=None))
    await plans.set_state(world.authority, world.root, plan.id, Change.DELETE)


async def test_credits_are_set_added_and_kept_over_an_update(world: Embedded) -> None:
    issued = await issue(world, await shop(world), credits=CreditsSpec(10))
    assert issued.key.credits is not None
    assert issued.key.credits.balance == 10
    assert (await keys.set_credits(world.authority, world.root, issued.key.id, SetCredits(add=5))).balance == 15
    changed = await keys.update(world.authority, world.root, issued.key.id, UpdateKey(credits=CreditsSpec(99)))
    assert changed.credits is not None
    assert changed.credits.balance == 15
    with pytest.raises(InvalidInput):
        await keys.set_credits(world.authority, world.root, issued.key.id, SetCredits())


async def test_the_life_of_a_key_is_refused_and_allowed_as_it_goes(world: Embedded) -> None:
    issued = await issue(world, await shop(world))
    key_id, text = issued.key.id, issued.credential
    for change, code in [
        (Change.DISABLE, "DISABLED"),
        (Change.ENABLE, "VALID"),
        (Change.DELETE, "NOT_FOUND"),
        (Change.UNDELETE, "VALID"),
    ]:
        await keys.set_state(world.authority, world.root, key_id, change)
        assert (await world.verify(text))["code"] == code
    await keys.revoke(world.authority, world.root, key_id, RevokeKey(reason="leaked"))
    assert (await world.verify(text))["code"] == "REVOKED"
    with pytest.raises(Conflict):
        await keys.update(world.authority, world.root, key_id, UpdateKey(name="x"))
    await keys.set_state(world.authority, world.root, key_id, Change.DELETE)
    world.clock.move(31 * 86_400)
    with pytest.raises(Conflict, match="over"):
        await keys.set_state(world.authority, world.root, key_id, Change.UNDELETE)


async def test_a_change_that_changes_nothing_is_not_logged(world: Embedded) -> None:
    issued = await issue(world, await shop(world))
    before = len(await world.audit())
    await keys.set_state(world.authority, world.root, issued.key.id, Change.ENABLE)
    assert len(await world.audit()) == before
