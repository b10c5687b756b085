"""Incidents, leak policies, webhooks and the messages to them: found, kept apart, and swept."""

from dataclasses import replace
from typing import Any

import pytest

from keybearer.core.errors import Conflict, NotFound
from keybearer.core.incidents import Incident, Sighting, SourceKind, Status
from keybearer.core.instant import Instant
from keybearer.core.leaks import LeakKind, LeakPolicy, Measure
from keybearer.core.lifecycle import Change, DeliveryChange, IncidentChange, advance, change, settle, touch
from keybearer.core.records import Environment, Project
from keybearer.core.webhooks import Delivery, SigningSecret, Webhook, WebhookEvent
from keybearer.ports import Query, UnitOfWork
from tests.contract.making import NOW, days, insert, project

pytestmark = pytest.mark.anyio
BORN: dict[str, Any] = {"created_at": NOW, "updated_at": NOW}


def incident(number: int = 1, **changes: Any) -> Incident:
    given: dict[str, Any] = {
        "id": f"inc_{number:04}",
        "subject": f"secret_key:key_{number:04}:1",
        "project_id": "proj_0001",
        "kind": LeakKind.SECRET_KEY,
        "environment": Environment.LIVE,
        "credential_id": f"{number:04}",
        "version": 1,
        "name": "server",
        "counted_as": f"key_{number:04}",
        "first_seen_at": NOW,
        "last_seen_at": NOW,
        "sightings": (Sighting(SourceKind.LOG, "access.log", NOW, line=7),),
        "sighted": 1,
        "key_id": f"key_{number:04}",
    }
    return Incident(**{**given, **BORN, **changes})


def webhook(number: int = 1, **changes: Any) -> Webhook:
    given: dict[str, Any] = {
        "id": f"hook_{number:04}",
        "project_id": "proj_0002",
        "name": "pager",
        "url": "https://pager.example/in",
        "events": (WebhookEvent.INCIDENT_OPENED,),
        "secrets": (SigningSecret(1, b"\0sealed", NOW),),
    }
    return Webhook(**{**given, **BORN, **changes})


def message(number: int = 1, **changes: Any) -> Delivery:
    given: dict[str, Any] = {
        "id": f"msg_{number:04}",
        "webhook_id": "hook_0001",
        "project_id": "proj_0002",
        "event": WebhookEvent.INCIDENT_OPENED,
        "body": '{"type":"incident.opened"}',
        "due_at": NOW,
    }
    return Delivery(**{**given, **BORN, **changes})


def policy(number: int = 1, **changes: Any) -> LeakPolicy:
    given: dict[str, Any] = {"id": f"leakp_{number:04}", "project_id": "proj_0001"}
    return LeakPolicy(**{**given, "measures": {"live.secret_key": Measure.ROTATE}, **BORN, **changes})


async def test_they_come_back_as_they_were(store: Any) -> None:
    records = (incident(), webhook(), webhook(2, project_id="proj_0001"), message(), policy())
    await insert(store, project(), project(2), *records)
    for record in records:
        assert await store.get(type(record), record.id) == record


async def test_a_secret_has_one_incident_and_a_project_one_policy(store: Any) -> None:
    await insert(store, project(), project(2), incident(), policy())
    for other in (incident(2, subject=incident().subject), policy(2)):
        with pytest.raises(Conflict):
            await insert(store, other)
    await insert(store, incident(2))


async def test_incidents_are_found_by_what_they_are(store: Any) -> None:
    resolved = advance(incident(2, kind=LeakKind.CLIENT_SECRET, key_id=None), IncidentChange.RESOLVE, NOW, "key_1")
    await insert(store, project(), project(2), incident(), replace(resolved, revision=1))
    for where, wanted in (
        ({"subject": "secret_key:key_0001:1"}, ["inc_0001"]),
        ({"status": "resolved"}, ["inc_0002"]),
        ({"kind": "client_secret"}, ["inc_0002"]),
        ({"key_id": "key_0001"}, ["inc_0001"]),
        ({"project_id": "proj_0001", "environment": "live"}, ["inc_0001", "inc_0002"]),
    ):
        assert [one.id for one in await store.page(Incident, Query(where))] == wanted, where


async def test_the_longest_due_message_is_tried_first(store: Any) -> None:
    settled = settle(message(4), DeliveryChange.DELIVER, NOW)
    due = [message(n, due_at=Instant(NOW + at)) for n, at in ((1, 3), (2, 1), (3, 9))]
    await insert(store, project(2), webhook(), *due, replace(settled, revision=1))
    assert [one.id for one in await store.due_deliveries(Instant(NOW + 5), 10)] == ["msg_0002", "msg_0001"]
    assert [one.id for one in await store.due_deliveries(Instant(NOW + 5), 1)] == ["msg_0002"]
    assert await store.due_deliveries(Instant(NOW), 10) == ()
    waiting = await store.page(Delivery, Query({"webhook_id": "hook_0001", "status": "waiting"}))
    assert [one.id for one in waiting] == ["msg_0001", "msg_0002", "msg_0003"]


async def test_what_is_over_is_swept(store: Any) -> None:
    closed = replace(advance(incident(), IncidentChange.RESOLVE, NOW, "key_1"), revision=1)
    token = incident(2, kind=LeakKind.ACCESS_TOKEN, subject="access_token:at_1:0")
    dead = replace(settle(message(), DeliveryChange.GIVE_UP, NOW), revision=1)
    await insert(store, project(), project(2), closed, token, incident(3), webhook(), dead, message(2))
    assert set((await store.sweep(days(29.9))).removed) == {"events"}
    assert (await store.sweep(days(30.1))).removed["webhook_deliveries"] == 1
    assert (await store.sweep(days(400.1))).removed["incidents"] == 2
    assert [one.id for one in await store.page(Incident, Query())] == ["inc_0003"]
    assert [one.id for one in await store.page(Delivery, Query())] == ["msg_0002"]


async def test_they_go_with_their_project_and_their_webhook(store: Any) -> None:
    mine = webhook(2, project_id="proj_0001")
    await insert(
        store,
        project(),
        project(2),
        incident(),
        policy(),
        webhook(),
        mine,
        message(),
        message(2, webhook_id=mine.id, project_id=mine.project_id),
    )

    async def delete(unit: UnitOfWork) -> None:
        await unit.update(change(await unit.get(Project, "proj_0001"), Change.DELETE, NOW))

    await store.transact(delete)
    for _ in range(3):
        await store.sweep(days(30.1))
    for kind, left in ((Incident, 0), (LeakPolicy, 0), (Webhook, 1), (Delivery, 1)):
        assert len(await store.page(kind, Query())) == left, kind
    with pytest.raises(NotFound):
        await store.get(Project, "proj_0001")


async def test_an_incident_is_changed_by_one_at_a_time(store: Any) -> None:
    await insert(store, project(), project(2), incident())

    async def see(unit: UnitOfWork) -> None:
        known = await unit.get(Incident, "inc_0001")
        await unit.update(touch(known, NOW, sighted=known.sighted + 1))

    await store.transact(see)
    with pytest.raises(Conflict):
        await store.transact(lambda unit: unit.update(touch(incident(), NOW, status=Status.RESOLVED)))
    assert (await store.get(Incident, "inc_0001")).sighted == 2
