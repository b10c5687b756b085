"""Leaked credentials: found by the whole secret only, entered once, and contained by policy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keybearer.core.credential import checksum
from keybearer.core.errors import InvalidInput, NotPermitted
from keybearer.core.incidents import SourceKind
from keybearer.core.leaks import LeakKind, LeakState, Measure
from keybearer.core.lifecycle import Change, IncidentChange
from keybearer.core.records import CredentialKind, Environment
from keybearer.services import incidents, keys, leak_policies, leaks, projects, rotation
from keybearer.services.authority import Caller
from keybearer.services.paging import PageQuery
from keybearer.wire.base import moment
from keybearer.wire.keys import CreateKey, RestrictionsSpec, RevokeKey, RotateKey
from keybearer.wire.leaks import CheckedFinding, CheckLeaks, IncidentNote, LeakFinding, LeakSource, SetLeakPolicy
from keybearer.wire.records import CreateProject
from tests.support.embedded import Embedded
from tests.support.oauth import OAuth, oauth_world

pytestmark = pytest.mark.anyio


@pytest.fixture
async def oauth(anyio_backend: str) -> AsyncIterator[OAuth]:
    async with oauth_world() as running:
        yield running


async def issue(world: Embedded, **settings: Any) -> Any:
    project = settings.pop("project_id", world.authority.own_project_id)
    return await keys.create(world.authority, world.root, CreateKey(project_id=project, name="shop", **settings))


async def check(world: Embedded, *credentials: str, act: bool = True, **source: Any) -> list[CheckedFinding]:
    where = LeakSource(**{"kind": SourceKind.LOG, "name": "access.log", "line": 1, **source})
    body = CheckLeaks([LeakFinding(one, where) for one in credentials], act=act)
    return (await leaks.check(world.authority, world.root, body)).findings


async def set_policy(world: Embedded, project: str = "", **changes: Any) -> None:
    await leak_policies.set_policy(
        world.authority, world.root, project or world.authority.own_project_id, SetLeakPolicy(**changes)
    )


async def code(world: Embedded, credential: str) -> str:
    return str((await world.verify(credential))["code"])


async def one_incident(world: Embedded) -> Any:
    found = await incidents.page(world.authority, world.root, PageQuery({}))
    assert len(found.items) == 1
    return await incidents.get(world.authority, world.root, found.items[0].id)


async def test_a_live_key_is_revoked_and_its_incident_tells_all(world: Embedded) -> None:
    issued = await issue(world, owner="ada@example.com")
    assert await code(world, issued.credential) == "VALID"
    await world.recorder.flush()
    seen = moment(world.clock.at - 60_000_000)
    (found,) = await check(world, issued.credential, line=7, column=3, at=seen, client_ip="192.0.2.9")
    assert (found.state, found.kind, found.action) == (LeakState.LIVE, LeakKind.SECRET_KEY, "revoked")
    assert (found.key_id, found.key_name, found.project_name) == (issued.key.id, "shop", "Keybearer")
    assert found.credential_id == issued.key.id.removeprefix("key_")
    assert await code(world, issued.credential) == "REVOKED"
    await world.recorder.flush()
    incident = await one_incident(world)
    assert (incident.id, incident.status, incident.action) == (found.incident_id, "open", "revoked")
    assert (incident.first_seen_at, incident.owner) == (seen, "ada@example.com")
    (place,) = incident.sightings
    assert (place.name, place.line, place.column, place.client_ip) == ("access.log", 7, 3, "192.0.2.9")
    assert [step.what for step in incident.history] == ["opened", "revoked"]
    assert {one.code: one.count for one in incident.requests} == {"VALID": 1, "REVOKED": 1}
    actions = [entry.draft.action for entry in await world.audit()]
    assert {"key.revoke", "incident.open"} <= set(actions)
    assert (await world.store.events(0))[-1].type == "key.revoke"


async def test_an_id_without_its_secret_is_nobodys(world: Embedded) -> None:
    """warehouse acted on reports that had the id but not the signature."""
    issued = await issue(world)
    body = issued.credential[:-6]
    last = "A" if body[-1] != "A" else "B"
    forged = body[:-1] + last + checksum(body[:-1] + last)
    secret = body.rpartition("_")[2]
    stranger = f"{body[: -len(secret)]}{'x' * len(secret)}"
    for text in (forged, stranger + checksum(stranger), issued.credential[:-1] + "!", body, issued.key.id, "x"):
        (found,) = await check(world, text)
        assert found == CheckedFinding(LeakState.UNKNOWN)
    assert await code(world, issued.credential) == "VALID"
    assert not (await incidents.page(world.authority, world.root, PageQuery({}))).items


async def test_every_state_is_told_and_only_what_works_is_an_incident(world: Embedded) -> None:
    live, revoked, disabled, deleted, expired = [
        await issue(world, **({"expires_in": 10} if name == "expired" else {}))
        for name in ("live", "revoked", "disabled", "deleted", "expired")
    ]
    await keys.revoke(world.authority, world.root, revoked.key.id, RevokeKey())
    await keys.set_state(world.authority, world.root, disabled.key.id, Change.DISABLE)
    await keys.set_state(world.authority, world.root, deleted.key.id, Change.DELETE)
    world.clock.move(10)
    every = [one.credential for one in (live, revoked, disabled, deleted, expired)]
    looked = await check(world, *every, act=False)
    assert [one.state for one in looked] == ["live", "revoked", "disabled", "deleted", "expired"]
    assert {one.action for one in looked} == {"none"}
    assert await code(world, live.credential) == "VALID"
    acted = await check(world, *every)
    assert [one.action for one in acted] == ["revoked", "none", "revoked", "none", "none"]
    assert [one.incident_id is not None for one in acted] == [True, False, True, False, False]
    # What was switched off would have worked again.
    assert await code(world, disabled.credential) == "REVOKED"
    again = await check(world, *every, act=False)
    assert [one.incident_id for one in again] == [one.incident_id for one in acted]


async def test_of_several_secrets_only_the_leaked_one_ends(world: Embedded) -> None:
    first = await issue(world)
    second = await rotation.rotate(world.authority, world.root, first.key.id, RotateKey(grace_in=3600))
    await check(world, first.credential)
    assert [await code(world, one.credential) for one in (first, second)] == ["REVOKED", "VALID"]
    (found,) = await check(world, second.credential)
    assert found.action == "revoked"
    assert await code(world, second.credential) == "REVOKED"
    assert (await keys.get(world.authority, world.root, first.key.id)).state == "revoked"


async def test_a_secret_that_leaked_before_keeps_no_key_alive(world: Embedded) -> None:
    first = await issue(world)
    second = await rotation.rotate(world.authority, world.root, first.key.id, RotateKey(grace_in=3600))
    await set_policy(world, measures={"live.secret_key": Measure.ALERT})
    assert [one.action for one in await check(world, first.credential)] == ["alerted"]
    await set_policy(world, measures={"live.secret_key": Measure.REVOKE})
    await check(world, second.credential)
    assert (await keys.get(world.authority, world.root, first.key.id)).state == "revoked"
    assert await code(world, first.credential) == "REVOKED"


@pytest.mark.parametrize(
    ("measure", "done", "now", "later"),
    [
        (Measure.REVOKE, "revoked", "REVOKED", "REVOKED"),
        (Measure.DISABLE, "disabled", "DISABLED", "DISABLED"),
        (Measure.ROTATE, "rotated", "VALID", "EXPIRED"),
        (Measure.ALERT, "alerted", "VALID", "VALID"),
        (Measure.IGNORE, "none", "VALID", "VALID"),
    ],
)
async def test_measures(world: Embedded, measure: Measure, done: str, now: str, later: str) -> None:
    await set_policy(world, measures={"live.secret_key": measure}, grace_in=100)
    issued = await issue(world)
    (found,) = await check(world, issued.credential)
    assert (found.action, found.incident_id is None) == (done, measure is Measure.IGNORE)
    assert await code(world, issued.credential) == now
    world.clock.move(100)
    assert await code(world, issued.credential) == later


async def test_the_defaults_know_test_keys_and_publishable_ones(world: Embedded) -> None:
    test = await issue(world, environment=Environment.TEST)
    public = await issue(
        world, kind=CredentialKind.PUBLISHABLE_KEY, restrictions=RestrictionsSpec(origins=["https://shop.example"])
    )
    assert [one.action for one in await check(world, test.credential, public.credential)] == ["alerted", "alerted"]


async def test_a_project_has_its_own_policy_before_that_of_all(world: Embedded) -> None:
    project = (await projects.create(world.authority, world.root, CreateProject("Shop"))).id
    mine = await issue(world, project_id=project)
    await set_policy(world, measures={"live.secret_key": Measure.ALERT, "test.secret_key": Measure.REVOKE})
    await set_policy(world, project, measures={"live.secret_key": Measure.DISABLE})
    policy = await leak_policies.get(world.authority, world.root, project)
    assert policy.measures["live.secret_key"] == "disable"
    assert policy.measures["test.secret_key"] == "revoke"
    assert policy.own == ["live.secret_key"]
    assert [one.action for one in await check(world, mine.credential)] == ["disabled"]
    await set_policy(world, project, measures={"live.secret_key": None})
    assert (await leak_policies.get(world.authority, world.root, project)).measures["live.secret_key"] == "alert"


@pytest.mark.parametrize(
    "changes",
    [
        {"measures": {"live.password": Measure.REVOKE}},
        {"measures": {"live.access_token": Measure.DISABLE}},
        {"measures": {"live.refresh_token": Measure.ROTATE}},
        {"in_urls": Measure.REVOKE},
    ],
    ids=["no-kind", "token-disabled", "token-rotated", "urls-revoked"],
)
async def test_a_policy_that_makes_no_sense_is_refused(world: Embedded, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await set_policy(world, **changes)


async def test_places_are_counted_once_and_kept_within_bounds(world: Embedded) -> None:
    issued = await issue(world)
    for line in (1, 1, 2):
        await check(world, issued.credential, line=line)
    assert (await one_incident(world)).sighted == 2
    where = [LeakSource(SourceKind.FILE, f"{issued.credential}.log", line) for line in range(200)]
    body = CheckLeaks([LeakFinding(issued.credential, one) for one in where], act=True)
    await leaks.check(world.authority, world.root, body)
    incident = await one_incident(world)
    assert (incident.sighted, len(incident.sightings), incident.sightings[0].line) == (202, 50, 1)
    assert incident.sightings[-1].line == 199
    assert issued.credential not in repr(incident)


async def test_what_comes_back_after_it_was_resolved_is_open_again(world: Embedded) -> None:
    await set_policy(world, measures={"live.secret_key": Measure.ALERT})
    issued = await issue(world)
    (found,) = await check(world, issued.credential)
    assert found.incident_id
    resolve = (world.authority, world.root, found.incident_id, IncidentChange.RESOLVE)
    assert (await incidents.set_status(*resolve, IncidentNote("false alarm"))).status == "resolved"
    await check(world, issued.credential)
    assert (await one_incident(world)).status == "resolved", "the same place again says nothing new"
    await check(world, issued.credential, line=2)
    incident = await one_incident(world)
    assert incident.status == "open"
    assert [step.what for step in incident.history] == ["opened", "alerted", "resolved", "open"]
    assert incident.history[2].note == "false alarm"


async def test_the_same_place_is_acted_on_when_the_policy_became_stricter(world: Embedded) -> None:
    await set_policy(world, measures={"live.secret_key": Measure.ALERT})
    issued = await issue(world)
    await check(world, issued.credential)
    await set_policy(world, measures={"live.secret_key": Measure.REVOKE})
    assert [one.action for one in await check(world, issued.credential)] == ["revoked"]


async def test_what_people_undid_stays_undone_while_nothing_new_is_found(world: Embedded) -> None:
    await set_policy(world, measures={"live.secret_key": Measure.DISABLE})
    issued = await issue(world)
    await check(world, issued.credential)
    await keys.set_state(world.authority, world.root, issued.key.id, Change.ENABLE)
    for measure in (Measure.DISABLE, Measure.ALERT):
        await set_policy(world, measures={"live.secret_key": measure})
        assert [one.action for one in await check(world, issued.credential)] == ["none"]
    assert await code(world, issued.credential) == "VALID"
    assert [step.what for step in (await one_incident(world)).history] == ["opened", "disabled"]
    await set_policy(world, measures={"live.secret_key": Measure.DISABLE})
    assert [one.action for one in await check(world, issued.credential, line=2)] == ["disabled"]


async def test_many_who_report_at_once_make_one_incident(world: Embedded) -> None:
    issued = await issue(world)
    reports = [check(world, issued.credential, line=line) for line in range(20)]
    answers = await asyncio.gather(*reports)
    assert len({found[0].incident_id for found in answers}) == 1
    assert (await one_incident(world)).sighted == 20
    revoked = [entry for entry in await world.audit() if entry.draft.action == "key.revoke"]
    assert len(revoked) == 1


async def test_a_thousand_findings_are_one_call(world: Embedded) -> None:
    issued = [await issue(world) for _ in range(120)]
    texts = [issued[number % 120].credential for number in range(1000)]
    found = await check(world, *texts)
    assert len(found) == 1000
    assert {one.action for one in found} == {"revoked"}
    assert len((await incidents.page(world.authority, world.root, PageQuery({}, limit=200))).items) == 120


async def test_only_the_authoritys_own_may_check(world: Embedded) -> None:
    body = CheckLeaks([LeakFinding("x", LeakSource(SourceKind.STDIN))])
    for caller in (Caller("key_1", frozenset()), Caller("key_1", frozenset({"keybearer:leaks.write"}), "proj_1")):
        with pytest.raises(NotPermitted):
            await leaks.check(world.authority, caller, body)


async def test_tokens_and_client_secrets(oauth: OAuth) -> None:
    world = oauth.world
    application = await oauth.client()
    access = (await application.tokens())["access_token"]
    secret = application.secret
    found = await check(world, access, secret)
    assert [(one.kind, one.state, one.action) for one in found] == [
        (LeakKind.ACCESS_TOKEN, LeakState.LIVE, "revoked"),
        (LeakKind.CLIENT_SECRET, LeakState.LIVE, "revoked"),
    ]
    assert not await oauth.is_active(access)
    assert (await application.token()).status_code == 401
    again = await check(world, access, secret, line=2)
    assert [one.state for one in again] == ["revoked", "revoked"]


async def test_a_refresh_token_takes_its_family_with_it(oauth: OAuth) -> None:
    world = oauth.world
    application = await oauth.client()
    tokens = await (await oauth.consent(application)).tokens()
    first = tokens["refresh_token"]
    newest = (await application.refresh(first)).json()
    world.clock.move(60)
    looked = await check(world, first, newest["refresh_token"], act=False)
    assert [(one.kind, one.state) for one in looked] == [
        (LeakKind.REFRESH_TOKEN, LeakState.LIVE),
        (LeakKind.REFRESH_TOKEN, LeakState.LIVE),
    ]
    await check(world, newest["refresh_token"])
    assert (await application.refresh(newest["refresh_token"])).status_code == 400
    assert not await oauth.is_active(newest["access_token"])
